import { type FFIFunction, FFIType, type Library, ptr } from 'bun:ffi'
import { LibraryError, NativeError } from '../error.ts'
import { openLibrary } from '../library.ts'

const { i32, u32 } = FFIType
const pointer = FFIType.ptr

/** The driver calls that are used, as cuda.h declares them. CUdevice is an int; versioned symbols are named outright. */
const symbols = {
  cuInit: { args: [u32], returns: i32 },
  cuDriverGetVersion: { args: [pointer], returns: i32 },
  cuDeviceGetCount: { args: [pointer], returns: i32 },
  cuDeviceGet: { args: [pointer, i32], returns: i32 },
  cuDeviceGetName: { args: [pointer, i32, i32], returns: i32 },
  cuDeviceGetAttribute: { args: [pointer, i32, i32], returns: i32 },
  cuDeviceTotalMem_v2: { args: [pointer, i32], returns: i32 },
  cuGetErrorName: { args: [i32, pointer], returns: i32 },
  cuGetErrorString: { args: [i32, pointer], returns: i32 },
} as const satisfies Record<string, FFIFunction>

const CUDA_SUCCESS = 0
const CUDA_ERROR_NO_DEVICE = 100

let opened: (Library<typeof symbols> & { path: string }) | undefined

/** libcuda, opened on first use. @throws {LibraryError} where there is no NVIDIA driver */
function libcuda() {
  opened ??= openLibrary(
    {
      name: 'libcuda',
      override: 'RNB_CUDA_DRIVER',
      sonames: ['libcuda.so.1'],
      folders: ['/usr/lib/x86_64-linux-gnu', '/usr/lib64', '/usr/local/nvidia/lib64', '/usr/lib/wsl/lib'],
      hint: 'Install the NVIDIA driver, or run with --device cpu',
    },
    symbols,
  )
  return opened
}

/** The one place where a status of the driver is looked at. @throws {NativeError} */
function check(call: keyof typeof symbols, status: number): void {
  if (status === CUDA_SUCCESS) return
  // The driver names its own codes, but only into memory of its own; the number is documented in cuda.h.
  throw new NativeError('libcuda', call, status, `CUresult ${status}`)
}

const word = new Int32Array(new ArrayBuffer(4))
const bytes = new Uint8Array(new ArrayBuffer(256))
const wide = new BigUint64Array(new ArrayBuffer(8))

/** Attributes of a device (CUdevice_attribute in cuda.h). */
const CAPABILITY_MAJOR = 75
const CAPABILITY_MINOR = 76

export interface CudaDevice {
  /** As numbered under CUDA_VISIBLE_DEVICES. */
  index: number
  name: string
  /** `9.0` */
  capability: string
  memoryBytes: number
}

export interface CudaDriver {
  path: string
  /** `13.0`: the newest CUDA that the driver speaks. */
  version: string
  devices: CudaDevice[]
}

function describeDevice(index: number): CudaDevice {
  const cuda = libcuda().symbols
  check('cuDeviceGet', cuda.cuDeviceGet(ptr(word), index))
  const device = word[0]!
  check('cuDeviceGetName', cuda.cuDeviceGetName(ptr(bytes), bytes.length, device))
  const name = new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)))
  const attribute = (number: number) => {
    check('cuDeviceGetAttribute', cuda.cuDeviceGetAttribute(ptr(word), number, device))
    return word[0]!
  }
  const capability = `${attribute(CAPABILITY_MAJOR)}.${attribute(CAPABILITY_MINOR)}`
  check('cuDeviceTotalMem_v2', cuda.cuDeviceTotalMem_v2(ptr(wide), device))
  return { index, name, capability, memoryBytes: Number(wide[0]) }
}

/**
 * What the NVIDIA driver of this host offers; undefined where there is none.
 * @throws {NativeError} if there is one and it does not work
 */
export function cudaDriver(): CudaDriver | undefined {
  try {
    libcuda()
  } catch (error) {
    if (error instanceof LibraryError) return undefined
    throw error
  }
  const cuda = libcuda().symbols
  const status = cuda.cuInit(0)
  if (status === CUDA_ERROR_NO_DEVICE) return { path: libcuda().path, version: driverVersion(), devices: [] }
  check('cuInit', status)
  check('cuDeviceGetCount', cuda.cuDeviceGetCount(ptr(word)))
  const devices = Array.from({ length: word[0]! }, (_, index) => describeDevice(index))
  return { path: libcuda().path, version: driverVersion(), devices }
}

function driverVersion(): string {
  check('cuDriverGetVersion', libcuda().symbols.cuDriverGetVersion(ptr(word)))
  const version = word[0]!
  return `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`
}
