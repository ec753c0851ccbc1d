import type { PixelFormat } from './formats.ts'

/** Clockwise rotation that shows a stored frame upright. */
export type Rotation = 0 | 90 | 180 | 270
export type Formula = 'rnb' | 'torchvision'

/** Two neighbouring samples for each output position along an axis: `low (1 - weight) + high weight`. */
export interface Taps {
  low: Int32Array
  high: Int32Array
  weight: Float64Array
}

/** As {@link Taps}, with the weights of `high` at the two luma samples that an output position lies between. */
export interface PairTaps {
  low: Int32Array
  high: Int32Array
  weightAtLow: Float64Array
  weightAtHigh: Float64Array
}

/** Along the stored rows, for each output position: indices are offsets from the row's start, in elements. */
export interface Across {
  luma: Taps
  /** Chroma at the output position. */
  chroma: Taps
  /** Chroma at the two luma samples around it. */
  chromaPairs: PairTaps
}

/** Along the stored columns, for each output position: indices are rows. */
export interface Down {
  luma: Taps
  /** Chroma at the output position. */
  chroma: Taps
  /** Chroma at the luma row before it, and at the one after it. */
  chromaAtLow: Taps
  chromaAtHigh: Taps
}

/** What an output frame is sampled from. */
export interface Geometry {
  across: Across
  down: Down
  /** Elements of an output plane from one entry of `across` to the next, and of `down`. */
  acrossStep: number
  downStep: number
}

/** An axis of the upright frame: resized to `resized` samples, of which those from `crop` on are kept. */
interface Resize {
  resized: number
  crop: number
}

/** Python's round(), which places torchvision's centre crop: halves go to the even neighbour. */
function roundHalfEven(x: number): number {
  const down = Math.floor(x)
  return x - down === 0.5 ? down + (down % 2) : Math.round(x)
}

/** How a formula resizes the upright frame, and where its crop of `size` begins. */
export function resizeOf(formula: Formula, size: number): { height: Resize; width: Resize } {
  if (formula === 'rnb') return { height: { resized: size, crop: 0 }, width: { resized: size, crop: 0 } }
  const centred = (resized: number) => ({ resized, crop: roundHalfEven((resized - size) / 2) })
  return {
    height: centred(Math.round((size * 128) / 112)),
    width: centred(Math.round((size * 171) / 112)),
  }
}

const clamp = (x: number, last: number): number => Math.min(Math.max(x, 0), last)

/** The position, in stored samples, of each output sample along an axis of `length`; outside, edges repeat. */
function positionsOf(
  length: number,
  { resized, crop }: Resize,
  size: number,
  reversed: boolean,
): Float64Array {
  return Float64Array.from({ length: size }, (_, i) => {
    const upright = ((crop + i + 0.5) * length) / resized - 0.5
    return clamp(reversed ? length - 1 - upright : upright, length - 1)
  })
}

/** Samples of a chroma plane along an axis of `length` luma samples. */
const chromaLength = (length: number, log2: number): number => Math.ceil(length / 2 ** log2)

/** Luma positions in samples of a chroma plane of `length`, whose first sample lies at luma position `site`. */
function chromaPositions(luma: Float64Array, length: number, log2: number, site: number): Float64Array {
  return luma.map(x => clamp((x - site) / 2 ** log2, length - 1))
}

/** Taps at positions on an axis of `length` samples that lie `step` elements apart. */
function tapsAt(positions: Float64Array, length: number, step: number): Taps {
  const low = Int32Array.from(positions, Math.floor)
  return {
    low: low.map(x => x * step),
    high: low.map(x => Math.min(x + 1, length - 1) * step),
    weight: positions.map((x, i) => x - low[i]!),
  }
}

function acrossOf(luma: Float64Array, width: number, format: PixelFormat): Across {
  const [{ step }, { step: chromaStep }] = format.components
  const length = chromaLength(width, format.chromaX)
  // Left siting: the first chroma sample lies on the first luma sample.
  const chroma = (positions: Float64Array) => chromaPositions(positions, length, format.chromaX, 0)
  const lowLuma = luma.map(Math.floor)
  const highLuma = lowLuma.map(x => Math.min(x + 1, width - 1))
  // With left siting two neighbouring luma samples never need more than two chroma samples.
  const atLow = tapsAt(chroma(lowLuma), length, chromaStep)
  const atHigh = chroma(highLuma)
  return {
    luma: tapsAt(luma, width, step),
    chroma: tapsAt(chroma(luma), length, chromaStep),
    chromaPairs: {
      low: atLow.low,
      high: atLow.high,
      weightAtLow: atLow.weight,
      weightAtHigh: atHigh.map((x, i) => x - atLow.low[i]! / chromaStep),
    },
  }
}

function downOf(luma: Float64Array, height: number, format: PixelFormat): Down {
  const length = chromaLength(height, format.chromaY)
  // A chroma row lies in the middle of the luma rows that share it.
  const site = (2 ** format.chromaY - 1) / 2
  const chroma = (positions: Float64Array) =>
    tapsAt(chromaPositions(positions, length, format.chromaY, site), length, 1)
  const lowLuma = luma.map(Math.floor)
  return {
    luma: tapsAt(luma, height, 1),
    chroma: chroma(luma),
    chromaAtLow: chroma(lowLuma),
    chromaAtHigh: chroma(lowLuma.map(x => Math.min(x + 1, height - 1))),
  }
}

/** Rotating clockwise by a quarter makes the last stored row the first upright column, and so on. */
function makeGeometry(
  formula: Formula,
  size: number,
  format: PixelFormat,
  width: number,
  height: number,
  rotation: Rotation,
): Geometry {
  const upright = resizeOf(formula, size)
  const sideways = rotation === 90 || rotation === 270
  const reversedAcross = rotation === 180 || rotation === 270
  const reversedDown = rotation === 90 || rotation === 180
  const x = positionsOf(width, sideways ? upright.height : upright.width, size, reversedAcross)
  const y = positionsOf(height, sideways ? upright.width : upright.height, size, reversedDown)
  return {
    across: acrossOf(x, width, format),
    down: downOf(y, height, format),
    acrossStep: sideways ? size : 1,
    downStep: sideways ? 1 : size,
  }
}

/** Geometries kept: more than the frame sizes that are met at a time, about 20 KB each at size 112. */
const KEPT = 64
const kept = new Map<string, Geometry>()

/** The geometry of a frame, made once and kept; the one longest unused makes room. */
export function geometryOf(
  formula: Formula,
  size: number,
  format: PixelFormat,
  width: number,
  height: number,
  rotation: Rotation,
): Geometry {
  const key = `${formula} ${size} ${format.name} ${width}x${height} ${rotation}`
  let geometry = kept.get(key)
  if (geometry) kept.delete(key)
  else geometry = makeGeometry(formula, size, format, width, height, rotation)
  kept.set(key, geometry)
  if (kept.size > KEPT) kept.delete(kept.keys().next().value!)
  return geometry
}
