import type { StreamInfo } from '../types.ts'
import { type ElementaryStream, elementaryStream } from './parameter-sets.ts'

/** Bytes of an Annex B start code, as written here. */
const START_CODE = 4

/**
 * Copies a packet, and writes a start code over each length of as many bytes: the usual case, in one copy.
 * @returns false if the packet's units do not fill it; then what was written means nothing
 */
function replaceLengths(packet: Uint8Array, into: Uint8Array, start: number): boolean {
  into.set(packet, start)
  let at = 0
  while (at + START_CODE < packet.length) {
    const place = start + at
    const length =
      packet[at]! * 2 ** 24 + ((packet[at + 1]! << 16) | (packet[at + 2]! << 8) | packet[at + 3]!)
    if (length === 0) return false
    into[place + 2] = into[place + 1] = into[place] = 0
    into[place + 3] = 1
    at += START_CODE + length
  }
  return at === packet.length
}

/** Room for one packet, as large as the largest so far: kept from stream to stream, it is most of what one would leave as garbage. */
export class PacketRoom {
  #bytes = new Uint8Array(new ArrayBuffer(1 << 16))

  /** At least so many bytes, with whatever is in them. */
  of(bytes: number): Uint8Array {
    if (this.#bytes.length < bytes)
      this.#bytes = new Uint8Array(new ArrayBuffer(2 ** Math.ceil(Math.log2(bytes))))
    return this.#bytes
  }
}

/**
 * Turns a container's packets into the elementary stream that nvcuvid parses, in one room, where the next packet is
 * written over it.
 */
export class ElementaryStreamWriter {
  readonly #stream: ElementaryStream
  #truncated = false

  constructor(
    info: StreamInfo,
    readonly room = new PacketRoom(),
  ) {
    this.#stream = elementaryStream(info)
  }

  /** Whether the packet written last ended in the middle of a NAL unit. */
  get truncated(): boolean {
    return this.#truncated
  }

  /**
   * @param first whether nothing was parsed before it: the parameter sets go in front.
   * @returns bytes that are valid until the next call.
   */
  write(packet: Uint8Array, first: boolean): Uint8Array {
    const { framing, prefix } = this.#stream
    this.#truncated = false
    const start = first ? prefix.length : 0
    // Where lengths take fewer bytes than start codes, each unit grows by what they lack; none is shorter than one byte.
    const growth =
      typeof framing === 'number' ? (START_CODE - framing) * Math.ceil(packet.length / (framing + 1)) : 0
    const room = this.room.of(start + packet.length + growth)
    if (first) room.set(prefix)
    if (typeof framing !== 'number') {
      room.set(packet, start)
      return room.subarray(0, start + packet.length)
    }
    return room.subarray(0, this.#writeUnits(packet, framing, room, start))
  }

  /** Writes the packet's NAL units, each behind a start code. @returns where they end */
  #writeUnits(packet: Uint8Array, lengthSize: number, into: Uint8Array, start: number): number {
    if (lengthSize === START_CODE && replaceLengths(packet, into, start)) return start + packet.length
    let to = start
    let at = 0
    while (at < packet.length) {
      let length = 0
      for (let i = 0; i < lengthSize; i++) length = length * 256 + (packet[at + i] ?? 0)
      at += lengthSize
      const end = Math.min(at + length, packet.length)
      if (at > packet.length || end < at + length) this.#truncated = true
      if (end > at) {
        into[to + 2] = into[to + 1] = into[to] = 0
        into[to + 3] = 1
        to += START_CODE
        into.set(packet.subarray(at, end), to)
        to += end - at
      }
      at += length
    }
    return to
  }
}
