import ptx from './clip.ptx' with { type: 'text' }

/** The PTX of the kernel `clip`; clip.ptx says what it does, what its parameters mean, and how exact it is. */
export const CLIP_PTX: string = ptx
export const CLIP_ENTRY = 'clip'

/** Frames of one launch, at most. */
export const CLIP_FRAMES = 16
/** Of the struct that is its one parameter. */
export const CLIP_PARAMETER_BYTES = 504
/** Threads of a block; each makes one pixel. */
export const CLIP_BLOCK = [16, 16, 1] as const

const FRAMES_OFFSET = 120
const FRAME_BYTES = 24

/** Bits of `flags`. */
const WIDE = 1
const BACKWARDS_X = 2
const BACKWARDS_Y = 4
const SIDEWAYS = 8
const TORCHVISION = 16

/**
 * How clip tensors lie in memory. `planes`: [clips, 3, frames, size, size] in float32, as on the CPU. Otherwise
 * [clips, frames, size, size, channels], where those behind R, G and B are zero.
 */
export type ClipLayout = { kind: 'planes' } | { kind: 'f16' | 'f32'; channels: 4 | 8 }

const LAYOUTS: Readonly<Record<ClipLayout['kind'], number>> = { planes: 0, f16: 1, f32: 2 }

/** Along an axis of the frame as stored: it is resized to `resized` samples, of which those from `crop` on are kept. */
export interface ClipAxis {
  resized: number
  crop: number
  backwards: boolean
}

/** What is the same for all frames of a launch. */
export interface ClipParameters {
  /** Samples of 16 bits, the significant bits uppermost. */
  wide: boolean
  /** Of luma. */
  width: number
  height: number
  /** Bytes from row to row. */
  pitch: number
  /** Rows and columns of the output. */
  size: number
  x: ClipAxis
  y: ClipAxis
  /** The frame's rows become columns of the output. */
  sideways: boolean
  formula: 'rnb' | 'torchvision'
  /** R, G and B in 0..1 from Y, Cb and Cr as stored: three factors and a constant each. */
  matrix: readonly (readonly [number, number, number, number])[]
  /** By channel: value gain + bias is what is stored, for a value in 0..1. */
  gain: readonly number[]
  bias: readonly number[]
  layout: ClipLayout
  /** Of layout `planes`: elements from one plane to the next. */
  plane: number
}

/** One frame of a launch: device addresses. */
export interface ClipPlace {
  /** The first shown sample of luma, and the first pair of Cb and Cr. */
  luma: number
  chroma: number
  /** The frame's first pixel in the tensor. */
  out: number
}

/** Blocks of a launch. */
export const clipGrid = (size: number, frames: number): [number, number, number] => [
  Math.ceil(size / CLIP_BLOCK[0]),
  Math.ceil(size / CLIP_BLOCK[1]),
  frames,
]

/** Writes what all frames share into the kernel's parameter. */
export function writeClipParameters(view: DataView, parameters: ClipParameters): void {
  const { width, height, pitch, size, x, y, layout, plane, matrix, gain, bias } = parameters
  const flags =
    (parameters.wide ? WIDE : 0) |
    (x.backwards ? BACKWARDS_X : 0) |
    (y.backwards ? BACKWARDS_Y : 0) |
    (parameters.sideways ? SIDEWAYS : 0) |
    (parameters.formula === 'torchvision' ? TORCHVISION : 0)
  const channels = layout.kind === 'planes' ? 3 : layout.channels
  const words = [width, height, pitch, size, x.resized, x.crop, y.resized, y.crop, flags]
  words.push(LAYOUTS[layout.kind], channels, plane)
  const floats = [...matrix.flat(), ...gain, ...bias]
  words.forEach((word, i) => {
    view.setInt32(4 * i, word, true)
  })
  floats.forEach((float, i) => {
    view.setFloat32(4 * (words.length + i), float, true)
  })
}

/** Writes one frame's addresses into the kernel's parameter. */
export function writeClipPlace(view: DataView, frame: number, { luma, chroma, out }: ClipPlace): void {
  const at = FRAMES_OFFSET + FRAME_BYTES * frame
  writeAddress(view, at, luma)
  writeAddress(view, at + 8, chroma)
  writeAddress(view, at + 16, out)
}

/** In two halves: a BigInt for each would be garbage. */
function writeAddress(view: DataView, at: number, address: number): void {
  view.setUint32(at, address % 2 ** 32, true)
  view.setUint32(at + 4, Math.floor(address / 2 ** 32), true)
}

/** Bytes of one frame in a tensor, from one to the next; in layout `planes`, of one channel. */
export function clipFrameBytes(layout: ClipLayout, size: number): number {
  if (layout.kind === 'planes') return 4 * size * size
  return (layout.kind === 'f16' ? 2 : 4) * layout.channels * size * size
}
