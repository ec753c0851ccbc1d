import { BitReader } from './bits.ts'
import { type Picture, type PictureReader, picture } from './picture.ts'

/** VP8 (RFC 6386, 9.1): the frame tag's first byte has the inverse key flag and show_frame. */
export function vp8Reader(): PictureReader {
  return data => {
    if (data.length === 0) return picture({ entry: false, shown: false })
    const key = (data[0]! & 1) === 0
    return picture({ entry: key, closed: key, shown: (data[0]! & 16) !== 0 })
  }
}

/** The frames of a VP9 packet: those that a superframe index at its end lists (VP9, annex B), or the one it is. */
function vp9Frames(data: Uint8Array): Uint8Array[] {
  const last = data[data.length - 1] ?? 0
  if ((last & 0xe0) !== 0xc0) return [data]
  const count = (last & 7) + 1
  const width = ((last >> 3) & 3) + 1
  const index = data.length - (2 + width * count)
  if (index < 0 || data[index] !== last) return [data]
  const frames: Uint8Array[] = []
  let at = 0
  for (let i = 0; i < count; i++) {
    let size = 0
    for (let byte = width - 1; byte >= 0; byte--) size = size * 256 + data[index + 1 + i * width + byte]!
    if (at + size > index) break
    if (size > 0) frames.push(data.subarray(at, at + size))
    at += size
  }
  return frames
}

/** One frame's uncompressed header, up to refresh_frame_flags (VP9, 6.2). */
function vp9Frame(data: Uint8Array): Picture {
  const bits = new BitReader(data)
  if (bits.u(2) !== 2) return picture({ entry: false, fresh: false })
  const profile = bits.u(1) + 2 * bits.u(1)
  if (profile === 3) bits.skip(1)
  // A frame shown again leaves all as it was; kept all the same, as decoders differ on what follows it.
  if (bits.flag()) return picture({ entry: false, fresh: false })
  const key = !bits.flag()
  const shown = bits.flag()
  const resilient = bits.flag()
  if (key) return picture({ closed: true, shown })
  const intraOnly = shown ? false : bits.flag()
  if (!resilient) bits.skip(2)
  if (intraOnly) {
    bits.skip(24)
    if (profile > 0) skipColour(bits, profile)
  }
  const refresh = bits.u(8)
  // Probabilities, motion vectors and segmentation pass from frame to frame, referenced or not, unless reset.
  return picture({
    reference: refresh !== 0 || !resilient || bits.exhausted,
    entry: false,
    shown,
    lingers: true,
    fresh: resilient,
  })
}

function skipColour(bits: BitReader, profile: number): void {
  if (profile >= 2) bits.skip(1)
  const rgb = bits.u(3) === 7
  if (!rgb) bits.skip(profile % 2 === 1 ? 4 : 1)
  else if (profile % 2 === 1) bits.skip(1)
}

/**
 * VP9: a frame with refresh_frame_flags 0 is referenced by none. But a frame also inherits from the one decoded just
 * before it; error_resilient_mode resets that. So only error resilient frames are left out, before one that is too.
 */
export function vp9Reader(): PictureReader {
  return data => {
    const frames = vp9Frames(data).map(vp9Frame)
    const first = frames[0]
    if (first === undefined) return picture({ entry: false, shown: false })
    return picture({
      reference: frames.some(f => f.reference),
      entry: first.entry,
      closed: first.closed,
      shown: frames.some(f => f.shown),
      lingers: frames.some(f => f.lingers),
      fresh: first.fresh,
    })
  }
}
