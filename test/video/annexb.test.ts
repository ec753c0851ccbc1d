import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { forEachNal } from '../../src/video/dependencies/nal.ts'
import { ElementaryStreamWriter, PacketRoom } from '../../src/video/nvdec/annex-b.ts'
import { openVideo } from '../../src/video/open.ts'
import type { StreamInfo } from '../../src/video/types.ts'
import { haveVideos, md5Of, range, videosFolder } from './demux-shared.ts'

const info = (codec: string, description?: Uint8Array): StreamInfo => ({
  codec,
  description,
  width: 16,
  height: 16,
  rotation: 0,
  colour: {},
})

/** NAL units between start codes, without zeros at their ends, which belong to what follows. */
function unitsOf(annexB: Uint8Array): string[] {
  const units: string[] = []
  forEachNal(annexB, 'startcodes', (start, end) => {
    let last = end
    while (last > start && annexB[last - 1] === 0) last--
    units.push(Buffer.from(annexB.subarray(start, last)).toString('hex'))
    return undefined
  })
  return units
}

const avcC = (lengthSize: number, sps: Uint8Array[], pps: Uint8Array[]) =>
  Uint8Array.from([
    1,
    66,
    0,
    30,
    0xfc | (lengthSize - 1),
    0xe0 | sps.length,
    ...sps.flatMap(unit => [unit.length >> 8, unit.length & 255, ...unit]),
    pps.length,
    ...pps.flatMap(unit => [unit.length >> 8, unit.length & 255, ...unit]),
  ])

const hvcC = (lengthSize: number, arrays: Uint8Array[][]) => {
  const head = new Uint8Array(23)
  head[0] = 1
  head[21] = 0xf8 | (lengthSize - 1)
  head[22] = arrays.length
  const body = arrays.flatMap((units, type) => [
    0x80 | (32 + type),
    units.length >> 8,
    units.length & 255,
    ...units.flatMap(unit => [unit.length >> 8, unit.length & 255, ...unit]),
  ])
  return Uint8Array.from([...head, ...body])
}

const prefixed = (lengthSize: number, units: Uint8Array[]) =>
  Uint8Array.from(
    units.flatMap(unit => [
      ...range(0, lengthSize).map(i => Math.floor(unit.length / 256 ** (lengthSize - 1 - i)) & 255),
      ...unit,
    ]),
  )

/** NAL units as they may be: never three bytes that look like a start code, nor a zero at the end. */
const unit = (longest: number) =>
  fc
    .array(fc.integer({ min: 1, max: 255 }), { minLength: 1, maxLength: longest })
    .map(bytes => Uint8Array.from(bytes))
const units = (longest = 300) => fc.array(unit(longest), { maxLength: 8 })
const hex = (list: Uint8Array[]) => list.map(bytes => Buffer.from(bytes).toString('hex'))

describe('H.264 and HEVC in Annex B', () => {
  test('any packet of any length size: its units, behind the parameter sets once', () => {
    const sizes = fc.constantFrom(1, 2, 3, 4)
    fc.assert(
      fc.property(
        sizes,
        units(40),
        units(40),
        fc.array(units(255), { maxLength: 4 }),
        (size, sps, pps, packets) => {
          for (const [codec, description] of [
            ['h264', avcC(size, sps, pps)],
            ['hevc', hvcC(size, [sps, pps])],
          ] as const) {
            const writer = new ElementaryStreamWriter(info(codec, description))
            packets.forEach((packet, i) => {
              const written = writer.write(prefixed(size, packet), i === 0)
              expect(unitsOf(written)).toEqual(hex(i === 0 ? [...sps, ...pps, ...packet] : packet))
              expect(writer.truncated).toBe(false)
            })
          }
        },
      ),
    )
  })

  test('a packet that is cut short anywhere: what is there of it, and that it is cut', () => {
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 3, 4), unit(200), unit(200), fc.nat(), (size, first, second, at) => {
        const whole = prefixed(size, [first, second])
        const cut = whole.subarray(0, at % whole.length)
        const writer = new ElementaryStreamWriter(info('h264', avcC(size, [], [])))
        const joined = unitsOf(writer.write(cut, true)).join('')
        expect(`${hex([first])}${hex([second])}`.startsWith(joined)).toBe(true)
        expect(writer.truncated).toBe(cut.length > 0 && cut.length !== size + first.length)
      }),
    )
  })

  test('streams that follow each other in one room do not show in each other, however large their packets', () => {
    const room = new PacketRoom()
    const stream = fc.record({ size: fc.constantFrom(1, 2, 4), units: units(60), filler: fc.nat(200_000) })
    fc.assert(
      fc.property(fc.array(stream, { minLength: 2, maxLength: 4 }), streams => {
        for (const { size, units: sent, filler } of streams) {
          const large = size === 4 ? [...sent, new Uint8Array(filler + 1).fill(7)] : sent
          const writer = new ElementaryStreamWriter(info('h264', avcC(size, [], [])), room)
          expect(unitsOf(writer.write(prefixed(size, large), true))).toEqual(hex(large))
        }
      }),
      { numRuns: 30 },
    )
  })

  test('packets that are Annex B already stay as they are, behind the configuration', () => {
    const sets = Uint8Array.of(0, 0, 0, 1, 0x67, 1, 2)
    const packet = Uint8Array.of(0, 0, 1, 0x65, 3, 4)
    for (const codec of ['h264', 'hevc']) {
      const writer = new ElementaryStreamWriter(info(codec, sets))
      expect([...writer.write(packet, true)]).toEqual([...sets, ...packet])
      expect([...writer.write(packet, false)]).toEqual([...packet])
      expect([...new ElementaryStreamWriter(info(codec)).write(packet, true)]).toEqual([...packet])
    }
  })

  test('sequence extensions of the high profiles go with the parameter sets', () => {
    const base = avcC(4, [Uint8Array.of(0x67, 1)], [Uint8Array.of(0x68, 2)])
    base[1] = 100
    const extended = Uint8Array.from([...base, 0xfd, 0xf8, 0xf8, 1, 0, 2, 0x6d, 9])
    const written = new ElementaryStreamWriter(info('h264', extended)).write(new Uint8Array(0), true)
    expect(unitsOf(written)).toEqual(['6701', '6802', '6d09'])
  })

  test('configurations of any bytes are read without harm', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 80 }),
        fc.constantFrom('h264', 'hevc', 'av1', 'mpeg4'),
        (bytes, codec) => {
          const description = Uint8Array.from([1, ...bytes])
          const written = new ElementaryStreamWriter(info(codec, description)).write(new Uint8Array(0), true)
          expect(written.length).toBeLessThanOrEqual(3 * description.length + 4)
        },
      ),
    )
  })
})

describe('other codecs', () => {
  const packet = Uint8Array.of(9, 8, 7)
  test.each([
    ['vp8', undefined, []],
    ['vp9', Uint8Array.of(1, 0, 0, 0), []],
    ['av1', Uint8Array.of(0x81, 4, 12, 0, 10, 11, 0, 0), [10, 11, 0, 0]],
    ['av1', undefined, []],
    ['mpeg4', Uint8Array.of(0, 0, 1, 0xb0, 3), [0, 0, 1, 0xb0, 3]],
    ['mpeg2video', Uint8Array.of(0, 0, 1, 0xb3, 5), [0, 0, 1, 0xb3, 5]],
  ] as const)('%s', (codec, description, prefix) => {
    const writer = new ElementaryStreamWriter(info(codec, description))
    expect([...writer.write(packet, true)]).toEqual([...prefix, ...packet])
    expect([...writer.write(packet, false)]).toEqual([...packet])
  })
})

const haveFfmpeg = Bun.which('ffmpeg') !== null
if (!haveFfmpeg) console.warn('skipping comparison with ffmpeg’s Annex B: ffmpeg is missing')

describe.skipIf(!haveVideos || !haveFfmpeg)('real files have the units that ffmpeg makes of them', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rnb-annexb-'))
  afterAll(() => rmSync(folder, { recursive: true }))

  test.each([
    ['kinetics-340x256-h264.mp4', 'h264'],
    ['kinetics-340x256-h264.mkv', 'h264'],
    ['kinetics-opengop-h264.mp4', 'h264'],
    ['interlaced-320x240-h264.mp4', 'h264'],
    ['ball-720x576-h264-bframes.mp4', 'h264'],
    ['kinetics-340x256-hevc.mp4', 'hevc'],
    ['kinetics-340x256-hevc10.mkv', 'hevc'],
  ] as const)('%s', async (name, codec) => {
    const made = join(folder, `${name}.${codec}`)
    const command = [
      '-v',
      'error',
      '-i',
      videosFolder + name,
      '-map',
      '0:v:0',
      '-c',
      'copy',
      '-f',
      codec,
      made,
    ]
    expect(Bun.spawnSync(['ffmpeg', ...command]).stderr.toString()).toBe('')
    const theirs = unitsOf(readFileSync(made))
    const video = await openVideo(videosFolder + name)
    const ours: string[] = []
    const writer = new ElementaryStreamWriter(video.info)
    let first = true
    for await (const packet of video.packets(range(0, video.frames))) {
      ours.push(...unitsOf(writer.write(packet.data, first)))
      first = false
    }
    video.close()
    // ffmpeg repeats the configuration before each keyframe.
    const configuration = new Set(
      unitsOf(new ElementaryStreamWriter(video.info).write(new Uint8Array(0), true)),
    )
    const coded = (list: string[]) => list.filter(u => !configuration.has(u)).map(md5Of)
    expect(coded(ours)).toEqual(coded(theirs))
    expect([...configuration].filter(u => theirs.indexOf(u) > 3 || !theirs.includes(u))).toEqual([])
  })
})
