import { ATOM_BYTES, CHUNK, pieces, type Ring, ROW_BYTES, STEP } from './parts.ts'

/** Rows that one instruction multiplies. */
export const M64 = 64

/** How places come into shared memory. */
export type Load =
  | {
      /** A run of rows of the input, which lies as the output does; taps are the same rows, shifted. */
      readonly mode: 'shift'
      /** Of a filter of so many rows and columns, 1 or 3. */
      readonly side: 1 | 3
      /** Places of a row with padding. */
      readonly pitch: number
    }
  | {
      /** `places` of all frames of a clip, with a frame of zeros before and after; taps are frames. */
      readonly mode: 'frames'
      readonly places: number
      readonly frames: number
      /** Places of a frame. */
      readonly total: number
    }
  | {
      /** Each tap's places on their own, by an im2col map. */
      readonly mode: 'im2col'
      /** Offsets along columns, rows and frames. */
      readonly taps: readonly (readonly [x: number, y: number, t: number])[]
      /** Of the output. */
      readonly size: readonly [frames: number, height: number, width: number]
      readonly stride: readonly [frames: number, height: number, width: number]
      readonly padding: readonly [frames: number, height: number, width: number]
    }
  | {
      /**
       * The stem's: 7 x 7 places two apart, of pixels of eight channels (16 bytes). Rows of pixels lie in shared memory
       * as those of odd and those of even columns, so that eight places' pixels of one tap are 128 bytes in a run; rows of
       * the matrix overlap in memory. A tile is 64 columns of a few rows. Taps are the 7 rows of the filter.
       */
      readonly mode: 'stem'
      /** Of the output, at most 64 wide. */
      readonly height: number
      readonly width: number
      /** Rows and columns of a frame of the output with padding. */
      readonly pitch: readonly [height: number, width: number]
    }

/** What a kernel computes, and in which tiles. */
export interface ConvolutionKernel {
  readonly name: string
  readonly load: Load
  /** Channels of the input with padding, a multiple of 16. */
  readonly channelsIn: number
  /** Channels of the output with padding; a multiple of `columns`. */
  readonly channelsOut: number
  /** Warpgroups that multiply, each so many times 64 rows. */
  readonly groups: number
  readonly blocks: number
  /** Channels out of a tile, a multiple of 8. */
  readonly columns: number
  readonly stagesA: number
  readonly stagesB: number
  readonly relu: boolean
  readonly residual: boolean
  /**
   * Blocks, of one cluster, that share a tile: each sums over some of the chunks, then over the others' sums of some of the
   * columns, always in the same order. More than one: a cluster makes one tile only.
   */
  readonly split: number
  /** Places of the output that are padding, to be written as zero: the last row and column of so many. */
  readonly pads?: { readonly height: number; readonly width: number }
  /** What lies without that padding, though it is counted in rows of tiles: the output, or what is added to it. */
  readonly dense?: { readonly output?: boolean; readonly residual?: boolean }
}

/** What follows from a kernel's description. */
export interface ConvolutionPlan {
  readonly kernel: ConvolutionKernel
  /** Rows of a tile. */
  readonly rows: number
  /** The box that one load brings, in rows, and how many boxes make a stage. */
  readonly boxRows: number
  readonly boxes: number
  readonly taps: number
  readonly chunks: number
  /** Instructions along the last chunk's channels. */
  readonly lastSteps: number
  readonly columnTiles: number
  readonly sharedBytes: number
  readonly threads: number
}

export const round = (value: number, to: number): number => Math.ceil(value / to) * to

/** Pitch of a row of outputs in shared memory: rows of eight fall into different banks. */
export const pitchOf = (columns: number): number => 2 * columns + ((columns / 8) % 2 === 0 ? 16 : 0)

/** Rows of the input between the first tap's and the output's. */
export const reach = ({ side, pitch }: Load & { mode: 'shift' }): number => (side === 1 ? 0 : pitch + 1)

function tapsOf(load: Load): number {
  if (load.mode === 'shift') return load.side ** 2
  if (load.mode === 'im2col') return load.taps.length
  return load.mode === 'frames' ? 3 : 7
}

function boxOf(load: Load, rows: number): { boxRows: number; boxes: number } {
  if (load.mode === 'frames') return { boxRows: load.places * (load.frames + 2), boxes: 1 }
  if (load.mode === 'im2col') return { boxRows: rows, boxes: 1 }
  if (load.mode === 'stem') return { boxRows: stemRows(rows), boxes: 1 }
  const needed = rows + 2 * reach(load)
  const boxes = Math.ceil(needed / 256)
  return { boxRows: round(Math.ceil(needed / boxes), 8), boxes }
}

/** Pixels of a row of odd columns or even ones: those of 64 places, and four more that the filter reaches. */
export const STEM_PIXELS = 68
/** Bytes of one such row in shared memory; and of both. */
export const STEM_HALF_ROW = STEM_PIXELS * 16
export const STEM_ROW = 2 * STEM_HALF_ROW
/** Columns of the filter in the order in which the stem multiplies them, eight channels each; the last has weight zero. */
export const STEM_COLUMNS = [0, 2, 4, 6, 1, 3, 5, 7] as const
/** Where the pixels of each step of 16 begin in a row: odd columns are the second half. */
export const STEM_STEPS = [STEM_HALF_ROW, STEM_HALF_ROW + 2 * 16, 16, 3 * 16] as const

/** Bytes of a stage of places. */
export const loadBytes = (
  { load }: ConvolutionKernel,
  rows: number,
  boxRows: number,
  boxes: number,
): number => (load.mode === 'stem' ? stemRows(rows) * STEM_ROW : boxRows * boxes * ROW_BYTES)

/** Rows of pixels that a tile of the stem needs. */
export const stemRows = (rows: number): number => 2 * (rows / M64) + 5

export interface Layout {
  readonly a: Ring
  readonly b: Ring
  readonly stagingAt: number
  readonly end: number
}

export function layoutOf(kernel: ConvolutionKernel, rows: number, boxRows: number, boxes: number): Layout {
  const aBytes = round(loadBytes(kernel, rows, boxRows, boxes), ATOM_BYTES)
  const bBytes = kernel.columns * ROW_BYTES
  const bAt = kernel.stagesA * aBytes
  const stagingAt = bAt + kernel.stagesB * bBytes
  const barriersAt =
    stagingAt + (kernel.split > 1 ? 0 : kernel.groups * M64 * pitchOf(pieces(kernel.columns)[0]!))
  const blocks = tapsOf(kernel.load) * Math.ceil(kernel.channelsIn / CHUNK)
  const kept = kernel.split === 1 && kernel.stagesB >= blocks && kernel.columns === kernel.channelsOut
  const a = { name: 'a', stages: kernel.stagesA, stageBytes: aBytes, at: 0, barriersAt }
  const b = {
    name: 'b',
    stages: kept ? blocks : kernel.stagesB,
    stageBytes: bBytes,
    at: bAt,
    barriersAt: barriersAt + 16 * kernel.stagesA,
    kept,
  }
  return { a, b, stagingAt, end: b.barriersAt + 16 * b.stages }
}

export function planConvolution(kernel: ConvolutionKernel): ConvolutionPlan {
  const rows = kernel.groups * kernel.blocks * M64
  const { boxRows, boxes } = boxOf(kernel.load, rows)
  const chunks = Math.ceil(kernel.channelsIn / CHUNK)
  return {
    kernel,
    rows,
    boxRows,
    boxes,
    taps: tapsOf(kernel.load),
    chunks,
    lastSteps: Math.ceil((kernel.channelsIn - (chunks - 1) * CHUNK) / STEP),
    columnTiles: kernel.channelsOut / kernel.columns,
    // The start is rounded up to where the swizzle begins.
    sharedBytes: layoutOf(kernel, rows, boxRows, boxes).end + ATOM_BYTES,
    threads: 128 * (kernel.groups + 1),
  }
}
