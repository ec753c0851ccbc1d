/**
 * What a packet is to the order in which pictures are shown: a `reference` is held back until the next reference
 * comes, a `bidirectional` picture is shown at once, `none` is never shown.
 */
export type PictureKind = 'reference' | 'bidirectional' | 'none'

/** Reads numbers from the most significant bit on; zeros past the end. */
class Bits {
  private position: number
  constructor(
    private readonly data: Uint8Array,
    byte: number,
  ) {
    this.position = byte * 8
  }
  read(count: number): number {
    let value = 0
    for (let i = 0; i < count; i++, this.position++) {
      value = value * 2 + (((this.data[this.position >> 3] ?? 0) >> (7 - (this.position & 7))) & 1)
    }
    return value
  }
  skip(count: number): void {
    this.position += count
  }
}

/** The start codes of an MPEG stream: the byte after 00 00 01, and the offset of what follows it. */
function* startCodes(data: Uint8Array): Generator<{ code: number; offset: number }> {
  for (let i = 0; i + 3 < data.length; i++) {
    if (data[i] === 0 && data[i + 1] === 0 && data[i + 2] === 1) yield { code: data[i + 3]!, offset: i + 4 }
  }
}

/** MPEG-1 and MPEG-2 (ISO/IEC 13818-2, 6.2.3): picture_coding_type of the packet's first picture. */
function mpeg2Kind(data: Uint8Array): PictureKind {
  for (const { code, offset } of startCodes(data)) {
    if (code === 0) return ((data[offset + 1]! >> 3) & 7) === 3 ? 'bidirectional' : 'reference'
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
    const bits = new Bits(data, offset)
    const type = bits.read(2)
    if (this.incrementBits !== undefined) {
      for (let seconds = 0; seconds < 64 && bits.read(1) === 1; seconds++);
      bits.skip(1 + this.incrementBits + 1)
      if (bits.read(1) === 0) return 'none'
    }
    return type === 2 ? 'bidirectional' : 'reference'
  }
}

/** Bits of vop_time_increment that a video object layer's header declares. */
function incrementBits(data: Uint8Array, offset: number): number {
  const bits = new Bits(data, offset)
  bits.skip(1 + 8)
  let version = 1
  if (bits.read(1)) {
    version = bits.read(4)
    bits.skip(3)
  }
  if (bits.read(4) === 15) bits.skip(16)
  if (bits.read(1)) {
    bits.skip(2 + 1)
    if (bits.read(1)) bits.skip(79)
  }
  if (bits.read(2) === 3 && version !== 1) bits.skip(4)
  bits.skip(1)
  const resolution = bits.read(16)
  return Math.max(1, Math.ceil(Math.log2(resolution)))
}

/** VP8 (RFC 6386, 9.1): show_frame. */
const vp8Kind = (data: Uint8Array): PictureKind => (data[0]! & 0x10 ? 'bidirectional' : 'none')

/** VP9 (6.2 and annex B): a packet with a superframe index ends in a shown frame; else the frame's own flags say. */
function vp9Kind(data: Uint8Array): PictureKind {
  if ((data[data.length - 1]! & 0xe0) === 0xc0) return 'bidirectional'
  const bits = new Bits(data, 0)
  bits.skip(2)
  const profile = bits.read(1) + 2 * bits.read(1)
  if (profile === 3) bits.skip(1)
  if (bits.read(1)) return 'bidirectional'
  bits.skip(1)
  return bits.read(1) ? 'bidirectional' : 'none'
}

/**
 * A judge of a stream's packets, where the coded pictures alone tell the order in which they are shown.
 * @param reorders whether the codec may show pictures in another order than they are coded in.
 * @returns undefined where only timestamps or decoding can tell.
 */
export function pictureKinds(
  codec: string,
  configuration: Uint8Array,
  reorders: boolean,
): ((data: Uint8Array) => PictureKind) | undefined {
  if (codec === 'mpeg1video' || codec === 'mpeg2video') return mpeg2Kind
  if (codec === 'mpeg4') {
    const pictures = new Mpeg4Pictures(configuration)
    return data => pictures.kind(data)
  }
  if (codec === 'vp8') return vp8Kind
  if (codec === 'vp9') return vp9Kind
  return reorders ? undefined : () => 'bidirectional'
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
