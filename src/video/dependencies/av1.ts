import type { StreamInfo } from '../types.ts'
import { BitReader } from './bits.ts'
import { type PictureReader, picture } from './picture.ts'

// obu_type, AV1 6.2.2.
const SEQUENCE_HEADER = 1
const FRAME_HEADER = 3
const FRAME = 6

const KEY_FRAME = 0
const INTRA_ONLY_FRAME = 2
const SWITCH_FRAME = 3
const SELECT = 2
const ALL_SLOTS = 0xff

/** What of a sequence header is needed to read frame headers up to refresh_frame_flags (AV1, 5.5). */
interface Sequence {
  reduced: boolean
  equalPictureInterval: boolean
  decoderModel: { removalTimeBits: number; presentationTimeBits: number } | undefined
  operatingPoints: { idc: number; decoderModel: boolean }[]
  frameIdBits: number
  orderHintBits: number
  screenContentTools: number
  integerMv: number
}

function parseSequence(data: Uint8Array): Sequence | undefined {
  const bits = new BitReader(data)
  bits.skip(4)
  const reduced = bits.flag()
  const sequence: Sequence = {
    reduced,
    equalPictureInterval: false,
    decoderModel: undefined,
    operatingPoints: [{ idc: 0, decoderModel: false }],
    frameIdBits: 0,
    orderHintBits: 0,
    screenContentTools: SELECT,
    integerMv: SELECT,
  }
  if (reduced) bits.skip(5)
  else parseOperatingPoints(bits, sequence)
  const widthBits = bits.u(4) + 1
  const heightBits = bits.u(4) + 1
  bits.skip(widthBits + heightBits)
  if (!reduced && bits.flag()) {
    const deltaBits = bits.u(4) + 2
    sequence.frameIdBits = bits.u(3) + deltaBits + 1
  }
  bits.skip(3)
  if (!reduced) parseTools(bits, sequence)
  return bits.exhausted ? undefined : sequence
}

function parseOperatingPoints(bits: BitReader, sequence: Sequence): void {
  let delayBits = 0
  if (bits.flag()) {
    bits.skip(64)
    sequence.equalPictureInterval = bits.flag()
    if (sequence.equalPictureInterval) bits.ue()
    if (bits.flag()) {
      delayBits = bits.u(5) + 1
      bits.skip(32)
      sequence.decoderModel = { removalTimeBits: bits.u(5) + 1, presentationTimeBits: bits.u(5) + 1 }
    }
  }
  const displayDelays = bits.flag()
  const count = bits.u(5) + 1
  sequence.operatingPoints = []
  for (let i = 0; i < count; i++) {
    const idc = bits.u(12)
    if (bits.u(5) > 7) bits.skip(1)
    const decoderModel = sequence.decoderModel !== undefined && bits.flag()
    if (decoderModel) bits.skip(2 * delayBits + 1)
    if (displayDelays && bits.flag()) bits.skip(4)
    sequence.operatingPoints.push({ idc, decoderModel })
  }
}

function parseTools(bits: BitReader, sequence: Sequence): void {
  bits.skip(4)
  const orderHints = bits.flag()
  if (orderHints) bits.skip(2)
  sequence.screenContentTools = bits.flag() ? SELECT : bits.u(1)
  if (sequence.screenContentTools > 0) sequence.integerMv = bits.flag() ? SELECT : bits.u(1)
  if (orderHints) sequence.orderHintBits = bits.u(3) + 1
}

/** A frame header's fields that say who depends on it (AV1, 5.9.2). */
interface FrameHeader {
  /** Slot whose frame is only shown, instead of a new frame. */
  existing?: number
  type: number
  shown: boolean
  refresh: number
}

function parseFrame(
  data: Uint8Array,
  sequence: Sequence,
  temporalId: number,
  spatialId: number,
): FrameHeader | undefined {
  if (sequence.reduced) return { type: KEY_FRAME, shown: true, refresh: ALL_SLOTS }
  const bits = new BitReader(data)
  if (bits.flag()) return { existing: bits.u(3), type: -1, shown: true, refresh: 0 }
  const type = bits.u(2)
  const shown = bits.flag()
  const model = sequence.decoderModel
  if (shown && model && !sequence.equalPictureInterval) bits.skip(model.presentationTimeBits)
  if (!shown) bits.skip(1)
  const shownKey = type === KEY_FRAME && shown
  const resilient = type === SWITCH_FRAME || shownKey || bits.flag()
  bits.skip(1)
  const screenContent =
    sequence.screenContentTools === SELECT ? bits.flag() : sequence.screenContentTools === 1
  if (screenContent && sequence.integerMv === SELECT) bits.skip(1)
  bits.skip(sequence.frameIdBits)
  if (type !== SWITCH_FRAME) bits.skip(1)
  bits.skip(sequence.orderHintBits)
  if (!resilient && type !== KEY_FRAME && type !== INTRA_ONLY_FRAME) bits.skip(3)
  if (model && bits.flag()) {
    for (const point of sequence.operatingPoints) {
      const inside = (point.idc >> temporalId) & (point.idc >> (spatialId + 8)) & 1
      if (point.decoderModel && (point.idc === 0 || inside === 1)) bits.skip(model.removalTimeBits)
    }
  }
  const refresh = type === SWITCH_FRAME || shownKey ? ALL_SLOTS : bits.u(8)
  return bits.exhausted ? undefined : { type, shown, refresh }
}

/** Calls `visit` with each OBU's type, its payload, and its layer (AV1, 5.3). */
function forEachObu(
  data: Uint8Array,
  visit: (type: number, payload: Uint8Array, temporalId: number, spatialId: number) => void,
): void {
  let at = 0
  while (at < data.length) {
    const header = data[at++]!
    const layer = header & 4 ? (data[at++] ?? 0) : 0
    let size = data.length - at
    if (header & 2) {
      size = 0
      for (let i = 0; i < 8; i++) {
        const byte = data[at++] ?? 0
        size += (byte & 0x7f) * 2 ** (7 * i)
        if (byte < 0x80) break
      }
    }
    visit((header >> 3) & 15, data.subarray(at, at + size), layer >> 5, (layer >> 3) & 3)
    at += size
  }
}

/**
 * AV1: all that passes from frame to frame passes through the slots, so a temporal unit whose frames all have
 * refresh_frame_flags 0 is referenced by none. Showing a frame again changes nothing either, except for a key frame
 * that had been held back, which then fills all slots (7.21).
 */
export function av1Reader(info: StreamInfo): PictureReader {
  let sequence: Sequence | undefined
  let heldKeys = 0
  const readSequence = (type: number, payload: Uint8Array) => {
    if (type === SEQUENCE_HEADER) sequence = parseSequence(payload) ?? sequence
  }
  // av1C has four bytes, then OBUs.
  if (info.description && info.description[0] === 0x81) forEachObu(info.description.subarray(4), readSequence)
  return data => {
    let known = true
    let reference = false
    let entry: boolean | undefined
    forEachObu(data, (type, payload, temporalId, spatialId) => {
      readSequence(type, payload)
      if (type !== FRAME && type !== FRAME_HEADER) return
      const frame = sequence && parseFrame(payload, sequence, temporalId, spatialId)
      if (frame === undefined) {
        known = false
        return
      }
      entry ??= frame.type === KEY_FRAME && frame.shown
      if (frame.existing !== undefined) {
        if ((heldKeys >> frame.existing) & 1) {
          reference = true
          heldKeys = 0
        }
        return
      }
      if (frame.refresh !== 0) reference = true
      if (frame.type === KEY_FRAME && !frame.shown) heldKeys |= frame.refresh
      else heldKeys &= ~frame.refresh
    })
    if (!known || entry === undefined) return picture({ entry: false })
    return picture({ reference, entry, closed: entry })
  }
}
