import type { ColourMatrix } from './colour.ts'
import {
  type Between,
  convertRow,
  type Destination,
  gatherRow,
  resampleRow,
  type Samples,
  upsampleRow,
  writeBlended,
  writeRow,
} from './rows.ts'
import type { Geometry, Taps } from './taps.ts'

/** One frame to preprocess: see FORMULAS.md for what becomes of it. */
export interface Job {
  components: readonly [Samples, Samples, Samples]
  geometry: Geometry
  matrix: ColourMatrix
  out: Float32Array
  offset: number
  channelStride: number
  /** By channel: value gain + bias is what is written, for a value in -1..1 that stands for 0..1. */
  gain: readonly [number, number, number]
  bias: readonly [number, number, number]
}

type Quad = readonly [Float64Array, Float64Array, Float64Array, Float64Array]

/** Rows in between, for outputs of one size; a call to preprocess never overlaps another on its thread. */
interface Scratch {
  size: number
  /** Components, and a converted channel, at the output positions. */
  components: readonly [Float64Array, Float64Array, Float64Array]
  channel: Float64Array
  /** The same at the four samples around each output position, one row after another, ... */
  components4: readonly [Float64Array, Float64Array, Float64Array]
  channel4: Float64Array
  /** ... and views of these rows. */
  quads: readonly [Quad, Quad, Quad]
  channelQuad: Quad
}

function makeScratch(size: number): Scratch {
  const row = () => new Float64Array(size)
  const row4 = () => new Float64Array(4 * size)
  const view = (rows: Float64Array, i: number) => rows.subarray(i * size, (i + 1) * size)
  const quad = (rows: Float64Array): Quad => [view(rows, 0), view(rows, 1), view(rows, 2), view(rows, 3)]
  const components4 = [row4(), row4(), row4()] as const
  const channel4 = row4()
  return {
    size,
    components: [row(), row(), row()],
    channel: row(),
    components4,
    channel4,
    quads: [quad(components4[0]), quad(components4[1]), quad(components4[2])],
    channelQuad: quad(channel4),
  }
}

let scratch = makeScratch(112)
function scratchFor(size: number): Scratch {
  if (scratch.size !== size) scratch = makeScratch(size)
  return scratch
}

const between = ({ low, high, weight }: Taps, i: number): Between => ({
  low: low[i]!,
  high: high[i]!,
  weight: weight[i]!,
})

function destination(job: Job, row: number, channel: number): Destination {
  return {
    out: job.out,
    at: job.offset + channel * job.channelStride + row * job.geometry.downStep,
    step: job.geometry.acrossStep,
    gain: job.gain[channel]!,
    bias: job.bias[channel]!,
  }
}

/** The formula rnb: components are resampled, then converted. */
export function resampleThenConvert(job: Job): void {
  const { across, down } = job.geometry
  const size = down.luma.low.length
  const { components, channel } = scratchFor(size)
  for (let row = 0; row < size; row++) {
    const chroma = between(down.chroma, row)
    resampleRow(job.components[0], between(down.luma, row), across.luma, components[0])
    resampleRow(job.components[1], chroma, across.chroma, components[1])
    resampleRow(job.components[2], chroma, across.chroma, components[2])
    for (let c = 0; c < 3; c++) {
      convertRow(components, job.matrix[c]!, channel)
      writeRow(channel, destination(job, row, c))
    }
  }
}

/** The formula torchvision: chroma is upsampled and samples are converted, then resampled. */
export function convertThenResample(job: Job): void {
  const { across, down } = job.geometry
  const [first, second, third] = job.components
  const size = down.luma.low.length
  const { components4, quads, channel4, channelQuad } = scratchFor(size)
  const [a, b, c] = quads
  for (let row = 0; row < size; row++) {
    const top = between(down.chromaAtLow, row)
    const bottom = between(down.chromaAtHigh, row)
    gatherRow(first, down.luma.low[row]!, across.luma, a[0], a[1])
    gatherRow(first, down.luma.high[row]!, across.luma, a[2], a[3])
    upsampleRow(second, top, across.chromaPairs, b[0], b[1])
    upsampleRow(second, bottom, across.chromaPairs, b[2], b[3])
    upsampleRow(third, top, across.chromaPairs, c[0], c[1])
    upsampleRow(third, bottom, across.chromaPairs, c[2], c[3])
    for (let c = 0; c < 3; c++) {
      convertRow(components4, job.matrix[c]!, channel4)
      writeBlended(channelQuad, across.luma.weight, down.luma.weight[row]!, destination(job, row, c))
    }
  }
}
