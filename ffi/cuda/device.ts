import { check } from './check.ts'
import {
  CU_DEVICE_ATTRIBUTE_CLOCK_RATE,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
  CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH,
  CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR,
  CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
  CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR,
  CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE,
  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
  CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK,
} from './constants.ts'
import { cuda, out, outNumber, outWord } from './library.ts'
import type { CUdevice } from './types.ts'

/** What the driver says of a device. */
export interface CudaDevice {
  /** As numbered under CUDA_VISIBLE_DEVICES. */
  index: number
  name: string
  /** `GPU-4f1d...`, as nvidia-smi -L and NVML know it. */
  uuid: string
  /** `9.0` */
  capability: string
  multiprocessors: number
  memoryBytes: number
}

/** Devices under CUDA_VISIBLE_DEVICES. @throws {NativeError} */
export function deviceCount(): number {
  check('cuDeviceGetCount', cuda().cuDeviceGetCount(out))
  return outWord()
}

/** The driver's number of a device. @throws {NativeError} if there is no such device */
export function cudaDevice(index: number): CUdevice {
  check('cuDeviceGet', cuda().cuDeviceGet(out, index))
  return outWord() as CUdevice
}

function attribute(device: CUdevice, which: number): number {
  check('cuDeviceGetAttribute', cuda().cuDeviceGetAttribute(out, which, device))
  return outWord()
}

/** 16 bytes as `GPU-8-4-4-4-12` digits. */
export const formatUuid = (bytes: Uint8Array): string => {
  const hex = Buffer.from(bytes).toString('hex')
  return `GPU-${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`
}

/** @throws {NativeError} */
export function describeDevice(index: number): CudaDevice {
  const device = cudaDevice(index)
  const bytes = new Uint8Array(new ArrayBuffer(256))
  check('cuDeviceGetName', cuda().cuDeviceGetName(bytes, bytes.length, device))
  const name = new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)))
  check('cuDeviceGetUuid_v2', cuda().cuDeviceGetUuid_v2(bytes, device))
  const uuid = formatUuid(bytes.subarray(0, 16))
  const major = attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
  const minor = attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
  const multiprocessors = attribute(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
  check('cuDeviceTotalMem_v2', cuda().cuDeviceTotalMem_v2(out, device))
  return { index, name, uuid, capability: `${major}.${minor}`, multiprocessors, memoryBytes: outNumber() }
}

/** What a multiprocessor holds at once, and how fast a device is at most. */
export interface DeviceLimits {
  multiprocessors: number
  /** Of a multiprocessor. */
  threads: number
  blocks: number
  registers: number
  sharedBytes: number
  /** Of a block's shared memory, what the system takes. */
  reservedSharedBytes: number
  smHz: number
  memoryHz: number
  memoryBusBits: number
}

/** @throws {NativeError} */
export function deviceLimits(index: number): DeviceLimits {
  const device = cudaDevice(index)
  const read = (which: number) => attribute(device, which)
  return {
    multiprocessors: read(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
    threads: read(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR),
    blocks: read(CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR),
    registers: read(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR),
    sharedBytes: read(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR),
    reservedSharedBytes: read(CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK),
    // Both in kHz; memory moves data at both edges of its clock.
    smHz: 1000 * read(CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
    memoryHz: 1000 * read(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE),
    memoryBusBits: read(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH),
  }
}

/** Whether one device can read and write another's memory directly. @throws {NativeError} */
export function canAccessPeer(index: number, other: number): boolean {
  const [device, peer] = [cudaDevice(index), cudaDevice(other)]
  check('cuDeviceCanAccessPeer', cuda().cuDeviceCanAccessPeer(out, device, peer))
  return outWord() !== 0
}
