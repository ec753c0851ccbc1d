/**
 * How NAL units lie in a packet: each behind its length (of so many bytes), or between start codes (Annex B).
 * ISO/IEC 14496-15; ITU-T H.264 and H.265, Annex B.
 */
export type NalFraming = 1 | 2 | 3 | 4 | 'startcodes'

const START_CODE = Buffer.from([0, 0, 1])

/** The framing that a decoder configuration means: `avcC` and `hvcC` begin with version 1; anything else is Annex B. */
export function framingOf(description: Uint8Array | undefined, lengthByte: number): NalFraming {
  if (description === undefined || description[0] !== 1 || description.length <= lengthByte)
    return 'startcodes'
  return ((description[lengthByte]! & 3) + 1) as NalFraming
}

/** Calls `visit` with the bounds of each NAL unit, in order, until it returns false or the packet ends. */
export function forEachNal(
  data: Uint8Array,
  framing: NalFraming,
  visit: (start: number, end: number) => boolean | undefined,
): void {
  if (framing === 'startcodes') forEachStartCode(data, visit)
  else forEachLength(data, framing, visit)
}

function forEachLength(
  data: Uint8Array,
  size: number,
  visit: (start: number, end: number) => boolean | undefined,
) {
  let at = 0
  while (at + size < data.length) {
    let length = 0
    for (let i = 0; i < size; i++) length = length * 256 + data[at + i]!
    const start = at + size
    const end = Math.min(start + length, data.length)
    if (end > start && visit(start, end) === false) return
    at = start + length
  }
}

function forEachStartCode(data: Uint8Array, visit: (start: number, end: number) => boolean | undefined) {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  let code = bytes.indexOf(START_CODE)
  while (code !== -1) {
    const start = code + 3
    code = bytes.indexOf(START_CODE, start)
    const end = code === -1 ? data.length : code
    if (end > start && visit(start, end) === false) return
  }
}

/** The first bytes of a NAL unit without its emulation prevention bytes: what its syntax elements are read from. */
export function rawBytes(data: Uint8Array, start: number, end: number, limit = 64): Uint8Array {
  const raw = new Uint8Array(Math.min(limit, end - start))
  let length = 0
  let zeros = 0
  for (let at = start; at < end && length < raw.length; at++) {
    const byte = data[at]!
    if (zeros >= 2 && byte === 3) {
      zeros = 0
      continue
    }
    zeros = byte === 0 ? zeros + 1 : 0
    raw[length++] = byte
  }
  return raw.subarray(0, length)
}

/** The NAL units of a packet that `wanted` picks, each behind a start code: decoder configuration as Annex B has it. */
export function collectNals(
  data: Uint8Array,
  framing: NalFraming,
  wanted: (header: number) => boolean,
): Uint8Array {
  const parts: Uint8Array[] = []
  forEachNal(data, framing, (start, end) => {
    if (wanted(data[start]!)) parts.push(Buffer.from([0, 0, 0, 1]), data.subarray(start, end))
    return undefined
  })
  return new Uint8Array(Buffer.concat(parts))
}
