import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { av1Reader } from '../../src/video/dependencies/av1.ts'
import { BitReader } from '../../src/video/dependencies/bits.ts'
import { h264Reader, parseSequence } from '../../src/video/dependencies/h264.ts'
import { hevcReader } from '../../src/video/dependencies/hevc.ts'
import { forEachNal, framingOf, rawBytes } from '../../src/video/dependencies/nal.ts'
import { pictureReader } from '../../src/video/dependencies/reader.ts'
import { vp8Reader, vp9Reader } from '../../src/video/dependencies/vpx.ts'
import type { StreamInfo } from '../../src/video/types.ts'

const info = (codec: string, description?: number[]): StreamInfo => ({
  codec,
  description: description && Uint8Array.from(description),
  width: 16,
  height: 16,
  rotation: 0,
  colour: {},
})

/** Bytes of a string of bits; blanks are ignored, the last byte is filled with zeros. */
function bits(text: string): number[] {
  const digits = text.replaceAll(/[^01]/g, '')
  const bytes: number[] = []
  for (let i = 0; i < digits.length; i += 8)
    bytes.push(Number.parseInt(digits.slice(i, i + 8).padEnd(8, '0'), 2))
  return bytes
}

const annexB = (...units: number[][]) => Uint8Array.from(units.flatMap(unit => [0, 0, 1, ...unit]))

function nals(data: Uint8Array, framing: 1 | 2 | 4 | 'startcodes'): number[][] {
  const found: number[][] = []
  forEachNal(data, framing, (start, end) => {
    found.push([...data.subarray(start, end)])
    return undefined
  })
  return found
}

test('bits are read most significant first; past the end there are zeros', () => {
  const reader = new BitReader(Uint8Array.of(0b1010_0110, 0b0001_1111))
  expect([reader.u(3), reader.flag(), reader.ue(), reader.se()]).toEqual([5, false, 2, -15])
  const end = new BitReader(Uint8Array.of(0xff))
  expect(end.u(12)).toBe(0xff0)
  expect(end.exhausted).toBe(true)
})

test('Exp-Golomb codes are those of the standard’s table', () => {
  // H.264, table 9-2 and 9-3: codeNum 0..8 and the signed values that they stand for.
  const codes = '1 010 011 00100 00101 00110 00111 0001000 0001001'
  const unsigned = new BitReader(Uint8Array.from(bits(codes)))
  expect(Array.from({ length: 9 }, () => unsigned.ue())).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
  const signed = new BitReader(Uint8Array.from(bits(codes)))
  expect(Array.from({ length: 9 }, () => signed.se() + 0)).toEqual([0, 1, -1, 2, -2, 3, -3, 4, -4])
})

describe('NAL units', () => {
  test('behind lengths', () => {
    expect(nals(Uint8Array.of(0, 2, 7, 8, 0, 1, 9), 2)).toEqual([[7, 8], [9]])
    expect(nals(Uint8Array.of(0, 0, 0, 9, 7, 8), 4)).toEqual([[7, 8]])
    expect(nals(Uint8Array.of(0, 1, 5), 1)).toEqual([[5]])
  })
  test('behind start codes of three and four bytes', () => {
    expect(nals(Uint8Array.of(0, 0, 0, 1, 7, 8, 0, 0, 1, 9), 'startcodes')).toEqual([[7, 8], [9]])
  })
  test('the configuration says how', () => {
    expect(framingOf(undefined, 4)).toBe('startcodes')
    expect(framingOf(Uint8Array.of(0, 0, 0, 1, 0x67), 4)).toBe('startcodes')
    expect(framingOf(Uint8Array.of(1, 0, 0, 0, 0xff, 0), 4)).toBe(4)
    expect(framingOf(Uint8Array.of(1, 0, 0, 0, 0xfd, 0), 4)).toBe(2)
  })
  test('emulation prevention bytes are taken out', () => {
    expect([...rawBytes(Uint8Array.of(0, 0, 3, 1, 0, 0, 3, 0, 0, 3), 0, 10)]).toEqual([0, 0, 1, 0, 0, 0, 0])
  })
  test('any bytes end', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 64 }),
        fc.constantFrom(1, 2, 4, 'startcodes'),
        (data, framing) => {
          const total = nals(data, framing as 1).reduce((sum, unit) => sum + unit.length, 0)
          expect(total).toBeLessThanOrEqual(data.length)
        },
      ),
    )
  })
})

describe('H.264', () => {
  // first_mb_in_slice 0, slice_type P (0) or I (7) or B (6)
  const P = bits('1 1 0000')
  const I = bits('1 0001000')
  const B = bits('1 00111')
  const read = (...units: number[][]) => h264Reader(info('h264'))(annexB(...units))

  test('nal_ref_idc says what is referred to', () => {
    expect(read([0x41, ...P]).reference).toBe(true)
    expect(read([0x21, ...P]).reference).toBe(true)
    expect(read([0x01, ...B]).reference).toBe(false)
  })
  test('the second field may be the reference', () => {
    expect(read([0x01, ...P], [0x41, ...P]).reference).toBe(true)
  })
  test('parameter sets are kept with the picture that brings them', () => {
    expect(read([0x68, 0xce], [0x01, ...B]).reference).toBe(true)
  })
  test('an IDR picture starts afresh; a recovery point of intra slices is an entry, others are none', () => {
    expect(read([0x67, 77], [0x65, ...I])).toMatchObject({ entry: true, closed: true, reference: true })
    expect(read([0x41, ...I], [0x41, ...I])).toMatchObject({ entry: true, closed: false })
    expect(read([0x41, ...I], [0x41, ...P])).toMatchObject({ entry: false, closed: false })
    expect(read([0x41, ...P])).toMatchObject({ entry: false })
  })
  test('a packet without a picture is kept', () => {
    expect(read([0x06, 5])).toMatchObject({ reference: true, entry: false })
  })
  test('lengths of the configuration’s size', () => {
    const reader = h264Reader(info('h264', [1, 77, 0, 10, 0xfd, 0xe0, 0]))
    expect(reader(Uint8Array.of(0, 2, 0x01, P[0]!)).reference).toBe(false)
    expect(reader(Uint8Array.of(0, 1, 0x09, 0, 2, 0x41, P[0]!)).reference).toBe(true)
  })
  test('size and fields are those of the sequence parameter set', () => {
    // 320x180 in 20x12 macroblocks, cropped by 12 lines at the bottom, frames only.
    const ue = (n: number) => {
      const code = (n + 1).toString(2)
      return '0'.repeat(code.length - 1) + code
    }
    const crop = `1${ue(0)}${ue(0)}${ue(0)}${ue(6)}`
    const unit = [
      0x67,
      66,
      0,
      30,
      ...bits(`${ue(0)}${ue(2)}${ue(2)}${ue(1)}0${ue(19)}${ue(11)}1 1${crop}0 1`),
    ]
    expect(parseSequence(Uint8Array.from(unit), 0, unit.length)).toEqual({
      framesOnly: true,
      separatePlanes: false,
      frameNumBits: 6,
      width: 320,
      height: 180,
      offset: false,
    })
    expect(parseSequence(Uint8Array.from(unit), 0, 6)).toBeUndefined()
  })
})

describe('HEVC', () => {
  /** Header of a NAL unit: type, TemporalId. */
  const header = (type: number, temporalId = 0, layer = 0) => [type << 1, (layer << 3) | (temporalId + 1)]
  const sps = (subLayers: number) => [...header(33), (subLayers - 1) << 1, 0]
  const reader = (subLayers: number) => hevcReader(info('hevc', [...annexB(sps(subLayers))]))
  const read = (subLayers: number, ...units: number[][]) => reader(subLayers)(annexB(...units))

  test('a sub-layer non-reference picture of the highest sub-layer is not referred to', () => {
    expect(read(1, [...header(0), 0]).reference).toBe(false)
    expect(read(1, [...header(1), 0]).reference).toBe(true)
    expect(read(1, [...header(8), 0]).reference).toBe(false)
    expect(read(3, [...header(0, 2), 0]).reference).toBe(false)
    expect(read(3, [...header(0, 1), 0]).reference).toBe(true)
  })
  test('without a sequence parameter set all is kept', () => {
    expect(hevcReader(info('hevc'))(annexB([...header(0), 0])).reference).toBe(true)
  })
  test('IDR, BLA and CRA pictures are entries', () => {
    for (const type of [16, 19, 20, 21]) expect(read(1, [...header(type), 0])).toMatchObject({ entry: true })
    expect(read(1, [...header(1), 0])).toMatchObject({ entry: false })
  })
  test('other layers don’t count', () => {
    expect(read(1, [...header(1, 0, 1), 0], [...header(0), 0]).reference).toBe(false)
  })
})

describe('VP8 and VP9', () => {
  test('VP8: key frames and show_frame', () => {
    const read = vp8Reader()
    expect(read(Uint8Array.of(0b10000))).toMatchObject({ entry: true, shown: true, reference: true })
    expect(read(Uint8Array.of(0b00001))).toMatchObject({ entry: false, shown: false })
  })
  /** frame_marker, profile 0, show_existing_frame 0, frame_type, show_frame, error_resilient_mode, the rest. */
  const frame = (type: 'key' | 'inter', shown: 0 | 1, resilient: 0 | 1, refresh: number) => {
    const rest =
      type === 'key'
        ? ''
        : `${shown ? '' : '0'}${resilient ? '' : '00'}${refresh.toString(2).padStart(8, '0')}`
    return [...bits(`10 0 0 0 ${type === 'key' ? 0 : 1} ${shown} ${resilient} ${rest}`), 1, 2, 3]
  }
  const read = (data: number[]) => vp9Reader()(Uint8Array.from(data))
  const superframe = (...frames: number[][]) => {
    const marker = 0b11000000 | (frames.length - 1)
    return [...frames.flat(), marker, ...frames.map(f => f.length), marker]
  }
  test('VP9: an error resilient frame that refreshes nothing is not referred to', () => {
    expect(read(frame('inter', 1, 1, 0))).toMatchObject({ reference: false, lingers: true, fresh: true })
    expect(read(frame('inter', 1, 1, 4))).toMatchObject({ reference: true, fresh: true })
    expect(read(frame('inter', 1, 0, 0))).toMatchObject({ reference: true, fresh: false })
    expect(read(frame('key', 1, 0, 0))).toMatchObject({ reference: true, entry: true, closed: true })
  })
  test('VP9: a frame shown again is kept', () => {
    expect(read(bits('10 0 0 1 011'))).toMatchObject({ reference: true, entry: false, shown: true })
  })
  test('VP9: a superframe is shown if one of its frames is', () => {
    expect(read(superframe(frame('inter', 0, 0, 2), frame('inter', 1, 1, 0)))).toMatchObject({
      reference: true,
      shown: true,
      fresh: false,
    })
    expect(read(frame('inter', 0, 0, 2)).shown).toBe(false)
  })
})

describe('AV1', () => {
  /** An OBU with its size. */
  const obu = (type: number, payload: number[]) => [(type << 3) | 2, payload.length, ...payload]
  // seq_profile 0, not still, no timing info, no display delay, one operating point of level 0; 8+8 bits of size; no
  // frame ids; no tools but order hints of 7 bits; screen content tools and integer motion vectors as frames choose.
  const sequence = obu(
    1,
    bits(
      '000 0 0 0 0 00000 000000000000 00000 0111 0111 00001111 00001111 0 000 0 0 0 0 1 0 0 1 1 110 000000000000000',
    ),
  )
  /** show_existing_frame 0, type, show_frame, the rest up to refresh_frame_flags, of an inter frame. */
  const inter = (refresh: number) =>
    obu(6, bits(`0 01 1 0 0 0 0 0000001 000 ${refresh.toString(2).padStart(8, '0')} 0000`))
  const key = obu(6, bits('0 00 1 0 0 0 0000000 0000'))
  const hiddenKey = (refresh: number) =>
    obu(6, bits(`0 00 0 1 0 0 0 0 0000000 ${refresh.toString(2).padStart(8, '0')} 0000`))
  const showExisting = (slot: number) => obu(3, bits(`1 ${slot.toString(2).padStart(3, '0')} 0000`))

  test('refresh_frame_flags say what is referred to', () => {
    const read = av1Reader(info('av1'))
    expect(read(Uint8Array.from([...sequence, ...key]))).toMatchObject({
      entry: true,
      closed: true,
      reference: true,
    })
    expect(read(Uint8Array.from(inter(0)))).toMatchObject({ entry: false, reference: false })
    expect(read(Uint8Array.from(inter(0x20)))).toMatchObject({ reference: true })
    expect(read(Uint8Array.from([...inter(0x20), ...inter(0)]))).toMatchObject({ reference: true })
  })
  test('a frame shown again is not, unless it is a key frame that was held back', () => {
    const read = av1Reader(info('av1'))
    read(Uint8Array.from([...sequence, ...key]))
    expect(read(Uint8Array.from(showExisting(2)))).toMatchObject({ reference: false })
    expect(read(Uint8Array.from([...hiddenKey(0b100), ...inter(0)]))).toMatchObject({
      entry: false,
      reference: true,
    })
    expect(read(Uint8Array.from(showExisting(3)))).toMatchObject({ reference: false })
    expect(read(Uint8Array.from(showExisting(2)))).toMatchObject({ reference: true })
  })
  test('without a sequence header all is kept', () => {
    expect(av1Reader(info('av1'))(Uint8Array.from(inter(0)))).toMatchObject({ reference: true, entry: false })
  })
})

test('no bytes make a reader throw', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('h264', 'hevc', 'vp8', 'vp9', 'av1', 'theora'),
      fc.option(fc.array(fc.nat(255), { maxLength: 40 }), { nil: undefined }),
      fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 5 }),
      (codec, description, packets) => {
        const read = pictureReader(info(codec, description))
        for (const packet of packets) expect(typeof read(packet).reference).toBe('boolean')
      },
    ),
    { numRuns: 2000, seed: 4 },
  )
})
