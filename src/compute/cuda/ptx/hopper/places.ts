import type { ClipLayout } from '../../layout.ts'

/**
 * How a value lies between kernels: [clips, frames, height + 1, width + 1, padded channels] in float16. The row and the
 * column behind each frame's are zero wherever a filter reaches beyond its places: a filter's tap is then the same run of
 * places, shifted. `pad` is 0 for values that others write or read.
 */
export interface Lying {
  readonly frames: number
  readonly height: number
  readonly width: number
  readonly channels: number
  readonly padded: number
  readonly pad: 0 | 1
}

export const lyingOf = ({ frames, height, width, channels, padded }: ClipLayout, pad: 0 | 1): Lying => ({
  frames,
  height,
  width,
  channels,
  padded,
  pad,
})

/** Rows and columns of a frame with padding. */
export const pitchOf = ({ height, width, pad }: Lying): { height: number; width: number } => ({
  height: height + pad,
  width: width + pad,
})

/** Places of a frame with padding. */
export const framePlaces = (lying: Lying): number => {
  const { height, width } = pitchOf(lying)
  return height * width
}

export const lyingBytes = (lying: Lying): number => 2 * lying.padded * lying.frames * framePlaces(lying)

/** Multiples of 8 that tiles of columns may have. */
const COLUMNS = [
  288, 256, 240, 232, 224, 216, 208, 200, 192, 184, 176, 168, 160, 152, 144, 136, 128, 120, 112, 104, 96, 88,
  80, 72, 64,
]

/** Ways to cut channels into tiles of equal numbers of columns, the widest first. */
export const columnsOf = (padded: number): number[] =>
  padded <= 64 ? [padded] : COLUMNS.filter(columns => padded % columns === 0)

/** Columns of tiles that fill many multiprocessors and still keep each busy. */
const HANDY = (columns: number): boolean => columns >= 96 && columns <= 160

/** Channels with as little padding as lets them be cut into tiles of a handy size. */
export function hopperChannels(channels: number): number {
  let padded = Math.ceil(channels / 16) * 16
  if (padded <= 256) return padded
  while (!columnsOf(padded).some(HANDY)) padded += 16
  return padded
}
