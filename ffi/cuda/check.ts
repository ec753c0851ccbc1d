import { CString, type Pointer, ptr } from 'bun:ffi'
import { NativeError } from '../error.ts'
import { CUDA_ERROR_OUT_OF_MEMORY, CUDA_SUCCESS } from './constants.ts'
import { libcuda } from './library.ts'
import type { CudaCall } from './symbols.ts'

/** What the driver says through `cuGetErrorName` or `cuGetErrorString`; undefined for numbers that it does not know. */
function said(how: 'cuGetErrorName' | 'cuGetErrorString', status: number): string | undefined {
  const cell = new BigUint64Array(new ArrayBuffer(8))
  if (libcuda().symbols[how](status, cell) !== CUDA_SUCCESS) return undefined
  const text = Number(cell[0]) as Pointer
  return text ? String(new CString(text)) : undefined
}

/** A CUresult by name: `CUDA_ERROR_INVALID_VALUE`. */
export const errorName = (status: number): string => said('cuGetErrorName', status) ?? `CUresult ${status}`

/** The error of a status that is not CUDA_SUCCESS. @param more - what is known beside the driver's own text */
export function cudaError(call: CudaCall, status: number, more = ''): NativeError {
  const text = [said('cuGetErrorString', status), more].filter(part => part).join('; ')
  return new NativeError('libcuda', call, status, errorName(status), text)
}

/** Bytes as people read them. */
export const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`

/** How much memory this thread's device has, in words; nothing if the driver does not say. */
export function memoryLeft(): string {
  const cells = new BigUint64Array(new ArrayBuffer(16))
  const at = ptr(cells)
  const status = libcuda().symbols.cuMemGetInfo_v2(at, (at + 8) as Pointer)
  if (status !== CUDA_SUCCESS) return ''
  const [free, total] = [Number(cells[0]), Number(cells[1])]
  return `${mebibytes(free)} of ${mebibytes(total)} is free`
}

/** The one place where a status of the driver is looked at. @throws {NativeError} unless it is CUDA_SUCCESS */
export function check(call: CudaCall, status: number): void {
  if (status === CUDA_SUCCESS) return
  // The driver allocates for streams, modules and graphs, too.
  throw cudaError(call, status, status === CUDA_ERROR_OUT_OF_MEMORY ? memoryLeft() : '')
}
