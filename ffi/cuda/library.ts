import { type Library, type Pointer, ptr } from 'bun:ffi'
import { environmentDefault } from '../libc.ts'
import { openLibrary } from '../library.ts'
import { check } from './check.ts'
import { SYSTEM_FOLDERS } from './folders.ts'
import { CUDA } from './symbols.ts'

type Libcuda = Library<typeof CUDA> & { path: string }

let opened: Libcuda | undefined

/** libcuda, opened on first use; RNB_CUDA_DRIVER names another. @throws {LibraryError} where there is no NVIDIA driver */
export function libcuda(): Libcuda {
  opened ??= openLibrary(
    {
      name: 'libcuda',
      override: 'RNB_CUDA_DRIVER',
      sonames: ['libcuda.so.1'],
      folders: SYSTEM_FOLDERS,
      hint: 'Install the NVIDIA driver, or run with --device cpu',
    },
    CUDA,
  )
  return opened
}

/**
 * Hardware queues that streams are spread over, 8 by default: streams that share one wait for each other, and a loader alone has
 * a stream for each of its threads (CUDA C++ Programming Guide, "CUDA Environment Variables").
 */
const MOST_CONNECTIONS = '32'

let started: Libcuda['symbols'] | undefined

/** The driver's calls, ready to be used. @throws {NativeError} if the driver does not start */
export function cuda(): Libcuda['symbols'] {
  if (started === undefined) {
    const { symbols } = libcuda()
    environmentDefault('CUDA_DEVICE_MAX_CONNECTIONS', MOST_CONNECTIONS)
    check('cuInit', symbols.cuInit(0))
    started = symbols
  }
  return started
}

/** Memory that C writes its results into: read at once after the call, so that one set a thread is enough. */
const results = new ArrayBuffer(16)
const words = new Int32Array(results)
const floats = new Float32Array(results)
const wide = new BigUint64Array(results)

/** Where a call puts a result, of at most 8 bytes each. */
export const out = ptr(wide)
export const out2 = (out + 8) as Pointer
/** What it put there. */
export const outWord = (): number => words[0]!
export const outFloat = (): number => floats[0]!
export const outNumber = (): number => Number(wide[0])
export const outWord2 = (): number => words[2]!
export const outNumber2 = (): number => Number(wide[1])
