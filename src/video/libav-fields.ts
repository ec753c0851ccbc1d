import { configuredSequence, type Field, h264Framing, sequenceIn, singleField } from './dependencies/h264.ts'
import type { StreamInfo } from './types.ts'

/**
 * Joins the fields of a frame where each has a packet of its own (interlaced H.264 in transport and program streams),
 * so that a packet is a picture.
 */
export class FieldPairs {
  private readonly framing
  private sequence
  private open: Field | undefined

  constructor(info: StreamInfo) {
    this.framing = h264Framing(info.description)
    this.sequence = configuredSequence(info.description)
  }

  /** Whether the next packet in decode order is the second field of the one before. */
  continues(data: Uint8Array): boolean {
    this.sequence ??= sequenceIn(data, this.framing)
    if (!this.sequence || this.sequence.framesOnly) return false
    const field = singleField(data, this.framing, this.sequence)
    const pairs =
      this.open !== undefined && field?.bottom === !this.open.bottom && field.frameNum === this.open.frameNum
    this.open = pairs ? undefined : field
    return pairs
  }
}
