import { FFIType } from 'bun:ffi'

const { ptr, i32, u32, u64, u8 } = FFIType

/** A call of the driver; each returns a CUresult. */
const of = <const A extends readonly FFIType[]>(...args: A) => ({ returns: i32, args }) as const

/**
 * What rnb calls of libcuda, as cuda.h of CUDA 12 and 13 declares it, under the exported names: where a call has had
 * several versions, the one meant is named outright. Device pointers (64-bit integers in C) are passed as pointers:
 * a number holds one exactly, and needs no BigInt.
 */
export const CUDA = {
  cuInit: of(u32),
  cuDriverGetVersion: of(ptr),
  cuGetErrorName: of(i32, ptr),
  cuGetErrorString: of(i32, ptr),

  cuDeviceGetCount: of(ptr),
  cuDeviceGet: of(ptr, i32),
  cuDeviceGetName: of(ptr, i32, i32),
  cuDeviceGetAttribute: of(ptr, i32, i32),
  cuDeviceGetUuid_v2: of(ptr, i32),
  cuDeviceTotalMem_v2: of(ptr, i32),
  cuDeviceCanAccessPeer: of(ptr, i32, i32),

  cuDevicePrimaryCtxRetain: of(ptr, i32),
  cuDevicePrimaryCtxRelease_v2: of(i32),
  cuCtxSetCurrent: of(ptr),
  cuCtxGetCurrent: of(ptr),
  cuCtxSynchronize: of(),
  cuCtxEnablePeerAccess: of(ptr, u32),

  cuMemGetInfo_v2: of(ptr, ptr),
  cuMemAlloc_v2: of(ptr, u64),
  cuMemFree_v2: of(ptr),
  cuMemHostAlloc: of(ptr, u64, u32),
  cuMemFreeHost: of(ptr),
  cuMemHostRegister_v2: of(ptr, u64, u32),
  cuMemHostUnregister: of(ptr),
  cuMemcpyHtoDAsync_v2: of(ptr, ptr, u64, ptr),
  cuMemcpyDtoHAsync_v2: of(ptr, ptr, u64, ptr),
  cuMemcpyDtoDAsync_v2: of(ptr, ptr, u64, ptr),
  cuMemcpyPeerAsync: of(ptr, ptr, ptr, ptr, u64, ptr),
  cuMemsetD8Async: of(ptr, u8, u64, ptr),
  cuMemsetD32Async: of(ptr, u32, u64, ptr),

  cuCtxGetStreamPriorityRange: of(ptr, ptr),
  cuStreamCreateWithPriority: of(ptr, u32, i32),
  cuStreamDestroy_v2: of(ptr),
  cuStreamSynchronize: of(ptr),
  cuStreamQuery: of(ptr),
  cuStreamWaitEvent: of(ptr, ptr, u32),
  cuEventCreate: of(ptr, u32),
  cuEventDestroy_v2: of(ptr),
  cuEventRecord: of(ptr, ptr),
  cuEventSynchronize: of(ptr),
  cuEventQuery: of(ptr),
  cuEventElapsedTime: of(ptr, ptr, ptr),

  cuModuleLoadDataEx: of(ptr, ptr, u32, ptr, ptr),
  cuModuleUnload: of(ptr),
  cuModuleGetFunction: of(ptr, ptr, ptr),
  cuFuncGetAttribute: of(ptr, i32, ptr),
  cuFuncSetAttribute: of(ptr, i32, i32),
  cuLaunchKernel: of(ptr, u32, u32, u32, u32, u32, u32, u32, ptr, ptr, ptr),

  cuLaunchKernelEx: of(ptr, ptr, ptr, ptr),
  cuTensorMapEncodeTiled: of(ptr, i32, u32, ptr, ptr, ptr, ptr, ptr, i32, i32, i32, i32),
  cuTensorMapEncodeIm2col: of(ptr, i32, u32, ptr, ptr, ptr, ptr, ptr, u32, u32, ptr, i32, i32, i32, i32),

  cuStreamBeginCapture_v2: of(ptr, i32),
  cuStreamEndCapture: of(ptr, ptr),
  cuGraphGetNodes: of(ptr, ptr, ptr),
  cuGraphInstantiateWithFlags: of(ptr, ptr, u64),
  cuGraphDestroy: of(ptr),
  cuGraphExecDestroy: of(ptr),
  cuGraphUpload: of(ptr, ptr),
  cuGraphLaunch: of(ptr, ptr),
} as const

export type CudaCall = keyof typeof CUDA
