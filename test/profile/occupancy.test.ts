import { expect, test } from 'bun:test'
import fc from 'fast-check'
import type { DeviceLimits } from '../../ffi/cuda/device.ts'
import type { KernelShape } from '../../ffi/cupti/records.ts'
import { theoreticalOccupancy } from '../../src/profile/occupancy.ts'
import { peaksOf } from '../../src/profile/peaks.ts'

/** An H100 SXM, as its driver says. */
const H100: DeviceLimits = {
  multiprocessors: 132,
  threads: 2048,
  blocks: 32,
  registers: 65536,
  sharedBytes: 233472,
  reservedSharedBytes: 1024,
  smHz: 1.98e9,
  memoryHz: 2.619e9,
  memoryBusBits: 5120,
}

const shape = (threads: number, registers: number, sharedBytes = 0, sharedExecuted = 0): KernelShape => ({
  grid: [1, 1, 1],
  block: [threads, 1, 1],
  cluster: 1,
  registers,
  localBytes: 0,
  sharedBytes,
  sharedExecuted,
})

// By hand, from the rules: warps of 32, 256 registers at a time to a warp, four quarters of a multiprocessor.
test.each([
  // 8 blocks of 8 warps; 16 warps of 1024 registers fit into each quarter.
  [shape(256, 32), 1, 'threads'],
  // 128 registers a thread: 4 warps in each quarter, 16 in all.
  [shape(256, 128), 0.25, 'registers'],
  // 168 a thread, 5376 a warp: 3 in each quarter; one block of 12 warps.
  [shape(384, 168), 12 / 64, 'registers'],
  // 65 are as many as 72: 7 warps in each quarter, 28 in all, hence 7 blocks of 4.
  [shape(128, 65), 28 / 64, 'registers'],
  // 100 KiB and the system's 1 KiB: two blocks in 228 KiB.
  [shape(128, 32, 100 * 1024), 8 / 64, 'shared memory'],
  // The driver set 100 KiB up: not even 101 fit, as a whole 32 KiB block does three times.
  [shape(128, 32, 32 * 1024, 100 * 1024), 12 / 64, 'shared memory'],
  // 32 blocks of one warp.
  [shape(20, 16), 32 / 64, 'blocks'],
] as const)('%o', (launched, share, limit) => {
  expect(theoreticalOccupancy(launched, H100)).toEqual({ share, limit })
})

test('more of anything that a block takes never makes occupancy higher by more than the rounding to blocks', () => {
  const threads = fc.integer({ min: 1, max: 32 }).map(warps => 32 * warps)
  fc.assert(
    fc.property(
      threads,
      fc.integer({ min: 16, max: 255 }),
      fc.nat(227 * 1024),
      fc.nat(10),
      fc.nat(1000),
      (block, registers, shared, r, s) => {
        const { share } = theoreticalOccupancy(shape(block, registers, shared), H100)
        expect(share).toBeGreaterThanOrEqual(0)
        expect(share).toBeLessThanOrEqual(1)
        expect(theoreticalOccupancy(shape(block, registers + r, shared + s), H100).share).toBeLessThanOrEqual(
          share,
        )
      },
    ),
  )
})

test('peaks are those of the data sheet', () => {
  const { tflops, gbPerS } = peaksOf('9.0', H100)
  // 1979 TFLOP/s with sparsity at 1830 MHz is 989 dense; the highest clock is 1980 MHz.
  expect((tflops!.fp16 * 1.83) / 1.98).toBeCloseTo(989, 0)
  expect(tflops!.tf32).toBe(tflops!.fp16 / 2)
  expect(gbPerS).toBeCloseTo(3352, 0)
  expect(peaksOf('12.0', H100).tflops).toBeUndefined()
})
