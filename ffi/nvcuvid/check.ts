import { NativeError } from '../error.ts'
import type { NvcuvidCall } from './symbols.ts'

/** Names of the driver's statuses that nvcuvid returns (CUresult in cuda.h). */
const NAMES: Readonly<Record<number, string>> = {
  1: 'CUDA_ERROR_INVALID_VALUE',
  2: 'CUDA_ERROR_OUT_OF_MEMORY',
  3: 'CUDA_ERROR_NOT_INITIALIZED',
  4: 'CUDA_ERROR_DEINITIALIZED',
  46: 'CUDA_ERROR_DEVICE_UNAVAILABLE',
  100: 'CUDA_ERROR_NO_DEVICE',
  101: 'CUDA_ERROR_INVALID_DEVICE',
  200: 'CUDA_ERROR_INVALID_IMAGE',
  201: 'CUDA_ERROR_INVALID_CONTEXT',
  205: 'CUDA_ERROR_MAP_FAILED',
  206: 'CUDA_ERROR_UNMAP_FAILED',
  207: 'CUDA_ERROR_ARRAY_IS_MAPPED',
  208: 'CUDA_ERROR_ALREADY_MAPPED',
  211: 'CUDA_ERROR_NOT_MAPPED',
  214: 'CUDA_ERROR_ECC_UNCORRECTABLE',
  300: 'CUDA_ERROR_INVALID_SOURCE',
  304: 'CUDA_ERROR_OPERATING_SYSTEM',
  400: 'CUDA_ERROR_INVALID_HANDLE',
  401: 'CUDA_ERROR_ILLEGAL_STATE',
  700: 'CUDA_ERROR_ILLEGAL_ADDRESS',
  702: 'CUDA_ERROR_LAUNCH_TIMEOUT',
  719: 'CUDA_ERROR_LAUNCH_FAILED',
  801: 'CUDA_ERROR_NOT_SUPPORTED',
  999: 'CUDA_ERROR_UNKNOWN',
}

/** The one place where a status of nvcuvid's is looked at. @throws {NativeError} unless it is CUDA_SUCCESS */
export function check(call: NvcuvidCall, status: number): void {
  if (status !== 0) throw nvcuvidError(call, status)
}

/** The error of a status that is not CUDA_SUCCESS. @param more - what is known beside it */
export function nvcuvidError(call: NvcuvidCall, status: number, more = ''): NativeError {
  return new NativeError('libnvcuvid', call, status, NAMES[status] ?? `CUresult ${status}`, more)
}
