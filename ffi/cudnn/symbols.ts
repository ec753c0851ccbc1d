import { FFIType } from 'bun:ffi'

const { ptr, i32, i64_fast, u64, cstring, void: nothing } = FFIType

/** A signature: `of(result, ...arguments)`. */
const of = <const R extends FFIType, const A extends readonly FFIType[]>(returns: R, ...args: A) => ({
  returns,
  args,
})

/** What rnb calls of cuDNN 9: its handle, and the graph API. */
export const CUDNN = {
  cudnnGetVersion: of(u64),
  cudnnGetErrorString: of(cstring, i32),
  cudnnGetLastErrorString: of(nothing, ptr, u64),
  cudnnCreate: of(i32, ptr),
  cudnnDestroy: of(i32, ptr),
  cudnnSetStream: of(i32, ptr, ptr),
  cudnnBackendCreateDescriptor: of(i32, i32, ptr),
  cudnnBackendDestroyDescriptor: of(i32, ptr),
  cudnnBackendSetAttribute: of(i32, ptr, i32, i32, i64_fast, ptr),
  cudnnBackendGetAttribute: of(i32, ptr, i32, i32, i64_fast, ptr, ptr),
  cudnnBackendFinalize: of(i32, ptr),
  cudnnBackendExecute: of(i32, ptr, ptr, ptr),
} as const

export type CudnnCall = keyof typeof CUDNN
