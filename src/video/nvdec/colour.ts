import type { VideoFormat } from '../../../ffi/nvcuvid/parser.ts'
import { BitReader } from '../dependencies/bits.ts'
import type { Colour, StreamInfo } from '../types.ts'

const BT709 = 1
const UNSPECIFIED = 2
const BT470BG = 5
const SMPTE170M = 6
const SMPTE240M = 7
const BT2020 = 9

/** By VP9's color_space (VP9, table in 7.2.2). */
const VP9_MATRICES: readonly (number | undefined)[] = [
  undefined,
  BT470BG,
  BT709,
  SMPTE170M,
  SMPTE240M,
  BT2020,
]

/** What the uncompressed header of a VP9 keyframe says (VP9, 6.2 and 6.2.2). */
function vp9Colour(data: Uint8Array): Colour {
  const bits = new BitReader(data)
  if (bits.u(2) !== 2) return {}
  const profile = bits.u(1) + 2 * bits.u(1)
  if (profile === 3) bits.skip(1)
  const shownAgain = bits.flag()
  const inter = bits.flag()
  if (shownAgain || inter) return {}
  // show_frame, error_resilient_mode and the sync code.
  bits.skip(2 + 24)
  if (profile >= 2) bits.skip(1)
  const matrix = VP9_MATRICES[bits.u(3)]
  const fullRange = bits.flag()
  if (bits.exhausted) return {}
  return matrix === undefined ? { fullRange } : { matrix, fullRange }
}

/**
 * A stream's own colour description; where it has none, the container's. nvcuvid says what H.264, HEVC and MPEG-2 say,
 * but not of VP8, which knows only one matrix, nor of VP9.
 * @param first the first packet's data
 */
export function streamColour(format: VideoFormat, info: StreamInfo, first: Uint8Array): Colour {
  if (info.codec === 'vp8') return { ...info.colour, matrix: BT470BG }
  if (info.codec === 'vp9') return { ...info.colour, ...vp9Colour(first) }
  const colour: Colour = { ...info.colour }
  // Identity is for RGB, which is never 4:2:0: where it stands, nothing was said.
  if (format.matrix !== UNSPECIFIED && format.matrix !== 0) colour.matrix = format.matrix
  if (format.fullRange) colour.fullRange = true
  return colour
}
