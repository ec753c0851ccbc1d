/**
 * Files that FFmpeg makes on the spot, with what the shared ones have not: streams cut at open groups of pictures, edit
 * lists that end early, delayed tracks, fragments, wrapping timestamps, temporal layers. FFmpeg says what they show.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Rng } from '../../src/rng.ts'
import { ContainerVideo } from '../../src/video/container-video.ts'
import { LibavDecoder } from '../../src/video/libav-decoder.ts'
import { openVideo } from '../../src/video/open.ts'
import { frameMd5, haveVideos, range, videosFolder } from './demux-shared.ts'

const ffmpeg = Bun.which('ffmpeg')
if (!ffmpeg) console.warn('skipping tests of files that FFmpeg makes: there is no ffmpeg')
/** FFmpeg's major version; a build from its repository counts as a late one. */
const release = ffmpeg
  ? Number(/version n?(\d+)\./.exec(Bun.spawnSync([ffmpeg, '-version']).stdout.toString())?.[1] ?? 99)
  : 0
const folder = mkdtempSync(join(tmpdir(), 'rnb-variants-'))
let decoder: LibavDecoder
beforeAll(() => {
  decoder = new LibavDecoder()
})
afterAll(() => {
  decoder.close()
  rmSync(folder, { recursive: true })
})

function run(...args: string[]): string {
  const { stdout, exitCode } = Bun.spawnSync([ffmpeg!, '-nostdin', '-v', 'error', '-y', ...args], {
    stderr: 'ignore',
  })
  if (exitCode !== 0) throw new Error(`ffmpeg ${args.join(' ')} exits with ${exitCode}`)
  return stdout.toString()
}

/** MD5s of all frames that FFmpeg shows. */
function shown(path: string): string[] {
  const md5 = (...passthrough: string[]) =>
    run('-threads', '1', '-noautorotate', '-i', path, '-map', '0:v:0', ...passthrough, '-f', 'framemd5', '-')
  return framemd5Lines(release >= 6 ? md5('-fps_mode', 'passthrough') : md5('-vsync', '0'))
}

const framemd5Lines = (text: string): string[] =>
  text
    .split('\n')
    .filter(line => line && !line.startsWith('#'))
    .map(line => line.split(',').at(-1)!.trim())

async function frames(path: string, wanted?: number[]) {
  const video = await openVideo(path)
  try {
    const indices = wanted ?? range(0, video.frames)
    const md5s: string[] = []
    const decoded = await decoder.decode(video.info, video.packets(indices), indices, frame => {
      md5s.push(frameMd5(frame))
    })
    return { md5s, decoded, mediabunny: video instanceof ContainerVideo }
  } finally {
    video.close()
  }
}

const kinetics = `${videosFolder}kinetics-340x256-h264.mp4`
const openGop = `${videosFolder}kinetics-opengop-h264.mp4`
const copy = ['-c', 'copy', '-map', '0:v']
const x265 = (options: string) => [
  '-t',
  '2',
  '-c:v',
  'libx265',
  '-preset',
  'ultrafast',
  '-x265-params',
  `log-level=error:${options}`,
]

const variants: Record<string, string[]> = {
  'cut-open.mkv': ['-ss', '1.7', '-i', openGop, ...copy],
  'cut-open.mp4': ['-ss', '1.7', '-i', openGop, ...copy],
  'cut-open-fragments.mp4': ['-ss', '1.7', '-i', openGop, ...copy, '-movflags', 'frag_keyframe+delay_moov'],
  'cut-hevc.ts': ['-ss', '1.7', '-i', `${videosFolder}kinetics-340x256-hevc.mp4`, ...copy],
  'delayed.ts': ['-itsoffset', '1.3', '-i', kinetics, '-t', '4', ...copy],
  'wrapping.ts': ['-i', kinetics, '-t', '4', ...copy, '-output_ts_offset', '95441.5', '-muxdelay', '0'],
  'blocks.m2ts': ['-i', kinetics, '-t', '4', ...copy, '-mpegts_m2ts_mode', '1'],
  'negative-offsets.mp4': ['-i', kinetics, '-t', '4', ...copy, '-movflags', 'negative_cts_offsets'],
  'delayed.mp4': [
    '-f',
    'lavfi',
    '-i',
    'sine=d=4',
    '-itsoffset',
    '1.3',
    '-i',
    kinetics,
    '-t',
    '4',
    '-c:v',
    'copy',
    '-c:a',
    'aac',
  ],
  'mixed-fragments.mp4': ['-i', kinetics, '-t', '4', ...copy, '-movflags', 'frag_keyframe'],
  'unknown-sizes.webm': ['-i', `${videosFolder}kinetics-340x256-vp9.webm`, ...copy, '-live', '1'],
  'hidden.webm': [
    '-i',
    kinetics,
    '-t',
    '2',
    '-c:v',
    'libvpx',
    '-b:v',
    '200k',
    '-auto-alt-ref',
    '1',
    '-lag-in-frames',
    '16',
    '-cpu-used',
    '8',
  ],
  'refresh.ts': [
    '-i',
    kinetics,
    '-t',
    '3',
    '-c:v',
    'libx264',
    '-x264-params',
    'intra-refresh=1:keyint=30:bframes=0',
  ],
  'pyramid.mp4': [
    '-i',
    kinetics,
    '-t',
    '3',
    '-c:v',
    'libx264',
    '-x264-params',
    'bframes=5:b-adapt=0:ref=4:open-gop=1:keyint=24:scenecut=0',
  ],
  'layers.mkv': ['-i', kinetics, ...x265('temporal-layers=1:keyint=30:bframes=4')],
  'leading.mp4': ['-i', kinetics, ...x265('radl=2:keyint=30:open-gop=0:scenecut=0:bframes=4')],
}

describe.skipIf(!ffmpeg || !haveVideos)('what FFmpeg makes', () => {
  async function compare(path: string, requests = 6): Promise<boolean> {
    const truth = shown(path)
    const { md5s, mediabunny } = await frames(path)
    expect(md5s).toEqual(truth)
    const rng = Rng.of(1, path.slice(folder.length))
    for (let request = 0; request < requests; request++) {
      const starts = range(0, 1 + (request % 2)).map(() => rng.int(truth.length - 7))
      const wanted = [...new Set(starts.flatMap(start => range(start, 8)))].sort((a, b) => a - b)
      expect((await frames(path, wanted)).md5s).toEqual(wanted.map(index => truth[index]!))
    }
    return mediabunny
  }

  test.each(Object.keys(variants))('%s shows what FFmpeg shows, in any order', async name => {
    const path = join(folder, name)
    try {
      run(...variants[name]!, path)
    } catch (error) {
      // Another build of FFmpeg may lack the encoder.
      console.warn(`skipping ${name}: ${(error as Error).message}`)
      return
    }
    expect(await compare(path)).toBe(name !== 'mixed-fragments.mp4')
  })

  /** The shared file with another edit list: duration (in 1/1000 s), media time (in 1/15360 s), rate. */
  function edited(name: string, duration: number, time: number, rate = 1): string {
    const bytes = readFileSync(kinetics)
    const at = bytes.indexOf('elst') + 4 + 8
    bytes.writeUInt32BE(duration, at)
    bytes.writeInt32BE(time, at + 4)
    bytes.writeInt32BE(rate * 65536, at + 8)
    const path = join(folder, name)
    writeFileSync(path, bytes)
    return path
  }

  test('an edit list that begins and ends between frames', async () => {
    expect(await compare(edited('edit-ends.mp4', 5017, 1024 + 512 * 50 + 1), 3)).toBe(true)
  })
  test('an edit list longer than the video', async () => {
    expect(await compare(edited('edit-long.mp4', 999_999, 0), 3)).toBe(true)
  })
  test('an edit list that mediabunny does not follow', async () => {
    expect(await compare(edited('edit-rate.mp4', 10_000, 1024, 2), 1)).toBe(false)
  })
})
