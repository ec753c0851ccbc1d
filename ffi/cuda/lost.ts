import { cudaError } from './check.ts'
import {
  CUDA_ERROR_ASSERT,
  CUDA_ERROR_CONTEXT_IS_DESTROYED,
  CUDA_ERROR_ECC_UNCORRECTABLE,
  CUDA_ERROR_HARDWARE_STACK_ERROR,
  CUDA_ERROR_ILLEGAL_ADDRESS,
  CUDA_ERROR_ILLEGAL_INSTRUCTION,
  CUDA_ERROR_INVALID_ADDRESS_SPACE,
  CUDA_ERROR_INVALID_PC,
  CUDA_ERROR_LAUNCH_FAILED,
  CUDA_ERROR_LAUNCH_TIMEOUT,
  CUDA_ERROR_MISALIGNED_ADDRESS,
  CUDA_ERROR_NVLINK_UNCORRECTABLE,
  CUDA_ERROR_UNKNOWN,
} from './constants.ts'
import { cuda } from './library.ts'
import type { CUstream } from './types.ts'

/** Statuses after which every call on the device fails with the same, for as long as the process lives. */
const STICKY: ReadonlySet<number> = new Set([
  CUDA_ERROR_ASSERT,
  CUDA_ERROR_CONTEXT_IS_DESTROYED,
  CUDA_ERROR_ECC_UNCORRECTABLE,
  CUDA_ERROR_HARDWARE_STACK_ERROR,
  CUDA_ERROR_ILLEGAL_ADDRESS,
  CUDA_ERROR_ILLEGAL_INSTRUCTION,
  CUDA_ERROR_INVALID_ADDRESS_SPACE,
  CUDA_ERROR_INVALID_PC,
  CUDA_ERROR_LAUNCH_FAILED,
  CUDA_ERROR_LAUNCH_TIMEOUT,
  CUDA_ERROR_MISALIGNED_ADDRESS,
  CUDA_ERROR_NVLINK_UNCORRECTABLE,
  CUDA_ERROR_UNKNOWN,
])

/**
 * Whether this thread's device is lost to this process: a kernel on it did what it must not, or the device failed.
 * Libraries above the driver hide that behind errors of their own.
 * @returns what the driver says of it, in words
 */
export function lostDevice(stream: CUstream): string | undefined {
  const status = cuda().cuStreamQuery(stream)
  return STICKY.has(status) ? cudaError('cuStreamQuery', status).message : undefined
}
