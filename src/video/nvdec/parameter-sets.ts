import { h264Framing } from '../dependencies/h264.ts'
import { hevcFraming } from '../dependencies/hevc.ts'
import type { NalFraming } from '../dependencies/nal.ts'
import type { StreamInfo } from '../types.ts'

const NONE = new Uint8Array(0)
const START_CODE = [0, 0, 0, 1] as const

/** Reads length-prefixed NAL units; what is cut short ends there. */
class Units {
  readonly parts: Uint8Array[] = []

  constructor(
    private readonly data: Uint8Array,
    private at: number,
  ) {}

  u8(): number {
    return this.data[this.at++] ?? 0
  }

  u16(): number {
    return this.u8() * 256 + this.u8()
  }

  skip(bytes: number): void {
    this.at += bytes
  }

  /** Takes `count` units, each behind a length of 16 bits. */
  take(count: number): void {
    for (let i = 0; i < count && this.at < this.data.length; i++) {
      const length = this.u16()
      const unit = this.data.subarray(this.at, this.at + length)
      if (unit.length > 0) this.parts.push(Uint8Array.of(...START_CODE), unit)
      this.at += length
    }
  }

  get left(): number {
    return this.data.length - this.at
  }

  annexB(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.parts))
  }
}

const AVC_PROFILES_WITH_EXTENSION = [100, 110, 122, 144]

/** `avcC` (ISO/IEC 14496-15, 5.3.3.1): sequence parameter sets, picture parameter sets, perhaps sequence extensions. */
function fromAvcC(description: Uint8Array): Uint8Array {
  const units = new Units(description, 5)
  units.take(units.u8() & 31)
  units.take(units.u8())
  if (AVC_PROFILES_WITH_EXTENSION.includes(description[1]!) && units.left >= 4) {
    units.skip(3)
    units.take(units.u8())
  }
  return units.annexB()
}

/** `hvcC` (ISO/IEC 14496-15, 8.3.3.1): arrays of NAL units of one type each. */
function fromHvcC(description: Uint8Array): Uint8Array {
  const units = new Units(description, 22)
  for (let arrays = units.u8(); arrays > 0 && units.left > 0; arrays--) {
    units.skip(1)
    units.take(units.u16())
  }
  return units.annexB()
}

/** How a codec's packets become the elementary stream that nvcuvid parses. */
export interface ElementaryStream {
  /** How NAL units lie in a packet; undefined where packets are taken as they are. */
  framing: NalFraming | undefined
  /** What goes before the first packet. */
  prefix: Uint8Array
}

/**
 * The elementary stream of a container's stream: Annex B for H.264 and HEVC, with the parameter sets of the decoder
 * configuration in front. VP8 and VP9 frames and AV1's temporal units are what they are; AV1's configuration holds a
 * sequence header behind four bytes, that of MPEG-1, MPEG-2 and MPEG-4 is a sequence header.
 */
export function elementaryStream({ codec, description }: StreamInfo): ElementaryStream {
  const configuration = description ?? NONE
  switch (codec) {
    case 'h264': {
      const framing = h264Framing(description)
      return { framing, prefix: framing === 'startcodes' ? configuration : fromAvcC(configuration) }
    }
    case 'hevc': {
      const framing = hevcFraming(description)
      return { framing, prefix: framing === 'startcodes' ? configuration : fromHvcC(configuration) }
    }
    case 'av1':
      return { framing: undefined, prefix: configuration[0] === 0x81 ? configuration.subarray(4) : NONE }
    case 'mpeg1video':
    case 'mpeg2video':
    case 'mpeg4':
      return { framing: undefined, prefix: configuration }
    default:
      return { framing: undefined, prefix: NONE }
  }
}
