import { BitReader } from './dependencies/bits.ts'
import { type PictureReader, picture } from './dependencies/picture.ts'
import { pictureReader } from './dependencies/reader.ts'
import type { StreamInfo } from './types.ts'

/**
 * What a packet is to the order in which pictures are shown: a `reference` is held back until the next reference
 * comes, a `bidirectional` picture is shown at once, `none` is never shown.
 */
export type PictureKind = 'reference' | 'bidirectional' | 'none'

/** The start codes of an MPEG stream: the byte after 00 00 01, and the offset of what follows it. */
function* startCodes(data: Uint8Array): Generator<{ code: number; offset: number }> {
  for (let i = 0; i + 3 < data.length; i++) {
    if (data[i] === 0 && data[i + 1] === 0 && data[i + 2] === 1) yield { code: data[i + 3]!, offset: i + 4 }
  }
}

/** MPEG-1 and MPEG-2 (ISO/IEC 13818-2, 6.2.3): picture_coding_type of the packet's first picture. */
function mpeg2Kind(data: Uint8Array): PictureKind {
  for (const { code, offset } of startCodes(data)) {
    if (code === 0) return (((data[offset + 1] ?? 0) >> 3) & 7) === 3 ? 'bidirectional' : 'reference'
  }
  return 'none'
}

/** MPEG-4 part 2 (ISO/IEC 14496-2, 6.2.3 and 6.2.5): vop_coding_type and vop_coded, one picture a packet. */
class Mpeg4Pictures {
  private incrementBits: number | undefined

  constructor(configuration: Uint8Array) {
    this.kind(configuration)
  }

  kind(data: Uint8Array): PictureKind {
    for (const { code, offset } of startCodes(data)) {
      if (code >= 0x20 && code <= 0x2f) this.incrementBits = incrementBits(data, offset)
      if (code === 0xb6) return this.plane(data, offset)
    }
    return 'none'
  }

  private plane(data: Uint8Array, offset: number): PictureKind {
    const bits = new BitReader(data, offset)
    const type = bits.u(2)
    if (this.incrementBits !== undefined) {
      while (!bits.exhausted && bits.flag());
      bits.skip(1 + this.incrementBits + 1)
      if (!bits.flag()) return 'none'
    }
    return type === 2 ? 'bidirectional' : 'reference'
  }
}

/** Bits of vop_time_increment that a video object layer's header declares. */
function incrementBits(data: Uint8Array, offset: number): number {
  const bits = new BitReader(data, offset)
  bits.skip(1 + 8)
  let version = 1
  if (bits.flag()) {
    version = bits.u(4)
    bits.skip(3)
  }
  if (bits.u(4) === 15) bits.skip(16)
  if (bits.flag()) {
    bits.skip(2 + 1)
    if (bits.flag()) bits.skip(79)
  }
  if (bits.u(2) === 3 && version !== 1) bits.skip(4)
  bits.skip(1)
  return Math.max(1, Math.ceil(Math.log2(bits.u(16))))
}

/** How a stream's pictures are to be read. */
export interface PictureReading {
  /** Judges packets in decode order; undefined where only timestamps or the decoder know the order of pictures. */
  kind?: (data: Uint8Array) => PictureKind
  /** A new reader of what depends on what. */
  pictures(): PictureReader
}

/** @param reorders whether the codec may show pictures in another order than they are coded in. */
export function pictureReading(info: StreamInfo, reorders: boolean): PictureReading {
  const kind = mpegKind(info)
  if (kind) {
    return { kind, pictures: () => data => picture({ reference: kind(data) !== 'bidirectional' }) }
  }
  const pictures = () => pictureReader(info)
  if (reorders) return { pictures }
  const read = pictures()
  return { kind: data => (read(data).shown ? 'bidirectional' : 'none'), pictures }
}

function mpegKind({ codec, description }: StreamInfo): ((data: Uint8Array) => PictureKind) | undefined {
  if (codec === 'mpeg1video' || codec === 'mpeg2video') return mpeg2Kind
  if (codec !== 'mpeg4') return undefined
  const mpeg4 = new Mpeg4Pictures(description ?? new Uint8Array(0))
  return data => mpeg4.kind(data)
}

/**
 * The order in which pictures are shown, by their kinds in decode order.
 * @returns decode positions in presentation order.
 */
export function shownOrder(kinds: readonly PictureKind[]): number[] {
  const shown: number[] = []
  let held: number | undefined
  for (const [position, kind] of kinds.entries()) {
    if (kind === 'bidirectional') shown.push(position)
    if (kind !== 'reference') continue
    if (held !== undefined) shown.push(held)
    held = position
  }
  if (held !== undefined) shown.push(held)
  return shown
}
