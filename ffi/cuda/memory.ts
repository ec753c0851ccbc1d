import type { Pointer } from 'bun:ffi'
import { check, cudaError, mebibytes, memoryLeft } from './check.ts'
import {
  CU_MEMHOSTALLOC_PORTABLE,
  CU_MEMHOSTREGISTER_PORTABLE,
  CUDA_ERROR_OUT_OF_MEMORY,
  CUDA_SUCCESS,
} from './constants.ts'
import type { DeviceContext } from './context.ts'
import { cuda, out, out2, outNumber, outNumber2 } from './library.ts'
import type { CUstream, DevicePointer, PinnedPointer } from './types.ts'

/** What memory is for, in case there is not enough of it. */
export interface Purpose {
  /** `the network's activations for 64 clips` */
  readonly what: string
  /** What to lower, as users set it: `-b (batch size)`. */
  readonly lower: string
}

/** Bytes of this thread's device. @throws {NativeError} */
export function memoryInfo(): { free: number; total: number } {
  check('cuMemGetInfo_v2', cuda().cuMemGetInfo_v2(out, out2))
  return { free: outNumber(), total: outNumber2() }
}

/**
 * Memory of this thread's device, aligned to 256 bytes, with whatever was in it before.
 * @throws {NativeError} which says, if memory is short, what it was for, how much was free, and what to lower
 */
export function allocate(bytes: number, purpose: Purpose): DevicePointer {
  const status = cuda().cuMemAlloc_v2(out, bytes)
  if (status === CUDA_SUCCESS) return outNumber() as DevicePointer
  if (status !== CUDA_ERROR_OUT_OF_MEMORY) throw cudaError('cuMemAlloc_v2', status)
  const { what, lower } = purpose
  throw cudaError(
    'cuMemAlloc_v2',
    status,
    `${what} takes ${mebibytes(bytes)}, and ${memoryLeft()}; lower ${lower}`,
  )
}

/** Waits until the device has done what it was asked before. @throws {NativeError} */
export function free(pointer: DevicePointer): void {
  check('cuMemFree_v2', cuda().cuMemFree_v2(pointer))
}

/** Page-locked memory of the host, which devices copy from and to at full speed. @throws {NativeError} */
export function allocatePinned(bytes: number): PinnedPointer {
  const status = cuda().cuMemHostAlloc(out, bytes, CU_MEMHOSTALLOC_PORTABLE)
  if (status === CUDA_ERROR_OUT_OF_MEMORY)
    throw cudaError(
      'cuMemHostAlloc',
      status,
      `${mebibytes(bytes)} of the host's memory cannot be page-locked`,
    )
  check('cuMemHostAlloc', status)
  return outNumber() as PinnedPointer
}

export function freePinned(pointer: PinnedPointer): void {
  check('cuMemFreeHost', cuda().cuMemFreeHost(pointer))
}

/** Page-locks memory that exists, a SharedArrayBuffer's too, for all devices. @throws {NativeError} */
export function registerPinned(address: Pointer, bytes: number): PinnedPointer {
  check('cuMemHostRegister_v2', cuda().cuMemHostRegister_v2(address, bytes, CU_MEMHOSTREGISTER_PORTABLE))
  return address as PinnedPointer
}

export function unregisterPinned(pointer: PinnedPointer): void {
  check('cuMemHostUnregister', cuda().cuMemHostUnregister(pointer))
}

/**
 * Memory of the host: an address, or JavaScript's own as an array, which stays where it is for as long as a call takes.
 * Never the address of an array that nothing else refers to: it may be gone by the time of the call.
 */
export type HostMemory = Pointer | NodeJS.TypedArray

/** Host to device. From memory that is not page-locked it has read everything when it returns. @throws {NativeError} */
export function upload(to: DevicePointer, from: HostMemory, bytes: number, stream: CUstream): void {
  check('cuMemcpyHtoDAsync_v2', cuda().cuMemcpyHtoDAsync_v2(to, from, bytes, stream))
}

/**
 * Device to host: there once the stream has come this far; in an array, once it returns. @throws {NativeError}
 */
export function download(to: HostMemory, from: DevicePointer, bytes: number, stream: CUstream): void {
  check('cuMemcpyDtoHAsync_v2', cuda().cuMemcpyDtoHAsync_v2(to, from, bytes, stream))
}

/** Within a device. @throws {NativeError} */
export function copy(to: DevicePointer, from: DevicePointer, bytes: number, stream: CUstream): void {
  check('cuMemcpyDtoDAsync_v2', cuda().cuMemcpyDtoDAsync_v2(to, from, bytes, stream))
}

/** From one device to another, directly where they can and else by way of the host. @throws {NativeError} */
export function copyPeer(
  to: DevicePointer,
  toContext: DeviceContext,
  from: DevicePointer,
  fromContext: DeviceContext,
  bytes: number,
  stream: CUstream,
): void {
  const status = cuda().cuMemcpyPeerAsync(to, toContext.handle, from, fromContext.handle, bytes, stream)
  check('cuMemcpyPeerAsync', status)
}

/** Sets every byte. @throws {NativeError} */
export function fillBytes(to: DevicePointer, value: number, bytes: number, stream: CUstream): void {
  check('cuMemsetD8Async', cuda().cuMemsetD8Async(to, value, bytes, stream))
}

/** Sets every 32-bit word. @throws {NativeError} */
export function fillWords(to: DevicePointer, value: number, words: number, stream: CUstream): void {
  check('cuMemsetD32Async', cuda().cuMemsetD32Async(to, value, words, stream))
}
