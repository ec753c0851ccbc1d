import { VideoError } from '../errors.ts'
import { type CodedStream, readyDependentPackets } from './dependencies/packets.ts'
import { clipRuns, Keyframes } from './dependencies/plan.ts'
import { flagsDamage } from './libav-damage.ts'
import { decodedOrder } from './libav-decoded-order.ts'
import { LibavInput } from './libav-input.ts'
import { type PictureReading, pictureReading } from './libav-pictures.ts'
import { type PacketFacts, presentationOf } from './libav-presentation.ts'
import { KeptPackets, type PacketStore, RereadPackets } from './libav-store.ts'
import type { Presentation } from './presentation.ts'
import type { Clip, ClipRun, Demuxer, Packet, StreamInfo, Video } from './types.ts'

/** Videos of up to this many bytes of packets are kept from the first reading; larger ones are read again. */
const KEPT_BYTES = 256 * 2 ** 20

/** Opens with libavformat what has no other demuxer: AVI, Ogg, MPEG program and transport streams, ... */
export class LibavDemuxer implements Demuxer {
  readonly name = 'libavformat'
  private readonly keptBytes: number

  /** @param options.keptBytes of packets that are kept in memory at most; larger videos are read again for each clip. */
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

  /** Reads the whole stream once: containers without an index, and those whose index is wrong, are read alike. */
  private index(path: string, input: LibavInput): Video {
    const { container, info, reorders } = input
    const reading = pictureReading(info, reorders)
    const facts: PacketFacts[] = []
    const kept: Uint8Array[] = []
    const corrupt = new Set<number>()
    let bytes = 0
    for (let packet = input.read(); packet; packet = input.read()) {
      const { data, time, key, discard } = packet
      if (packet.corrupt && !flagsDamage(info.codec)) corrupt.add(facts.length)
      const empty = data.length === 0
      facts.push({ time, key, discard, empty, kind: empty ? 'none' : reading.kind?.(data) })
      bytes += data.length
      if (bytes <= this.keptBytes) kept.push(data.slice())
    }
    if (facts.length === 0) throw nothing(input)
    const store = bytes <= this.keptBytes ? new KeptPackets(kept) : new RereadPackets(path)
    try {
      const presentation = presentationOf(facts, (from, to) =>
        decodedOrder(info, coded(store, facts, from, to)).map(position => position + from),
      )
      if (presentation.frames > 0)
        return new LibavVideo(container, info, facts, presentation, reading, store, corrupt)
    } catch (error) {
      store.close()
      throw error
    }
    store.close()
    throw nothing(input)
  }
}

/** What to say of a stream that shows nothing. */
function nothing({ problem }: LibavInput): VideoError {
  return problem === undefined ? new VideoError('no_frames') : new VideoError('truncated', problem)
}

/** The packets from decode position `from` up to (not including) `to`. */
function* coded(store: PacketStore, facts: readonly PacketFacts[], from: number, to: number) {
  for (let position = from; position < to; position++) {
    yield { data: store.read(position), key: facts[position]!.key }
  }
}

class LibavVideo implements Video, CodedStream {
  readonly frames: number
  readonly keyframes: Keyframes

  constructor(
    readonly container: string,
    readonly info: StreamInfo,
    facts: readonly PacketFacts[],
    readonly presentation: Presentation,
    private readonly reading: PictureReading,
    private readonly store: PacketStore,
    /** Positions of packets that the container says are damaged, where the decoder would not notice. */
    private readonly corrupt: ReadonlySet<number>,
  ) {
    this.frames = presentation.frames
    this.keyframes = new Keyframes(presentation, position => facts[position]!.key && !facts[position]!.empty)
  }

  packets(wanted: readonly number[]): Iterable<Packet> {
    const packets = readyDependentPackets(this, wanted, position => this.store.read(position))
    return this.corrupt.size === 0 ? packets : this.untilCorrupt(packets)
  }

  runs(clips: readonly Clip[]): ClipRun[] {
    return clipRuns(this.presentation, this.keyframes, clips)
  }

  /** Passes packets on until one that is damaged, on which wanted frames depend: no other is asked for. */
  private *untilCorrupt(packets: Iterable<Packet>): Generator<Packet> {
    const { index, position } = this.presentation
    for (const packet of packets) {
      const at = position[packet.index] ?? index.indexOf(packet.index)
      if (!this.corrupt.has(at)) yield packet
      else if (at < index.length - 1)
        throw new VideoError('damaged', 'the container marks a picture as damaged')
      else throw new VideoError('truncated', 'the file ends within a picture')
    }
  }

  pictures() {
    return this.reading.pictures()
  }

  close(): void {
    this.store.close()
  }
}
