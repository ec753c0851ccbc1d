import type { DeviceLimits } from '../../ffi/cuda/device.ts'
import type { Precision } from '../compute/cuda/layout.ts'

/**
 * Operations of a multiprocessor in one clock cycle, products of dense matrices on tensor cores (fp32: on CUDA cores), from
 * NVIDIA's architecture papers. Elsewhere they depend on the product, not only on the capability.
 */
const PER_CLOCK: Readonly<Record<string, Readonly<Record<Precision, number>>>> = {
  '8.0': { fp16: 2048, tf32: 1024, fp32: 128 },
  '9.0': { fp16: 4096, tf32: 2048, fp32: 256 },
}

/** What a GPU can do at most, at its highest clocks: reading the data sheet, not measuring. */
export interface Peaks {
  /** By precision; undefined where that is not known of this capability. */
  tflops?: Record<Precision, number>
  gbPerS: number
}

export function peaksOf(capability: string, limits: DeviceLimits): Peaks {
  const perClock = PER_CLOCK[capability]
  const tflops = (operations: number) => (limits.multiprocessors * operations * limits.smHz) / 1e12
  return {
    ...(perClock && {
      tflops: { fp16: tflops(perClock.fp16), tf32: tflops(perClock.tf32), fp32: tflops(perClock.fp32) },
    }),
    // Two transfers in a clock cycle.
    gbPerS: (2 * limits.memoryHz * limits.memoryBusBits) / 8 / 1e9,
  }
}
