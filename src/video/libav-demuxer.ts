import { VideoError } from '../errors.ts'
import { decodedOrder } from './libav-decoded-order.ts'
import { LibavInput } from './libav-input.ts'
import { pictureKinds } from './libav-pictures.ts'
import { type PacketFacts, type Presentation, presentation } from './libav-presentation.ts'
import type { Demuxer, Packet, StreamInfo, Video } from './types.ts'

/** Packets of up to this many bytes are kept from the first reading; those of larger files are read again. */
const KEPT_BYTES = 256 * 2 ** 20

/** Containers that keep one whole picture in a packet and its time with it. */
const FRAMED = new Set(['mov', 'matroska', 'flv', 'asf', 'mxf', 'nut', 'ivf'])

/** Opens with libavformat what has no other demuxer: AVI, Ogg, MPEG program and transport streams, ... */
export class LibavDemuxer implements Demuxer {
  readonly name = 'libavformat'
  private readonly keptBytes: number

  /** @param options.keptBytes videos with more bytes of packets than this are read again for each clip. */
  constructor(options: { keptBytes?: number } = {}) {
    this.keptBytes = options.keptBytes ?? KEPT_BYTES
  }

  async open(path: string): Promise<Video> {
    const input = new LibavInput(path)
    try {
      return this.index(path, input)
    } finally {
      input.close()
    }
  }

  /** Reads the whole stream once. */
  private index(path: string, input: LibavInput): Video {
    const { container, info, reorders, interlaced } = input
    const kindOf = pictureKinds(info.codec, info.description ?? new Uint8Array(0), reorders)
    const facts: PacketFacts[] = []
    const kept: Uint8Array[] = []
    let bytes = 0
    for (let packet = input.read(); packet; packet = input.read()) {
      const { data, time, key, discard } = packet
      const empty = data.length === 0
      facts.push({ time, key, discard, empty, kind: empty ? 'none' : kindOf?.(data) })
      bytes += data.length
      if (bytes <= this.keptBytes) kept.push(data.slice())
    }
    const source = bytes <= this.keptBytes ? kept : path
    const timed = !interlaced || FRAMED.has(container)
    const order = presentation(facts, timed, (from, to) => {
      return decodedOrder(info, coded(source, facts, from, to)).map(position => position + from)
    })
    if (order.positions.length === 0) {
      throw input.problem === undefined
        ? new VideoError('no_frames')
        : new VideoError('truncated', input.problem)
    }
    return new LibavVideo(container, info, facts, order, source)
  }
}

/** The packets from decode position `from` up to (not including) `to`: kept ones, or read again from the file. */
function* coded(
  source: readonly Uint8Array[] | string,
  facts: readonly PacketFacts[],
  from: number,
  to: number,
): Generator<{ data: Uint8Array; key: boolean; position: number }> {
  if (typeof source !== 'string') {
    for (let position = from; position < to; position++) {
      yield { data: source[position]!, key: facts[position]!.key, position }
    }
    return
  }
  const input = new LibavInput(source)
  try {
    for (let position = 0; position < to; position++) {
      const packet = input.read()
      if (!packet) throw new VideoError('unreadable', 'the file is shorter than when it was opened')
      if (position >= from) yield { data: packet.data, key: packet.key, position }
    }
  } finally {
    input.close()
  }
}

class LibavVideo implements Video {
  readonly frames: number

  constructor(
    readonly container: string,
    readonly info: StreamInfo,
    private readonly facts: readonly PacketFacts[],
    private readonly order: Presentation,
    private source: readonly Uint8Array[] | string,
  ) {
    this.frames = order.positions.length
  }

  /** Every packet from the keyframe on, but for its leading pictures: which ones others refer to is not known here. */
  *packets(wanted: readonly number[]): Generator<Packet> {
    if (wanted.length === 0) return
    const { indices, ranks, positions } = this.order
    const start = this.start(positions[wanted[0]!]!)
    const last = wanted.reduce((latest, index) => Math.max(latest, positions[index]!), 0)
    for (const { data, key, position } of coded(this.source, this.facts, start, last + 1)) {
      const leading = ranks[position]! >= 0 && ranks[position]! < ranks[start]!
      if (!leading && data.length > 0) yield { data, key, index: indices[position]! }
    }
  }

  close(): void {
    this.source = []
  }

  /** The last keyframe that is coded and shown not after the frame at a decode position; the first of all if none is. */
  private start(position: number): number {
    const { ranks } = this.order
    for (let at = position; at > 0; at--) {
      if (this.facts[at]!.key && ranks[at]! >= 0 && ranks[at]! <= ranks[position]!) return at
    }
    return 0
  }
}
