import type { DeviceLimits } from '../../ffi/cuda/device.ts'
import type { KernelShape } from '../../ffi/cupti/records.ts'

const WARP = 32
/** Registers are given to a warp, and shared memory to a block, in units; a multiprocessor is four with a quarter each. */
const REGISTER_UNIT = 256
const SHARED_UNIT = 128
const PARTITIONS = 4

export type OccupancyLimit = 'blocks' | 'threads' | 'registers' | 'shared memory'

export interface Occupancy {
  /** Warps that a multiprocessor holds of this kernel, over those that it can hold of any. */
  share: number
  /** What there is not more of. */
  limit: OccupancyLimit
}

const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit

/**
 * How full a multiprocessor can be of a kernel, by what a block of it takes (CUDA C++ Programming Guide, "Multiprocessor
 * level"; compute capability 8.0 to 9.0).
 */
export function theoreticalOccupancy(shape: KernelShape, limits: DeviceLimits): Occupancy {
  const warps = Math.ceil(shape.block.reduce((product, size) => product * size, 1) / WARP)
  const registers = roundUp(shape.registers * WARP, REGISTER_UNIT)
  const warpsOfPartition = Math.floor(limits.registers / PARTITIONS / Math.max(1, registers))
  // What the driver set aside for shared memory, which the L1 cache has the rest of.
  const shared = shape.sharedExecuted > 0 ? shape.sharedExecuted : limits.sharedBytes
  const sharedOfBlock = roundUp(shape.sharedBytes + limits.reservedSharedBytes, SHARED_UNIT)
  const blocks: Record<OccupancyLimit, number> = {
    blocks: limits.blocks,
    threads: Math.floor(limits.threads / WARP / warps),
    registers: Math.floor((warpsOfPartition * PARTITIONS) / warps),
    'shared memory': Math.floor(shared / Math.max(1, sharedOfBlock)),
  }
  const [limit, most] = (Object.entries(blocks) as [OccupancyLimit, number][]).reduce((least, entry) =>
    entry[1] < least[1] ? entry : least,
  )
  return { share: (most * warps * WARP) / limits.threads, limit }
}
