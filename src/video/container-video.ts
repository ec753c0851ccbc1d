import type { ContainerPackets } from './container-packets.ts'
import { dependentPackets, type PacketSource, readyDependentPackets } from './dependencies/packets.ts'
import type { PictureReader } from './dependencies/picture.ts'
import { clipRuns, Keyframes } from './dependencies/plan.ts'
import { pictureReader } from './dependencies/reader.ts'
import type { Presentation } from './presentation.ts'
import type { Clip, ClipRun, Packet, StreamInfo, Video } from './types.ts'

/** Coded pictures in decode order, and the packets that hold them: one each, or two of a field each. */
export class CodedPictures {
  /** First packet of each picture; undefined if they are the same. */
  private readonly starts: Int32Array | undefined
  readonly count: number

  /** @param second for each packet, whether it is the second field of the one before */
  constructor(
    private readonly packets: number,
    second?: readonly boolean[],
  ) {
    if (second?.includes(true)) {
      this.starts = Int32Array.from(second.keys().filter(position => !second[position]))
    }
    this.count = this.starts?.length ?? packets
  }

  /** Position of a picture's first packet. */
  first(picture: number): number {
    return this.starts ? this.starts[picture]! : picture
  }

  /** Position of its last packet. */
  last(picture: number): number {
    return this.starts ? (this.starts[picture + 1] ?? this.packets) - 1 : picture
  }

  /** The picture whose first packet is at a position. */
  beginningAt(position: number): number | undefined {
    const picture = this.holding(position)
    return picture >= 0 && this.first(picture) === position ? picture : undefined
  }

  /** The picture of which the packet at a position is part, or -1. */
  holding(position: number): number {
    if (!this.starts || position < 0) return position
    return this.starts.findLastIndex(start => start <= position)
  }

  /** Of each picture's first packet. */
  firsts(values: Float64Array): Float64Array {
    return this.starts ? Float64Array.from(this.starts, start => values[start]!) : values
  }
}

/** A video whose container lists its packets. */
export class ContainerVideo implements Video, PacketSource {
  readonly container: string
  readonly info: StreamInfo
  readonly keyframes: Keyframes

  constructor(
    private readonly list: ContainerPackets,
    private readonly coded: CodedPictures,
    readonly presentation: Presentation,
  ) {
    this.container = list.container
    this.info = list.info
    this.keyframes = new Keyframes(presentation, picture => list.keys[coded.first(picture)] === 1)
  }

  get frames(): number {
    return this.presentation.frames
  }

  packets(wanted: readonly number[]): AsyncIterable<Packet> | Iterable<Packet> {
    const beyond = wanted.find(index => !(index >= 0 && index < this.frames))
    if (beyond !== undefined) throw new RangeError(`frame ${beyond} of ${this.frames}`)
    const { list, coded } = this
    if (!list.ready) return dependentPackets(this, wanted)
    return readyDependentPackets(this, wanted, picture => {
      const [first, last] = [coded.first(picture), coded.last(picture)]
      if (first === last) return list.read(first)
      return Buffer.concat([list.read(first), list.read(last)])
    })
  }

  runs(clips: readonly Clip[]): ClipRun[] {
    return clipRuns(this.presentation, this.keyframes, clips)
  }

  /** The bytes of the coded picture at a position; of two fields, one after the other. */
  async read(picture: number): Promise<Uint8Array> {
    const [first, last] = [this.coded.first(picture), this.coded.last(picture)]
    if (first === last) return this.list.read(first)
    return Buffer.concat([await this.list.read(first), await this.list.read(last)])
  }

  pictures(): PictureReader {
    return pictureReader(this.info)
  }

  close(): void {
    this.list.close()
  }
}
