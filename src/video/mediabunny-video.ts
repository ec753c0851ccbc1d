import { dependentPackets, type PacketSource } from './dependencies/packets.ts'
import type { PictureReader } from './dependencies/picture.ts'
import { Keyframes } from './dependencies/plan.ts'
import { pictureReader } from './dependencies/reader.ts'
import type { MediabunnyInput } from './mediabunny-input.ts'
import type { Presentation } from './presentation.ts'
import type { Packet, StreamInfo, Video } from './types.ts'

/** A coded picture: one packet, or the two that hold its fields. */
export interface CodedPicture {
  /** Position of its first packet. */
  first: number
  /** Position of its last packet. */
  last: number
}

/** A video opened with mediabunny. */
export class MediabunnyVideo implements Video, PacketSource {
  readonly container: string
  readonly keyframes: Keyframes

  constructor(
    private readonly input: MediabunnyInput,
    readonly info: StreamInfo,
    private readonly coded: readonly CodedPicture[],
    readonly presentation: Presentation,
  ) {
    this.container = input.container
    this.keyframes = new Keyframes(presentation, at => input.packets[coded[at]!.first]!.type === 'key')
  }

  get frames(): number {
    return this.presentation.frames
  }

  packets(wanted: readonly number[]): AsyncIterable<Packet> {
    const beyond = wanted.find(index => !(index >= 0 && index < this.frames))
    if (beyond !== undefined) throw new RangeError(`frame ${beyond} of ${this.frames}`)
    return dependentPackets(this, wanted)
  }

  /** The bytes of the coded picture at a position; of two fields, one after the other. */
  async read(position: number): Promise<Uint8Array> {
    const { first, last } = this.coded[position]!
    if (first === last) return this.input.read(first)
    return Buffer.concat([await this.input.read(first), await this.input.read(last)])
  }

  pictures(): PictureReader {
    return pictureReader(this.info)
  }

  close(): void {
    this.input.close()
  }
}
