import type { StreamInfo } from '../types.ts'
import { forEachNal, framingOf, type NalFraming } from './nal.ts'
import { type PictureReader, picture } from './picture.ts'

// nal_unit_type, H.265 table 7-1.
const RASL_N = 8
const RASL_R = 9
const LAST_SUBLAYER_TYPE = 15
const FIRST_IRAP = 16
const LAST_IRAP = 23
const LAST_VCL = 31
const VPS = 32
const SPS = 33
const PPS = 34

export function hevcFraming(description: Uint8Array | undefined): NalFraming {
  return framingOf(description, 21)
}

/** Whether the header's first byte is of a parameter set. */
export function isHevcConfiguration(header: number): boolean {
  const type = (header >> 1) & 63
  return type >= VPS && type <= PPS
}

/** The highest TemporalId that the sequence parameter sets allow, or undefined without one. */
function highestSublayer(data: Uint8Array, framing: NalFraming): number | undefined {
  let highest: number | undefined
  forEachNal(data, framing, (start, end) => {
    if (((data[start]! >> 1) & 63) !== SPS || end < start + 3) return undefined
    // sps_video_parameter_set_id u(4), sps_max_sub_layers_minus1 u(3)
    highest = Math.max(highest ?? 0, (data[start + 2]! >> 1) & 7)
    return undefined
  })
  return highest
}

/** The same of `hvcC`, whose arrays of NAL units begin at byte 23 (ISO/IEC 14496-15, 8.3.3.1). */
function configuredSublayer(description: Uint8Array | undefined): number | undefined {
  if (description === undefined) return undefined
  if (hevcFraming(description) === 'startcodes') return highestSublayer(description, 'startcodes')
  let highest: number | undefined
  let at = 23
  for (let arrays = description[22] ?? 0; arrays > 0; arrays--) {
    let units = (description[at + 1] ?? 0) * 256 + (description[at + 2] ?? 0)
    at += 3
    for (; units > 0 && at < description.length; units--) {
      const length = (description[at] ?? 0) * 256 + (description[at + 1] ?? 0)
      const unit = description.subarray(at + 2, at + 2 + length)
      if (unit.length >= 3 && ((unit[0]! >> 1) & 63) === SPS) {
        highest = Math.max(highest ?? 0, (unit[2]! >> 1) & 7)
      }
      at += 2 + length
    }
  }
  return highest
}

/** Whether a picture is skipped where decoding starts at the keyframe before it: random access skipped leading. */
export function isSkippedLeading(data: Uint8Array, framing: NalFraming): boolean {
  let skipped = false
  forEachNal(data, framing, start => {
    const type = (data[start]! >> 1) & 63
    if (type > LAST_VCL) return undefined
    skipped = type === RASL_N || type === RASL_R
    return false
  })
  return skipped
}

/**
 * HEVC: a sub-layer non-reference picture (even type below 16) is referenced by no picture of its sub-layer (7.4.2.2);
 * only where no higher sub-layer exists is it referenced by none at all. Leading pictures are told by their timestamps.
 */
export function hevcReader(info: StreamInfo): PictureReader {
  const framing = hevcFraming(info.description)
  let highest = configuredSublayer(info.description)
  return data => {
    let known = false
    let reference = false
    let entry = false
    forEachNal(data, framing, (start, end) => {
      if (end < start + 2) return undefined
      const type = (data[start]! >> 1) & 63
      const layer = ((data[start]! & 1) << 5) | (data[start + 1]! >> 3)
      if (layer !== 0) return undefined
      if (type >= VPS && type <= PPS) {
        reference = true
        if (type === SPS && end >= start + 3) highest = Math.max(highest ?? 0, (data[start + 2]! >> 1) & 7)
      }
      if (type > LAST_VCL) return undefined
      known = true
      const temporalId = (data[start + 1]! & 7) - 1
      const unused =
        type < LAST_SUBLAYER_TYPE && type % 2 === 0 && highest !== undefined && temporalId >= highest
      if (!unused) reference = true
      entry = type >= FIRST_IRAP && type <= LAST_IRAP
      return false
    })
    return known ? picture({ reference, entry }) : picture({ entry: false })
  }
}
