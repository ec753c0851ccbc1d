import type { MatrixRow } from './colour.ts'
import type { PairTaps, Taps } from './taps.ts'

/*
 * The inner loops, each over one row of the output. They are small on purpose: a loop that does all of it for a
 * pixel keeps more values alive than there are registers, and takes twice as long as these one after the other.
 * Indices are sums of integers `| 0`, which spares a check for overflow. Tuples are read by index: taken apart by
 * destructuring, their elements lose their types, and such a loop takes five times as long.
 */

/** Samples of one component of a frame: the element at `first + row stride + offset`. */
export interface Samples {
  data: Uint8Array | Uint16Array
  first: number
  stride: number
}

/** A position between two rows of samples: `low (1 - weight) + high weight`. */
export interface Between {
  low: number
  high: number
  weight: number
}

/** One channel's row of the output: `step` elements apart, value gain + bias. */
export interface Destination {
  out: Float32Array
  at: number
  step: number
  gain: number
  bias: number
}

/** Bilinear: samples at the taps, between two rows. */
export function resampleRow(samples: Samples, rows: Between, taps: Taps, into: Float64Array): void {
  const { data, first, stride } = samples
  const { low, high, weight } = taps
  const row0 = first + rows.low * stride
  const row1 = first + rows.high * stride
  const down = rows.weight
  const count = low.length
  for (let i = 0; i < count; i++) {
    const x0 = low[i]!
    const x1 = high[i]!
    const across = weight[i]!
    const a = data[(row0 + x0) | 0]!
    const b = data[(row1 + x0) | 0]!
    const top = a + (data[(row0 + x1) | 0]! - a) * across
    const bottom = b + (data[(row1 + x1) | 0]! - b) * across
    into[i] = top + (bottom - top) * down
  }
}

/** The two samples of each tap in one row. */
export function gatherRow(
  samples: Samples,
  row: number,
  taps: Taps,
  atLow: Float64Array,
  atHigh: Float64Array,
): void {
  const { data, first, stride } = samples
  const { low, high } = taps
  const start = first + row * stride
  const count = low.length
  for (let i = 0; i < count; i++) {
    atLow[i] = data[(start + low[i]!) | 0]!
    atHigh[i] = data[(start + high[i]!) | 0]!
  }
}

/** Chroma, upsampled bilinearly, at the two luma samples of each tap in one luma row. */
export function upsampleRow(
  samples: Samples,
  rows: Between,
  taps: PairTaps,
  atLow: Float64Array,
  atHigh: Float64Array,
): void {
  const { data, first, stride } = samples
  const { low, high, weightAtLow, weightAtHigh } = taps
  const row0 = first + rows.low * stride
  const row1 = first + rows.high * stride
  const down = rows.weight
  const count = low.length
  for (let i = 0; i < count; i++) {
    const x0 = low[i]!
    const x1 = high[i]!
    const a = data[(row0 + x0) | 0]!
    const b = data[(row0 + x1) | 0]!
    const left = a + (data[(row1 + x0) | 0]! - a) * down
    const slope = b + (data[(row1 + x1) | 0]! - b) * down - left
    atLow[i] = left + slope * weightAtLow[i]!
    atHigh[i] = left + slope * weightAtHigh[i]!
  }
}

/**
 * One of R, G and B from three components, clamped to 0..1 and stretched to -1..1: 2 clamp(x) - 1 = |x| - |x - 1|.
 * Without branches to mispredict the time is the same for every picture.
 */
export function convertRow(
  components: readonly [Float64Array, Float64Array, Float64Array],
  factors: MatrixRow,
  into: Float64Array,
): void {
  const A = components[0]
  const B = components[1]
  const C = components[2]
  const a = factors[0]
  const b = factors[1]
  const c = factors[2]
  const constant = factors[3]
  const count = A.length
  for (let i = 0; i < count; i++) {
    const x = a * A[i]! + b * B[i]! + c * C[i]! + constant
    into[i] = Math.abs(x) - Math.abs(x - 1)
  }
}

export function writeRow(values: Float64Array, { out, at, step, gain, bias }: Destination): void {
  const count = values.length
  for (let i = 0; i < count; i++) {
    out[at] = values[i]! * gain + bias
    at = (at + step) | 0
  }
}

/** Bilinear between four samples for each output: before and after it, in the row above and in the one below. */
export function writeBlended(
  around: readonly [Float64Array, Float64Array, Float64Array, Float64Array],
  across: Float64Array,
  down: number,
  { out, at, step, gain, bias }: Destination,
): void {
  const topLow = around[0]
  const topHigh = around[1]
  const bottomLow = around[2]
  const bottomHigh = around[3]
  const count = across.length
  for (let i = 0; i < count; i++) {
    const weight = across[i]!
    const a = topLow[i]!
    const b = bottomLow[i]!
    const top = a + (topHigh[i]! - a) * weight
    const bottom = b + (bottomHigh[i]! - b) * weight
    out[at] = (top + (bottom - top) * down) * gain + bias
    at = (at + step) | 0
  }
}
