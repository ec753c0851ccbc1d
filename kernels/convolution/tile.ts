/**
 * How products are computed. `f16`: float16 on tensor cores; `tf32`: float32 rounded to 10 bits of mantissa, on tensor
 * cores; `f32`: float32 throughout. Sums are in float32.
 */
export type Arithmetic = 'f16' | 'tf32' | 'f32'

/** How a block of threads shares a tile of the output, places x channels. */
export interface ConvolutionTile {
  readonly arithmetic: Arithmetic
  /** Warps along places and along channels. */
  readonly warps: readonly [places: number, channels: number]
  /** Fragments of a warp: of 16 places, and of 8 channels (an even number of them). */
  readonly fragments: readonly [places: number, channels: number]
  /** Pieces of the depth that are in shared memory or on their way to it. */
  readonly stages: number
  /** Whether copies go through the L1 cache, where neighbouring taps find what is common to them. */
  readonly cached: boolean
}

/** Bytes of a piece: what is copied and swizzled at once. */
export const PIECE = 16
/** Pieces of the depth of a row in one stage. */
export const PIECES = 4
/** Bytes of a row of a stage. */
export const ROW = PIECE * PIECES

/** Bytes by which rows of sums are longer than their sums, so that eight rows lie in different banks. */
const SUMS_PAD = 32

export const elementBytes = (arithmetic: Arithmetic): 2 | 4 => (arithmetic === 'f16' ? 2 : 4)

/** Measures that follow from a tile. */
export function tileSizes({ warps, fragments, stages }: ConvolutionTile) {
  const places = 16 * warps[0] * fragments[0]
  const channels = 8 * warps[1] * fragments[1]
  const threads = 32 * warps[0] * warps[1]
  const stage = ROW * (places + channels)
  const sumsRow = 4 * channels + SUMS_PAD
  return { places, channels, threads, stage, sumsRow, shared: Math.max(stages * stage, places * sumsRow) }
}

/** `mma 128 x 64`: as reports name it. */
export function tileName(tile: ConvolutionTile): string {
  const { places, channels } = tileSizes(tile)
  const cached = tile.cached ? ' through L1' : ''
  return `${tile.arithmetic === 'f32' ? 'fma' : 'mma'} ${places} x ${channels}${cached}`
}
