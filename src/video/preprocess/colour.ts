import { VideoError } from '../../errors.ts'
import type { Colour } from '../types.ts'
import type { PixelFormat } from './formats.ts'

/** R, G, B in 0..1, not yet clamped, from samples as stored: for each, factors of the three components and a sum. */
export type ColourMatrix = readonly [MatrixRow, MatrixRow, MatrixRow]
export type MatrixRow = readonly [number, number, number, number]

/** Kr and Kb of ITU-T H.273, table 4, by matrix_coefficients. */
const LUMA_WEIGHTS: Readonly<Record<number, readonly [kr: number, kb: number]>> = {
  1: [0.2126, 0.0722],
  4: [0.3, 0.11],
  5: [0.299, 0.114],
  6: [0.299, 0.114],
  7: [0.212, 0.087],
  9: [0.2627, 0.0593],
  // To undo constant luminance takes the transfer function, too; the difference is small.
  10: [0.2627, 0.0593],
}
const BT709 = 1
const BT601 = 6

/** Streams that do not name their matrix: BT.601 up to this height, BT.709 above. */
const LAST_BT601_HEIGHT = 576

/** H.273's numbers that name no matrix: unspecified and reserved. */
const UNSAID: readonly (number | undefined)[] = [undefined, 2, 3]

/**
 * The colour matrix for a frame's samples, from what its stream says of its colour.
 * @param height lines of the frame as stored, before any rotation.
 * @throws {VideoError} `unsupported_format` for YCgCo, ICtCp and other matrices that Kr and Kb do not define.
 */
export function colourMatrix(format: PixelFormat, colour: Colour, height: number): ColourMatrix {
  const full = colour.fullRange ?? format.fullRange
  const unit = 2 ** format.padding
  const byte = unit * 2 ** (format.depth - 8)
  const max = unit * (2 ** format.depth - 1)
  const y = 1 / (full ? max : 219 * byte)
  const black = full ? 0 : -16 * byte * y
  if (!format.ycbcr)
    return [
      [y, 0, 0, black],
      [0, y, 0, black],
      [0, 0, y, black],
    ]
  // Identity: the planes hold G, B and R, all in luma's range.
  if (colour.matrix === 0)
    return [
      [0, 0, y, black],
      [y, 0, 0, black],
      [0, y, 0, black],
    ]
  const matrix = UNSAID.includes(colour.matrix)
    ? height <= LAST_BT601_HEIGHT
      ? BT601
      : BT709
    : colour.matrix!
  const weights = LUMA_WEIGHTS[matrix]
  if (!weights) throw new VideoError('unsupported_format', `no conversion for matrix_coefficients ${matrix}`)

  const [kr, kb] = weights
  const kg = 1 - kr - kb
  const zero = 128 * byte
  const chroma = 1 / (full ? max : 224 * byte)
  const rCr = 2 * (1 - kr) * chroma
  const bCb = 2 * (1 - kb) * chroma
  const gCr = (-kr / kg) * rCr
  const gCb = (-kb / kg) * bCb
  return [
    [y, 0, rCr, black - zero * rCr],
    [y, gCb, gCr, black - zero * (gCb + gCr)],
    [y, bCb, 0, black - zero * bCb],
  ]
}
