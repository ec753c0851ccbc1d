import { LibraryError } from '../error.ts'
import { check } from './check.ts'
import { CUDA_ERROR_NO_DEVICE } from './constants.ts'
import { type CudaDevice, describeDevice, deviceCount } from './device.ts'
import { libcuda, out, outWord } from './library.ts'

export type { CudaDevice }

export interface CudaDriver {
  path: string
  /** `13.0`: the newest CUDA that the driver speaks. */
  version: string
  devices: CudaDevice[]
}

/**
 * What the NVIDIA driver of this host offers; undefined where there is none.
 * @throws {NativeError} if there is one and it does not work
 */
export function cudaDriver(): CudaDriver | undefined {
  let library: ReturnType<typeof libcuda>
  try {
    library = libcuda()
  } catch (error) {
    if (error instanceof LibraryError) return undefined
    throw error
  }
  const { path, symbols } = library
  const status = symbols.cuInit(0)
  if (status === CUDA_ERROR_NO_DEVICE) return { path, version: driverVersion(), devices: [] }
  check('cuInit', status)
  const devices = Array.from({ length: deviceCount() }, (_, index) => describeDevice(index))
  return { path, version: driverVersion(), devices }
}

/** The newest CUDA that the driver speaks: 12030 is 12.3. @throws {NativeError} */
export function driverNumber(): number {
  check('cuDriverGetVersion', libcuda().symbols.cuDriverGetVersion(out))
  return outWord()
}

function driverVersion(): string {
  const version = driverNumber()
  return `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`
}
