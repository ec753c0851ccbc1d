import type { StreamInfo } from '../types.ts'
import { BitReader } from './bits.ts'
import { forEachNal, framingOf, type NalFraming, rawBytes } from './nal.ts'
import { type PictureReader, picture } from './picture.ts'

// nal_unit_type, H.264 table 7-1.
const SLICE = 1
const PARTITION_A = 2
const IDR_SLICE = 5
const SEI = 6
const SPS = 7
const PPS = 8

const PROFILES_WITH_CHROMA = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135]

/** What of a sequence parameter set matters here (H.264, 7.3.2.1.1). */
export interface H264Sequence {
  /** Every picture is a frame: no fields. */
  readonly framesOnly: boolean
  readonly separatePlanes: boolean
  readonly frameNumBits: number
  /** Of the luma, after the sequence's own cropping. */
  readonly width: number
  readonly height: number
  /** Whether it is cropped at the left or at the top. */
  readonly offset: boolean
  /** matrix_coefficients, and whether samples use their full range, where it says so. */
  readonly matrix?: number
  readonly fullRange?: boolean
}

/** Parses a sequence parameter set. @returns undefined if it ends early. */
export function parseSequence(data: Uint8Array, start: number, end: number): H264Sequence | undefined {
  const bits = new BitReader(rawBytes(data, start, end, 512), 1)
  const profile = bits.u(8)
  bits.skip(16)
  bits.ue()
  let chroma = 1
  let separatePlanes = false
  if (PROFILES_WITH_CHROMA.includes(profile)) {
    chroma = bits.ue()
    if (chroma === 3) separatePlanes = bits.flag()
    bits.ue()
    bits.ue()
    bits.skip(1)
    if (bits.flag()) for (let i = 0; i < (chroma === 3 ? 12 : 8); i++) skipScalingList(bits, i < 6 ? 16 : 64)
  }
  const frameNumBits = bits.ue() + 4
  const orderType = bits.ue()
  if (orderType === 0) bits.ue()
  else if (orderType === 1) {
    bits.skip(1)
    bits.se()
    bits.se()
    for (let n = Math.min(bits.ue(), 255); n > 0; n--) bits.se()
  }
  bits.ue()
  bits.skip(1)
  const widthInMacroblocks = bits.ue() + 1
  const heightInMapUnits = bits.ue() + 1
  const framesOnly = bits.flag()
  if (!framesOnly) bits.skip(1)
  bits.skip(1)
  let [left, right, top, bottom] = [0, 0, 0, 0]
  if (bits.flag()) [left, right, top, bottom] = [bits.ue(), bits.ue(), bits.ue(), bits.ue()]
  if (bits.exhausted) return undefined
  const planar = separatePlanes || chroma === 0
  const unitX = planar || chroma === 3 ? 1 : 2
  const unitY = (planar || chroma !== 1 ? 1 : 2) * (framesOnly ? 1 : 2)
  return {
    framesOnly,
    separatePlanes,
    frameNumBits,
    width: widthInMacroblocks * 16 - unitX * (left + right),
    height: heightInMapUnits * (framesOnly ? 16 : 32) - unitY * (top + bottom),
    offset: left > 0 || top > 0,
    ...signalType(bits),
  }
}

const EXTENDED_SAR = 255

/** What video usability information says of colour (E.1.1); nothing if it ends early. */
function signalType(bits: BitReader): Pick<H264Sequence, 'matrix' | 'fullRange'> {
  if (!bits.flag()) return {}
  if (bits.flag() && bits.u(8) === EXTENDED_SAR) bits.skip(32)
  if (bits.flag()) bits.skip(1)
  if (!bits.flag()) return {}
  bits.skip(3)
  const fullRange = bits.flag()
  const described = bits.flag()
  if (described) bits.skip(16)
  const matrix = described ? bits.u(8) : undefined
  if (bits.exhausted) return {}
  return matrix === undefined ? { fullRange } : { matrix, fullRange }
}

function skipScalingList(bits: BitReader, size: number): void {
  if (!bits.flag()) return
  let last = 8
  let next = 8
  for (let i = 0; i < size && next !== 0; i++) {
    next = (last + bits.se() + 256) & 255
    if (next !== 0) last = next
  }
}

/** The bytes before the NAL units' length in `avcC` are five; its low two bits are the length's size less one. */
export function h264Framing(description: Uint8Array | undefined): NalFraming {
  return framingOf(description, 4)
}

/** The first sequence parameter set of a decoder configuration (`avcC` or Annex B). */
export function configuredSequence(description: Uint8Array | undefined): H264Sequence | undefined {
  if (description === undefined) return undefined
  if (h264Framing(description) === 'startcodes') return sequenceIn(description, 'startcodes')
  const length = (description[6] ?? 0) * 256 + (description[7] ?? 0)
  return (description[5] ?? 0) & 31 ? parseSequence(description, 8, 8 + length) : undefined
}

/** The first sequence parameter set in a packet. */
export function sequenceIn(data: Uint8Array, framing: NalFraming): H264Sequence | undefined {
  let found: H264Sequence | undefined
  forEachNal(data, framing, (start, end) => {
    if ((data[start]! & 31) !== SPS) return undefined
    found = parseSequence(data, start, end)
    return false
  })
  return found
}

const HIGH_444_PREDICTIVE = 244
/** First bytes of an SEI unit (any nal_ref_idc) whose message is user data that is not registered (D.1.7). */
const USER_DATA_UNREGISTERED = 5

/**
 * What a decoder must have seen of a stream's first packet to decode from a later one: x264 names its version there,
 * once, and versions before 151 coded 4:4:4 in a way of their own, which libavcodec follows where it knows of them.
 * @returns NAL units in the stream's framing, to stand before another packet's; empty for most streams
 */
export function encoderVersion({ codec, description }: StreamInfo, first: Uint8Array): Uint8Array {
  const framing = h264Framing(description)
  const none: Uint8Array = new Uint8Array(0)
  if (codec !== 'h264' || framing === 'startcodes' || description?.[1] !== HIGH_444_PREDICTIVE) return none
  let found = none
  forEachNal(first, framing, (start, end) => {
    if ((first[start]! & 31) !== SEI || first[start + 1] !== USER_DATA_UNREGISTERED) return undefined
    found = first.subarray(start - framing, end)
    return false
  })
  return found
}

/** Whether the header byte is of a parameter set that a decoder must have seen before the first slice. */
export function isH264Configuration(header: number): boolean {
  const type = header & 31
  return type === SPS || type === PPS
}

/** Which field of a frame a packet holds, if it holds just one; `frame_num` tells fields of one frame. */
export interface Field {
  readonly bottom: boolean
  readonly frameNum: number
}

/**
 * Which packets hold a picture together: in some containers each field of a frame has a packet of its own.
 *
 * @param field the single field that the packet at a position holds, if it does.
 * @returns for each of `count` packets whether it is the second field of the one before.
 */
export async function secondFields(
  count: number,
  field: (position: number) => Promise<Field | undefined>,
): Promise<boolean[]> {
  const second: boolean[] = []
  let open: Field | undefined
  for (let position = 0; position < count; position++) {
    const next = await field(position)
    const pairs = open !== undefined && next?.bottom === !open.bottom && next.frameNum === open.frameNum
    second.push(pairs)
    open = pairs ? undefined : next
  }
  return second
}

/** The single field in a packet, or undefined where it holds a frame, or both fields. */
export function singleField(
  data: Uint8Array,
  framing: NalFraming,
  sequence: H264Sequence,
): Field | undefined {
  let field: Field | undefined
  let whole = false
  forEachNal(data, framing, (start, end) => {
    const type = data[start]! & 31
    if (type !== SLICE && type !== PARTITION_A && type !== IDR_SLICE) return undefined
    const bits = new BitReader(rawBytes(data, start, end, 24), 1)
    bits.ue()
    bits.ue()
    bits.ue()
    if (sequence.separatePlanes) bits.skip(2)
    const frameNum = bits.u(sequence.frameNumBits)
    const isField = bits.flag()
    const bottom = isField && bits.flag()
    whole = !isField || (field !== undefined && field.bottom !== bottom)
    field = { bottom, frameNum }
    return whole ? false : undefined
  })
  return whole ? undefined : field
}

/**
 * H.264: a picture whose slices have nal_ref_idc 0 is no reference (7.4.1). Decoding can start at an IDR picture, and
 * at one of intra slices that the container calls a keyframe; not at the P slices of a gradual refresh.
 */
export function h264Reader(info: StreamInfo): PictureReader {
  const framing = h264Framing(info.description)
  const oneField = configuredSequence(info.description)?.framesOnly ?? false
  return data => {
    let slices = 0
    let idr = false
    let intra = true
    let reference = false
    forEachNal(data, framing, (start, end) => {
      const header = data[start]!
      const type = header & 31
      if (type === SPS || type === PPS) reference = true
      if (type !== SLICE && type !== PARTITION_A && type !== IDR_SLICE) return undefined
      slices++
      if (type === IDR_SLICE) idr = true
      if (((header >> 5) & 3) !== 0) reference = true
      if (idr) return false
      // Slices of one picture agree on being a reference, but only intra ones can be an entry.
      if (intra) intra = isIntraSlice(data, start, end)
      return oneField && !intra ? false : undefined
    })
    if (slices === 0) return NO_PICTURE
    return PICTURES[(reference ? 1 : 0) + (idr ? 2 : 0) + (idr || intra ? 4 : 0)]!
  }
}

const NO_PICTURE = picture({ entry: false })
/** All that there are, by `reference`, `closed` and `entry`. */
const PICTURES = Array.from({ length: 8 }, (_, bits) =>
  picture({ reference: (bits & 1) !== 0, closed: (bits & 2) !== 0, entry: (bits & 4) !== 0 }),
)

const isIntraType = (type: number): boolean => type % 5 === 2 || type % 5 === 4

/** 1 where seven bits begin with the code of an intra slice type: these are 0 to 9, in at most seven bits. */
const INTRA_AFTER_ONE = Uint8Array.from({ length: 128 }, (_, bits) =>
  isIntraType(new BitReader(Uint8Array.of(bits * 2, 0)).ue()) ? 1 : 0,
)

function isIntraSlice(data: Uint8Array, start: number, end: number): boolean {
  // Of a picture's first slice, first_mb_in_slice is one bit, and slice_type lies in the same byte.
  const first = data[start + 1]!
  if (end > start + 1 && (first & 0x80) !== 0) return INTRA_AFTER_ONE[first & 0x7f] === 1
  const bits = new BitReader(rawBytes(data, start, end, 16), 1)
  bits.ue()
  return isIntraType(bits.ue())
}
