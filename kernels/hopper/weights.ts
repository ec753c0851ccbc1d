import { CHUNK, ROW_BYTES } from './parts.ts'
import { type ConvolutionPlan, STEM_COLUMNS } from './plan.ts'

/** Elements of a row of operands in shared memory, and of the pieces of 16 bytes that the swizzle moves. */
const ROW = ROW_BYTES / 2
const PIECE = 8

/** Where element `k` of row `row` lies in a block: pieces change places by the row's number within eight. */
const swizzled = (row: number, k: number): number =>
  row * ROW + ((Math.floor(k / PIECE) ^ (row % PIECE)) * PIECE + (k % PIECE))

/** What weights are packed from. */
export interface Filter {
  /** [channels out, channels in, time, height, width]. */
  readonly weight: Float32Array
  readonly channelsOut: number
  readonly channelsIn: number
  /** Taps of the filter: time x height x width. */
  readonly taps: number
}

/** Bits of a filter's weights in float16: converted at once and moved as integers, several times as fast as one by one. */
function halfBits({ weight }: Filter): Uint16Array {
  const halves = new Float16Array(new ArrayBuffer(2 * weight.length))
  halves.set(weight)
  return new Uint16Array(halves.buffer)
}

/**
 * Weights in the order in which a kernel takes them, [tiles of columns, chunks, taps] blocks of [columns][64 channels in],
 * each as it lies in shared memory.
 * @param taps - which taps of the filter the kernel has, in its order
 */
export function packWeights(plan: ConvolutionPlan, filter: Filter, taps: readonly number[]): Float16Array {
  const { columns } = plan.kernel
  const block = columns * ROW
  const packed = new Uint16Array(new ArrayBuffer(2 * plan.columnTiles * plan.chunks * plan.taps * block))
  const bits = halfBits(filter)
  for (let k = 0; k < filter.channelsOut; k++) {
    const [tile, row] = [Math.floor(k / columns), k % columns]
    const swizzle = (row % PIECE) * PIECE
    for (let chunk = 0; chunk < plan.chunks; chunk++) {
      const first = chunk * CHUNK
      const channels = Math.min(CHUNK, filter.channelsIn - first)
      // Rows are written as they lie: the order in which filters lie would touch another page with each weight.
      for (let tap = 0; tap < taps.length; tap++) {
        const from = (k * filter.channelsIn + first) * filter.taps + taps[tap]!
        const to = ((tile * plan.chunks + chunk) * plan.taps + tap) * block + row * ROW
        for (let i = 0; i < channels; i++) packed[to + (i ^ swizzle)] = bits[from + i * filter.taps]!
      }
    }
  }
  return new Float16Array(packed.buffer)
}

/** The same for the stem: a block for each row of the filter, its columns beside each other, eight channels each. */
export function packStemWeights(plan: ConvolutionPlan, filter: Filter): Float16Array {
  const { columns } = plan.kernel
  const block = columns * ROW
  const packed = new Uint16Array(new ArrayBuffer(2 * plan.columnTiles * plan.taps * block))
  const bits = halfBits(filter)
  for (let k = 0; k < filter.channelsOut; k++)
    for (let i = 0; i < filter.channelsIn; i++)
      for (let y = 0; y < 7; y++)
        for (const [place, x] of STEM_COLUMNS.entries()) {
          if (x === 7) continue
          const to =
            (Math.floor(k / columns) * plan.taps + y) * block + swizzled(k % columns, PIECE * place + i)
          packed[to] = bits[(k * filter.channelsIn + i) * 49 + 7 * y + x]!
        }
  return new Float16Array(packed.buffer)
}
