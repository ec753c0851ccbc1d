import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import fc from 'fast-check'
import { libavStatus } from '../../ffi/libav/library.ts'
import { VideoError } from '../../src/errors.ts'
import { Rng } from '../../src/rng.ts'
import { DamageLog } from '../../src/video/libav-damage.ts'
import { LibavDecoder } from '../../src/video/libav-decoder.ts'
import { LibavDemuxer } from '../../src/video/libav-demuxer.ts'
import type { Packet, StreamInfo, Video } from '../../src/video/types.ts'
import { cleanVideos, frameMd5, haveVideos, md5Of, range, truth, videosFolder } from './demux-shared.ts'

const haveLibav = libavStatus().ok
if (!haveLibav) console.warn('skipping tests of libavcodec: it is not installed')
const repository = join(import.meta.dir, '../..')

// The machine may be busy.
setDefaultTimeout(60_000)

const demuxer = new LibavDemuxer()
let decoder: LibavDecoder
beforeAll(() => {
  if (haveLibav) decoder = new LibavDecoder()
})
afterAll(() => decoder?.close())

async function packetsOf(video: Video, wanted: number[]): Promise<Packet[]> {
  const packets: Packet[] = []
  for await (const packet of video.packets(wanted)) packets.push(packet)
  return packets
}

/** MD5s of the wanted frames. */
async function md5s(video: Video, wanted: number[], by = decoder): Promise<string[]> {
  const seen: string[] = []
  await by.decode(video.info, video.packets(wanted), wanted, frame => {
    expect(frame.index).toBe(wanted[seen.length]!)
    seen.push(frameMd5(frame))
  })
  return seen
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'none'
  } catch (error) {
    if (error instanceof VideoError) return error.code
    throw error
  }
}

/** Some libav builds have no decoder for AV1. */
async function lacksDecoder(video: Video): Promise<boolean> {
  const missing = (await codeOf(md5s(video, [0]))) === 'unsupported_codec'
  if (missing) console.warn(`skipping ${video.info.codec}: this libavcodec has no decoder for it`)
  return missing
}

describe.skipIf(!haveLibav || !haveVideos)('frames are FFmpeg’s', () => {
  test.each(cleanVideos)('%s', async name => {
    const video = await demuxer.open(videosFolder + name)
    if (await lacksDecoder(video)) return
    const { width, height, pix_fmt, frames, frames_md5, color_space, color_range } = truth[
      name
    ] as (typeof truth)[string] & { pix_fmt: string }
    const wanted = range(0, video.frames)
    const seen: string[] = []
    await decoder.decode(video.info, video.packets(wanted), wanted, frame => {
      if (frame.index === 0) {
        const { format, colour, planes } = frame
        expect({ format, width: frame.width, height: frame.height }).toEqual({
          format: pix_fmt,
          width,
          height,
        })
        expect(colour.matrix).toBe(color_space === undefined ? undefined : color_space === 'bt709' ? 1 : 6)
        if (color_range !== undefined) expect(colour.fullRange).toBe(color_range === 'pc')
        const deep = /1[02]le$/.test(format)
        for (const { data } of planes) expect(data).toBeInstanceOf(deep ? Uint16Array : Uint8Array)
      }
      seen.push(frameMd5(frame))
    })
    expect(seen).toHaveLength(frames)
    expect(md5Of(seen.join('\n'))).toBe(frames_md5)
    video.close()
  })

  test('one decoder takes clips of many videos in any order', async () => {
    const names = cleanVideos.filter(name => !/1920|1280|720x/.test(name))
    const videos: { video: Video; all: string[] }[] = []
    for (const name of names.slice(0, 10)) {
      const video = await demuxer.open(videosFolder + name)
      if (await lacksDecoder(video)) continue
      videos.push({ video, all: await md5s(video, range(0, video.frames)) })
    }
    const rng = Rng.of(3, 'order')
    for (let request = 0; request < 40; request++) {
      const { video, all } = videos[rng.int(videos.length)]!
      const wanted = range(rng.int(video.frames - 8), 8)
      expect(await md5s(video, wanted)).toEqual(wanted.map(index => all[index]!))
    }
    for (const { video } of videos) video.close()
  })

  test('videos of one configuration share a context, and leave nothing in it', async () => {
    const mp4 = await demuxer.open(`${videosFolder}kinetics-340x256-h264.mp4`)
    const mkv = await demuxer.open(`${videosFolder}kinetics-340x256-h264.mkv`)
    const expected = await md5s(mp4, range(40, 8))
    for (const other of [mkv, mp4, mkv]) {
      // Left in the middle of the stream, with frames held back.
      const stop = new Error('enough')
      const wanted = range(0, 30)
      await expect(
        decoder.decode(mp4.info, mp4.packets(wanted), wanted, () => {
          throw stop
        }),
      ).rejects.toBe(stop)
      expect(await md5s(other, range(40, 8))).toEqual(expected)
    }
  })

  test('several threads give the same frames', async () => {
    const threaded = new LibavDecoder({ threads: 4 })
    for (const name of [
      'ball-720x576-h264-bframes.mp4',
      'kinetics-340x256-hevc.mp4',
      'ball-320x240-vp9.avi',
    ]) {
      const video = await demuxer.open(videosFolder + name)
      for (const wanted of [range(60, 20), [3], range(10, 8)]) {
        expect(await md5s(video, wanted, threaded)).toEqual(await md5s(video, wanted))
      }
      video.close()
    }
    threaded.close()
  })

  test('counts the pictures that it decodes, and stops after the last wanted one', async () => {
    const video = await demuxer.open(`${videosFolder}bunny-560x320-h264-baseline.mp4`)
    const all = await packetsOf(video, range(0, video.frames))
    const decoded = await decoder.decode(video.info, all, [4, 9], () => {})
    expect(decoded).toBeGreaterThanOrEqual(10)
    // A level's worth of reordering at most.
    expect(decoded).toBeLessThanOrEqual(10 + 17)
    expect(await decoder.decode(video.info, video.packets([4, 9]), [4, 9], () => {})).toBe(10)
    expect(await decoder.decode(video.info, all, [], () => {})).toBe(0)
  })

  test('planes are views that cover the picture', async () => {
    const video = await demuxer.open(`${videosFolder}discs-640x465-h264.mov`)
    await decoder.decode(video.info, video.packets([5]), [5], ({ width, height, planes }) => {
      expect([width, height]).toEqual([640, 465])
      planes.forEach(({ data, stride }, plane) => {
        const rows = plane === 0 ? 465 : 233
        const columns = plane === 0 ? 640 : 320
        expect(stride).toBeGreaterThanOrEqual(columns)
        expect(data.length).toBe(stride * (rows - 1) + columns)
      })
    })
  })
})

describe.skipIf(!haveLibav || !haveVideos)('damage', () => {
  test('a clip is an error just if one of the pictures it depends on differs from the undamaged file’s', async () => {
    const clean = await demuxer.open(`${videosFolder}kinetics-340x256-h264.mp4`)
    const broken = await demuxer.open(`${videosFolder}broken-bitflips.mp4`)
    const whole = range(0, clean.frames)
    const all = await md5s(clean, whole)
    const undamaged = new Map((await packetsOf(clean, whole)).map(({ index, data }) => [index, data]))
    let errors = 0
    for (const first of range(0, 73).map(i => 4 * i)) {
      const wanted = range(first, 8)
      const needed = await packetsOf(broken, wanted)
      const damaged = needed.some(({ index, data }) => Buffer.compare(data, undamaged.get(index)!) !== 0)
      if (damaged) {
        errors++
        expect(await codeOf(md5s(broken, wanted))).toBe('damaged')
      } else expect(await md5s(broken, wanted)).toEqual(wanted.map(index => all[index]!))
    }
    expect(errors).toBeGreaterThan(10)
    expect(errors).toBeLessThan(60)
  })

  test('of a file damaged as found, clips from a clean group of pictures are right', async () => {
    const video = await demuxer.open(`${videosFolder}tour-960x540-h264-damaged.mp4`)
    expect(video.frames).toBe(truth['tour-960x540-h264-damaged.mp4']!.frames)
    expect(await md5s(video, range(200, 8))).toHaveLength(8)
    video.close()
  })

  test('a picture that is missing is damage to those that depend on it', async () => {
    for (const name of [
      'kinetics-340x256-h264.mp4',
      'kinetics-340x256-hevc.mp4',
      'kinetics-340x256-vp9.webm',
    ]) {
      const video = await demuxer.open(videosFolder + name)
      const wanted = range(20, 8)
      const packets = await packetsOf(video, wanted)
      const without = packets.filter(({ index }) => index !== 24)
      expect(await codeOf(decoder.decode(video.info, without, wanted, () => {}))).toBe('damaged')
      // A packet with nothing in it that could be decoded, long before the clip.
      const hollow = packets.map((packet, i) =>
        i === 3 ? { ...packet, data: packet.data.subarray(0, 6) } : packet,
      )
      expect(await codeOf(decoder.decode(video.info, hollow, wanted, () => {}))).toBe('damaged')
      expect(await codeOf(decoder.decode(video.info, packets.slice(0, -2), wanted, () => {}))).toBe('damaged')
      expect(await codeOf(decoder.decode(video.info, packets, wanted, () => {}))).toBe('none')
      video.close()
    }
  })

  test('flipped bits never end in anything but frames or a VideoError', async () => {
    const files = ['inertia-400x300-mpeg4.avi', 'magnet-400x304-theora.ogv', 'kinetics-340x256-hevc10.mkv']
    for (const name of [...files, 'kinetics-340x256-av1.mp4', 'interlaced-320x240-h264.mp4']) {
      const video = await demuxer.open(videosFolder + name)
      if (await lacksDecoder(video)) continue
      const wanted = range(8, 8)
      const packets = await packetsOf(video, wanted)
      const rng = Rng.of(4, name)
      for (let round = 0; round < 12; round++) {
        const flipped = packets.map(packet => {
          const data = packet.data.slice()
          if (rng.int(4) === 0) data[rng.int(data.length)]! ^= 1 << rng.int(8)
          return { ...packet, data }
        })
        const code = await codeOf(decoder.decode(video.info, flipped, wanted, () => {}))
        expect(['none', 'damaged']).toContain(code)
      }
      video.close()
    }
  })

  test('is reported by nothing but the error: libav stays silent', async () => {
    const program = `
      import { LibavDecoder } from '${repository}/src/video/libav-decoder.ts'
      import { LibavDemuxer } from '${repository}/src/video/libav-demuxer.ts'
      for (const name of ['broken-bitflips.mp4', 'broken-truncated.mp4', 'tour-960x540-h264-damaged.mp4']) {
        try {
          const video = await new LibavDemuxer().open('${videosFolder}' + name)
          const wanted = Array.from({ length: video.frames }, (_, i) => i)
          await new LibavDecoder().decode(video.info, video.packets(wanted), wanted, () => {})
        } catch (error) {
          if (error.name !== 'VideoError') throw error
        }
      }`
    const { stdout, stderr, exitCode } = Bun.spawnSync([process.execPath, '-e', program])
    expect(stderr.toString()).toBe('')
    expect(stdout.toString()).toBe('')
    expect(exitCode).toBe(0)
  })
})

describe.skipIf(!haveLibav)('what cannot be decoded', () => {
  const info: StreamInfo = { codec: 'h264', width: 64, height: 64, rotation: 0, colour: {} }

  test('an unknown codec is unsupported', async () => {
    for (const codec of ['nonsense', '', 'pcm_s16le']) {
      const work = decoder.decode({ ...info, codec }, [], [0], () => {})
      expect(await codeOf(work)).toBe('unsupported_codec')
    }
  })

  test('no packets, empty packets and noise are damage', async () => {
    const packet = { index: 0, key: true }
    expect(await codeOf(decoder.decode(info, [], [0], () => {}))).toBe('damaged')
    expect(await codeOf(decoder.decode(info, [{ ...packet, data: new Uint8Array(0) }], [0], () => {}))).toBe(
      'damaged',
    )
    const noise = Uint8Array.from({ length: 500 }, (_, i) => (i * 73) & 255)
    expect(await codeOf(decoder.decode(info, [{ ...packet, data: noise }], [0], () => {}))).toBe('damaged')
  })
})

describe('which pictures damage taints', () => {
  /** Groups of an I picture and P pictures, in presentation order. */
  const groups = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 5 })

  test('without reordering: those from the damaged one to the end of its group', () => {
    fc.assert(
      fc.property(groups, fc.nat(), (sizes, choice) => {
        const group = sizes.flatMap((size, g) => new Array<number>(size).fill(g))
        const damaged = choice % group.length
        const log = new DamageLog()
        group.forEach((g, index) => {
          log.send(index, g !== group[index - 1])
          log.came(index)
        })
        log.damageShown(damaged)
        log.ended()
        group.forEach((g, index) => {
          expect(log.taints(index)).toBe(g === group[damaged] && index >= damaged)
        })
      }),
    )
  })

  test('a leading picture of an open group depends on the group before, and its group not on it', () => {
    const log = new DamageLog()
    // Decode order: I0 P2 B1 | I5 B3 B4 P6
    for (const index of [0, 2, 1, 5, 3, 4, 6]) {
      log.send(index, index === 0 || index === 5)
      log.came(index)
    }
    log.damageShown(2)
    expect([0, 1, 2, 3, 4, 5, 6].filter(index => log.taints(index))).toEqual([1, 2, 3, 4])
  })
})
