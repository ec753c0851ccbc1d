import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { libav, libavStatus } from '../../ffi/libav/library.ts'
import type { VideoErrorCode } from '../../src/errors.ts'
import { VideoError } from '../../src/errors.ts'
import { Rng } from '../../src/rng.ts'
import { LibavDecoder } from '../../src/video/libav-decoder.ts'
import { LibavDemuxer } from '../../src/video/libav-demuxer.ts'
import type { Packet, Video } from '../../src/video/types.ts'
import { bottomLuma, codedFields, topLuma } from './demux-fields.ts'
import { cleanVideos, frameMd5, haveVideos, range, truth, videosFolder } from './demux-shared.ts'

const haveLibav = libavStatus().ok
if (!haveLibav) console.warn('skipping tests of libavformat: it is not installed')

const folder = mkdtempSync(join(tmpdir(), 'rnb-demuxer-'))
afterAll(() => rmSync(folder, { recursive: true }))

// The machine may be busy.
setDefaultTimeout(60_000)

const demuxer = new LibavDemuxer()

async function packetsOf(video: Video, wanted: number[]): Promise<Packet[]> {
  const packets: Packet[] = []
  for await (const packet of video.packets(wanted)) packets.push(packet)
  return packets
}

/** How opening, or decoding all of it, fails. */
async function failure(path: string): Promise<VideoErrorCode | undefined> {
  const decoder = new LibavDecoder()
  try {
    const video = await demuxer.open(path)
    const all = range(0, video.frames)
    await decoder.decode(video.info, video.packets(all), all, () => {})
    video.close()
    return undefined
  } catch (error) {
    if (error instanceof VideoError) return error.code
    throw error
  } finally {
    decoder.close()
  }
}

function written(name: string, bytes: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

describe.skipIf(!haveLibav || !haveVideos)('videos as FFmpeg has them', () => {
  const matrices: Record<string, number> = { bt709: 1, smpte170m: 6 }

  test.each(cleanVideos)('%s: frames, size, codec, rotation, colour', async name => {
    const video = await demuxer.open(videosFolder + name)
    const expected = truth[name]!
    const { codec, width, height, rotation, colour } = video.info
    expect({ codec, width, height, frames: video.frames }).toEqual({
      codec: expected.codec_name,
      width: expected.width,
      height: expected.height,
      frames: expected.frames,
    })
    expect(rotation as number).toBe((360 - (expected.rotation ?? 0)) % 360)
    expect(colour.matrix).toBe(matrices[expected.color_space ?? ''])
    expect(colour.fullRange).toBe(
      expected.color_range === undefined ? undefined : expected.color_range === 'pc',
    )
    video.close()
  })

  test('packets before time 0 of an edit list are read and not shown', async () => {
    const video = await demuxer.open(`${videosFolder}kinetics-editlist-h264.mp4`)
    const packets = await packetsOf(video, range(0, video.frames))
    expect(
      packets
        .filter(({ index }) => index >= 0)
        .map(({ index }) => index)
        .sort((a, b) => a - b),
    ).toEqual(range(0, 122))
    expect(packets[0]).toMatchObject({ key: true })
    expect(packets[0]!.index).toBeLessThan(0)
  })

  test('a file that is read again gives the packets of one that is kept', async () => {
    const rereading = new LibavDemuxer({ keptBytes: 10_000 })
    for (const name of [
      'inertia-400x300-mpeg4.avi',
      'magnet-400x304-theora.ogv',
      'kinetics-340x256-h264.ts',
    ]) {
      const kept = await demuxer.open(videosFolder + name)
      const reread = await rereading.open(videosFolder + name)
      for (const wanted of [range(20, 5), range(3, 4), [0, 1, 25, 26]]) {
        expect(await packetsOf(reread, wanted)).toEqual(await packetsOf(kept, wanted))
      }
      kept.close()
      reread.close()
    }
  })
})

describe.skipIf(!haveLibav)('H.264 with a packet for each field', () => {
  test('two packets make a frame', async () => {
    const frames = 12
    const path = written('fields.h264', Buffer.concat(codedFields(frames).map(({ data }) => data)))
    const video = await demuxer.open(path)
    expect(video.frames).toBe(frames)
    const decoder = new LibavDecoder()
    const wanted = [0, 5, 6, 11]
    const seen: number[][] = []
    await decoder.decode(video.info, video.packets(wanted), wanted, ({ index, planes }) => {
      seen.push([index, planes[0]!.data[0]!, planes[0]!.data[planes[0]!.stride]!])
    })
    expect(seen).toEqual(wanted.map(frame => [frame, topLuma(frame), bottomLuma(frame)]))
    decoder.close()
    video.close()
  })
})

// What ffmpeg makes of one of the real videos: streams that only libavformat opens.
const haveFfmpeg = Bun.which('ffmpeg') !== null
if (!haveFfmpeg) console.warn('skipping streams that ffmpeg makes and reads: there is no ffmpeg')

/** Name of a file, and how ffmpeg makes it. */
const MADE: [name: string, options: string][] = [
  ['h264-bframes.avi', '-c:v libx264 -bf 3 -preset veryfast'],
  ['mpeg4-bframes.avi', '-c:v mpeg4 -bf 2'],
  ['mpeg4-dropped.avi', '-c:v mpeg4 -vf mpdecimate'],
  ['mpeg2.mpg', '-c:v mpeg2video -bf 2 -g 15'],
  ['mpeg2-interlaced.ts', '-c:v mpeg2video -bf 2 -flags +ildct+ilme'],
  ['mpeg1.mpg', '-c:v mpeg1video -bf 2'],
  ['wmv2.wmv', '-c:v wmv2'],
  ['flv1.flv', '-c:v flv'],
  ['mjpeg.avi', '-c:v mjpeg -pix_fmt yuvj422p'],
  ['altref.avi', '-c:v libvpx -auto-alt-ref 1 -lag-in-frames 16 -b:v 300k -deadline realtime'],
]

describe.skipIf(!haveLibav || !haveVideos || !haveFfmpeg)('streams made by ffmpeg', () => {
  const source = `${videosFolder}kinetics-340x256-h264.mp4`

  /** FFmpeg's frames. */
  function reference(path: string): string[] {
    const options = '-map 0:v:0 -vsync passthrough -f framemd5 -'.split(' ')
    const { stdout } = Bun.spawnSync(['ffmpeg', '-v', 'error', '-threads', '1', '-i', path, ...options])
    const lines = stdout.toString().split('\n')
    return lines.filter(line => line && !line.startsWith('#')).map(line => line.split(',').at(-1)!.trim())
  }

  test.each(MADE)('%s: all frames, and random clips', async (name, options) => {
    const path = join(folder, name)
    const make = ['-t', '2', '-i', source, '-an', ...options.split(' '), path]
    const { exitCode, stderr } = Bun.spawnSync(['ffmpeg', '-v', 'error', '-y', ...make])
    if (exitCode !== 0) {
      console.warn(`skipping ${name}: this ffmpeg cannot make it (${stderr.toString().split('\n')[0]})`)
      return
    }
    const expected = reference(path)
    const video = await demuxer.open(path)
    const decoder = new LibavDecoder()
    expect(video.frames).toBe(expected.length)
    expect(expected.length).toBeGreaterThan(30)
    const rng = Rng.of(2, name)
    const clips = Array.from({ length: 6 }, () => range(rng.int(video.frames - 8), 8))
    for (const wanted of [range(0, video.frames), ...clips]) {
      const seen: [number, string][] = []
      await decoder.decode(video.info, video.packets(wanted), wanted, frame => {
        seen.push([frame.index, frameMd5(frame)])
      })
      expect(seen).toEqual(wanted.map(index => [index, expected[index]!]))
    }
    decoder.close()
    video.close()
  })

  test('a transport stream that begins in the middle of an open group shows what FFmpeg shows', async () => {
    const whole = join(folder, 'open.ts')
    const options = '-c:v libx264 -preset veryfast -g 30 -x264-params open-gop=1:scenecut=0'.split(' ')
    const made = ['ffmpeg', '-v', 'error', '-y', '-t', '3', '-i', source, '-an', ...options, whole]
    if (Bun.spawnSync(made).exitCode !== 0) return console.warn('skipping: this ffmpeg has no libx264')
    const path = written('middle.ts', readFileSync(whole).subarray(188 * 60))
    const expected = reference(path)
    const video = await demuxer.open(path)
    expect(video.frames).toBe(expected.length)
    const all = range(0, video.frames)
    const seen: string[] = []
    const decoder = new LibavDecoder()
    await decoder.decode(video.info, video.packets(all), all, frame => {
      seen.push(frameMd5(frame))
    })
    expect(seen).toEqual(expected)
    decoder.close()
    video.close()
  })

  test('sound alone is no video, also with a cover picture', async () => {
    const cover = join(folder, 'cover.mp3')
    const inputs = ['-f', 'lavfi', '-i', 'sine=d=1', '-i', source]
    const output = ['-map', '0:a', '-map', '1:v', '-frames:v', '1', '-c:v', 'mjpeg', '-pix_fmt', 'yuvj420p']
    const made = [
      'ffmpeg',
      '-v',
      'error',
      '-y',
      ...inputs,
      ...output,
      '-disposition:v',
      'attached_pic',
      cover,
    ]
    if (Bun.spawnSync(made).exitCode !== 0)
      return console.warn('skipping a cover picture: this ffmpeg has no mp3')
    expect(await failure(cover)).toBe('no_video_stream')
  })
})

describe.skipIf(!haveLibav)('what is no video', () => {
  test('each has its code', async () => {
    expect(await failure(join(folder, 'absent.mp4'))).toBe('not_found')
    expect(await failure(folder)).toBe('is_directory')
    expect(await failure(written('empty.mp4', ''))).toBe('empty')
    expect(await failure(written('text.mp4', 'not a video\n'))).toBe('not_a_video')
    expect(await failure('/dev/null')).toBe('unreadable')
    expect(await failure(written('header.y4m', 'YUV4MPEG2 W16 H16 F25:1 Ip A1:1 C420\n'))).toBe('no_frames')
  })

  test.skipIf(process.getuid?.() === 0)('a file without permission to read is unreadable', async () => {
    const path = written('locked.mp4', 'x')
    chmodSync(path, 0)
    expect(await failure(path)).toBe('unreadable')
  })

  test('a playlist opens no other file', async () => {
    const target = haveVideos ? `${videosFolder}kinetics-340x256-h264.ts` : '/etc/hostname'
    const playlist = `#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n${target}\n#EXT-X-ENDLIST\n`
    // Some releases see a playlist by its name alone.
    const refused: (VideoErrorCode | undefined)[] = ['unsupported_container', 'not_a_video']
    expect(refused).toContain(await failure(written('list.mp4', playlist)))
    expect(refused).toContain(await failure(written('list.m3u8', playlist)))
    expect(refused).toContain(
      await failure(written('list.ffconcat', `ffconcat version 1.0\nfile '${target}'\n`)),
    )
  })

  test.skipIf(!haveVideos)('broken files', async () => {
    expect(await failure(`${videosFolder}broken-empty.mp4`)).toBe('empty')
    expect(await failure(`${videosFolder}broken-text.mp4`)).toBe('not_a_video')
    expect(await failure(`${videosFolder}broken-audio-only.mp4`)).toBe('no_video_stream')
    expect(await failure(`${videosFolder}broken-truncated.mp4`)).toBe('truncated')
    expect(await failure(`${videosFolder}broken-bitflips.mp4`)).toBe('damaged')
  })

  test
    .skipIf(!haveVideos)
    .each(['ball-320x240-vp9.avi', 'inertia-400x300-mpeg4.avi', 'magnet-400x304-theora.ogv'])(
    '%s, cut off: what is there is right, and its last frame is an error or right',
    async name => {
      const whole = await demuxer.open(videosFolder + name)
      const bytes = readFileSync(videosFolder + name)
      const decoder = new LibavDecoder()
      const frames = async (video: Video, wanted: number[]) => {
        const seen: string[] = []
        await decoder.decode(video.info, video.packets(wanted), wanted, frame => {
          seen.push(frameMd5(frame))
        })
        return seen
      }
      const complete = await frames(whole, range(0, whole.frames))
      for (const part of [0.35, 0.6, 0.85]) {
        const path = written(`cut-${name}`, bytes.subarray(0, Math.floor(bytes.length * part)))
        const video = await demuxer.open(path)
        expect(video.frames).toBeGreaterThan(0)
        expect(video.frames).toBeLessThan(whole.frames)
        const safe = range(0, video.frames - 2)
        expect(await frames(video, safe)).toEqual(complete.slice(0, safe.length))
        // FFmpeg 4 does not tell of a VP9 packet that it is cut off.
        if (libav().offsets.libavformat === 58 && video.info.codec === 'vp9') continue
        try {
          const last = video.frames - 1
          expect(await frames(video, [last])).toEqual([complete[last]!])
        } catch (error) {
          if (!(error instanceof VideoError)) throw error
          expect(['truncated', 'damaged']).toContain(error.code)
        }
        video.close()
      }
      whole.close()
      decoder.close()
    },
  )
})
