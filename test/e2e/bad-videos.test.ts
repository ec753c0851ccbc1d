import { expect, test } from 'bun:test'
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { VIDEO_ERRORS } from '../../src/errors.ts'
import {
  bitFlips,
  fewFrames,
  firstHalf,
  halfIndex,
  soundTrack,
  unknownCodec,
  wave,
  zeroFrames,
} from './damage.ts'
import { demo, demoVideos, listOf, type Outcome, oneClip, rnb, run, scratch } from './rnb.ts'

const good = demoVideos[4]!
const folder = scratch()

/** A file in the folder of bad videos. */
function bad(name: string, contents: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, contents)
  return path
}

const asked = {
  missing: join(folder, 'missing.mp4'),
  folder: join(folder, 'folder.mp4'),
  empty: bad('empty.mp4', ''),
  text: bad('text.mp4', 'a text about a video\n'),
  zeros: bad('zeros.mp4', new Uint8Array(5000)),
  loop: join(folder, 'loop.mp4'),
  device: '/dev/zero',
  firstHalf: bad('first-half.mp4', firstHalf(good)),
  halfIndex: bad('half-index.mp4', halfIndex(good)),
  bitFlips: bad('bit-flips.mp4', bitFlips(good)),
  soundTrack: bad('sound-track.mp4', soundTrack(good)),
  wave: bad('sound.wav', wave()),
  subtitles: bad('subtitles.vtt', 'WEBVTT\n\n00:00.000 --> 00:01.000\nno picture\n'),
  // A list of other files is no video, and must not make us open them.
  playlist: bad(
    'playlist.mp4',
    `#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://${good}\n#EXT-X-ENDLIST\n`,
  ),
  unknownCodec: bad('unknown-codec.mp4', unknownCodec(good)),
  zeroFrames: bad('zero-frames.mp4', zeroFrames(good)),
  tooShort: bad('seven-frames.mp4', fewFrames(good, 7)),
}
mkdirSync(asked.folder)
symlinkSync(asked.loop, asked.loop)

const codes: Record<keyof typeof asked, string> = {
  missing: 'not_found',
  folder: 'is_directory',
  empty: 'empty',
  text: 'not_a_video',
  zeros: 'not_a_video',
  loop: 'unreadable',
  device: 'unreadable',
  firstHalf: 'truncated',
  halfIndex: 'truncated',
  bitFlips: 'damaged',
  soundTrack: 'no_video_stream',
  wave: 'no_video_stream',
  subtitles: 'unsupported_container',
  playlist: 'unsupported_container',
  unknownCodec: 'unsupported_codec',
  zeroFrames: 'no_frames',
  tooShort: 'too_short',
}

const codeOf = (outcome: Outcome, video: string) =>
  outcome.errors.filter(error => error.video === video).map(({ code }) => code)

test('each kind of bad video is an error with its code, and the good ones among them are results', async () => {
  const eight = bad('eight-frames.mp4', fewFrames(good, 8))
  const videos = [...Object.values(asked), good, eight]
  const outcome = await run(oneClip(), [
    '--video-root',
    listOf(videos),
    '-v',
    String(videos.length),
    '-mi',
    '0',
  ])
  expect(outcome.status).toBe(0)
  expect(outcome.stderr).toBe('')
  const found = Object.entries(asked).map(([name, video]) => [name, codeOf(outcome, video)])
  expect(Object.fromEntries(found)).toEqual(
    Object.fromEntries(Object.entries(codes).map(([name, code]) => [name, [code]])),
  )
  expect(outcome.results.map(({ video }) => video).sort()).toEqual([eight, good].sort())
  for (const { code, message, step, kind } of outcome.errors) {
    expect(Object.keys(VIDEO_ERRORS)).toContain(code)
    expect(message.length).toBeGreaterThan(10)
    expect({ step, kind }).toEqual({ step: 0, kind: 'loader' })
  }
  const { requests, failures } = outcome.summary
  expect(requests).toMatchObject({ completed: 2, failed: Object.keys(codes).length, unfinished: 0 })
  expect(failures).toEqual(
    Object.fromEntries(
      Map.groupBy(Object.values(codes), code => code)
        .entries()
        .map(([code, all]) => [code, all.length]),
    ),
  )
})

test('the single step fails them as well, and goes on', async () => {
  const videos = [asked.empty, good, asked.firstHalf, asked.tooShort, asked.bitFlips, good]
  const config = bad(
    'single.json',
    JSON.stringify({
      weights: demo.weights,
      pipeline: [
        {
          model: 'single',
          queue_groups: [{ gpus: [-1] }],
          num_clips_population: [2],
          num_clips_weights: [1],
        },
      ],
    }),
  )
  const outcome = await rnb(['infer', ...videos, '-c', config, '--device', 'cpu', '--quiet'])
  expect(outcome.status).toBe(0)
  expect(outcome.errors.map(({ id, code }) => [id, code])).toEqual([
    [0, 'empty'],
    [2, 'truncated'],
    [3, 'too_short'],
    [4, 'damaged'],
  ])
  expect(outcome.results.map(({ id }) => id)).toEqual([1, 5])
})

test('a run in which every video failed says so: status 4, with a summary', async () => {
  const { status, stderr, summary } = await rnb([
    'infer',
    asked.empty,
    asked.text,
    '-c',
    demo.config,
    '--quiet',
  ])
  expect(status).toBe(4)
  expect(stderr).toBe('rnb: every video failed\n')
  expect(summary.exit).toMatchObject({ status: 4, reason: 'all_failed' })
  expect(summary.requests).toMatchObject({ completed: 0, failed: 2 })
})

test('--on-error abort ends the run at the first: status 1, with the results before it', async () => {
  const list = listOf([asked.text])
  const { status, stderr, errors, summary } = await run(oneClip(), [
    ...['--video-root', list, '-v', '50', '-mi', '20', '--on-error', 'abort'],
  ])
  expect(status).toBe(1)
  expect(stderr).toContain('--on-error abort')
  expect(errors[0]).toMatchObject({ id: 0, code: 'not_a_video' })
  expect(summary.exit).toMatchObject({ status: 1, reason: 'failed' })
  expect(summary.requests.failed).toBeLessThan(50)
})

const isRoot = process.getuid?.() === 0
if (isRoot) console.warn('skipped: root may read every file, so none is unreadable to these tests')

test.skipIf(isRoot)('a file that may not be read is an error', async () => {
  const path = bad('unreadable.mp4', readFileSync(good))
  chmodSync(path, 0)
  const { status, errors } = await rnb(['infer', path, good, '-c', demo.config, '--quiet'])
  expect(status).toBe(0)
  expect(errors.map(({ video, code }) => [video, code])).toEqual([[path, 'unreadable']])
})

test('no video at all is wrong use', async () => {
  const empty = scratch()
  const places = [empty, join(empty, 'nowhere'), join(empty, '*.mp4'), listOf(['', '# nothing'])]
  const outcomes = await Promise.all(places.map(place => run(oneClip(), ['--video-root', place, '-v', '1'])))
  for (const [i, { status, stdout, stderr }] of outcomes.entries()) {
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toStartWith('rnb: no videos: ')
    expect(stderr).toContain(places[i]!)
  }
})
