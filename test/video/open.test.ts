import { afterAll, describe, expect, test } from 'bun:test'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { VideoError } from '../../src/errors.ts'
import { openVideo } from '../../src/video/open.ts'
import { haveVideos, range, videosFolder } from './demux-shared.ts'

const folder = mkdtempSync(join(tmpdir(), 'rnb-open-'))
afterAll(() => rmSync(folder, { recursive: true }))

function fileOf(name: string, bytes: Uint8Array | string): string {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

const real = (name: string) => readFileSync(videosFolder + name)

/** Opens, reads all packets and those of a clip, and closes. @returns number of frames */
async function readThrough(path: string): Promise<number> {
  const video = await openVideo(path)
  try {
    for await (const packet of video.packets(range(0, video.frames)))
      expect(packet.data.length).toBeGreaterThan(0)
    const clip = range(video.frames >> 1, Math.min(8, video.frames - (video.frames >> 1)))
    for await (const packet of video.packets(clip)) expect(packet.data.length).toBeGreaterThan(0)
    return video.frames
  } finally {
    video.close()
  }
}

/** How that fails. */
async function failure(path: string): Promise<VideoError> {
  try {
    await readThrough(path)
  } catch (error) {
    if (error instanceof VideoError) return error
    throw error
  }
  throw new Error(`${path} is fine`)
}

const codeOf = async (path: string) => (await failure(path)).code

/** Files below the folder that this process has open. */
function openFiles(below: string): string[] {
  return readdirSync('/proc/self/fd').flatMap(descriptor => {
    try {
      const target = readlinkSync(`/proc/self/fd/${descriptor}`)
      return target.startsWith(below) ? [target] : []
    } catch {
      return []
    }
  })
}

/** The file with a 32-bit number of a box's content overwritten. */
function patched(bytes: Buffer, type: string, offset: number, value: number): Buffer {
  const copy = Buffer.from(bytes)
  const at = copy.indexOf(type)
  if (at < 0) throw new Error(`no ${type}`)
  copy.writeUInt32BE(value, at + 4 + offset)
  return copy
}

describe('what is no video has a code and a sentence', () => {
  test('no file, a folder, an empty file, text', async () => {
    expect(await codeOf(join(folder, 'none.mp4'))).toBe('not_found')
    expect(await codeOf(join(fileOf('file', 'x'), 'below.mp4'))).toBe('not_found')
    mkdirSync(join(folder, 'folder.mp4'))
    expect(await codeOf(join(folder, 'folder.mp4'))).toBe('is_directory')
    expect(await codeOf(fileOf('empty.mp4', ''))).toBe('empty')
    expect(await codeOf(fileOf('text.mp4', 'Not a video.\n'))).toBe('not_a_video')
    expect(await codeOf(fileOf('long.mkv', 'Not a video, though a long one.\n'.repeat(3000)))).toBe(
      'not_a_video',
    )
    expect(await codeOf(fileOf('zeros.mp4', new Uint8Array(4096)))).toBe('not_a_video')
  })

  test('what is no regular file is not read', async () => {
    expect(await codeOf('/dev/zero')).toBe('unreadable')
    symlinkSync(join(folder, 'loop'), join(folder, 'loop'))
    expect(await codeOf(join(folder, 'loop'))).toBe('unreadable')
  })

  // Root may read everything.
  test.skipIf(process.getuid?.() === 0)('a file that may not be read', async () => {
    const path = fileOf('secret.mp4', 'x')
    chmodSync(path, 0)
    expect(await codeOf(path)).toBe('unreadable')
  })

  test('each error says what is wrong', async () => {
    const { message } = await failure(fileOf('sentence.mp4', 'Not a video.\n'))
    expect(message).toBe('no known container was recognised')
  })
})

describe.skipIf(!haveVideos)('damaged and odd files', () => {
  test.each([
    ['broken-audio-only.mp4', 'no_video_stream'],
    ['broken-empty.mp4', 'empty'],
    ['broken-text.mp4', 'not_a_video'],
    ['broken-truncated.mp4', 'truncated'],
  ])('%s: %s', async (name, code) => {
    expect(await codeOf(videosFolder + name)).toBe(code as VideoError['code'])
  })

  test('the content counts, not the name', async () => {
    expect(await readThrough(fileOf('ts.mp4', real('kinetics-opengop-h264.ts')))).toBe(180)
    expect(await readThrough(fileOf('webm', real('kinetics-340x256-vp9.webm')))).toBe(120)
    expect(await readThrough(fileOf('avi.mkv', real('inertia-400x300-mpeg4.avi')))).toBe(28)
  })

  const small = haveVideos ? real('fullrange-bt709-256x256-h264.mp4') : Buffer.alloc(0)

  test('an index with no frames', async () => {
    let none: Buffer = small
    for (const [type, offset] of [
      ['stts', 4],
      ['ctts', 4],
      ['stsz', 8],
      ['stsc', 4],
      ['stco', 4],
      ['stss', 4],
    ] as const) {
      if (none.includes(type)) none = patched(none, type, offset, 0)
    }
    expect(await codeOf(fileOf('none.mp4', none))).toBe('no_frames')
  })

  test('an edit list that shows nothing', async () => {
    expect(await codeOf(fileOf('edit.mp4', patched(small, 'elst', 8, 0)))).toBe('no_frames')
  })

  test('billions of frames are not believed, nor waited for', async () => {
    const frames = 0x7fffffff
    for (const [i, bytes] of [
      patched(small, 'stts', 8, frames),
      patched(small, 'ctts', 8, frames),
      patched(patched(small, 'stsz', 8, frames), 'stts', 8, frames),
      patched(small, 'stsc', 12, frames),
      patched(small, 'stts', 4, frames),
      patched(small, 'stsc', 4, frames),
    ].entries()) {
      const path = fileOf(`many-${i}.mp4`, bytes)
      try {
        expect(await readThrough(path)).toBeLessThanOrEqual(90)
      } catch (error) {
        expect(error).toBeInstanceOf(VideoError)
      }
    }
  })

  test('a fragment with billions of frames', async () => {
    const fragmented = real('kinetics-fragmented-h264.mp4')
    const run = fragmented.indexOf('trun')
    fragmented.writeUInt32BE(0, run + 4)
    fragmented.writeUInt32BE(0xffffffff, run + 8)
    expect(['damaged', 'truncated', 'no_frames']).toContain(await codeOf(fileOf('fragment.mp4', fragmented)))
  })

  test('a fault in a Matroska file that a reader could go round forever on', async () => {
    const matroska = real('kinetics-340x256-vp9.webm')
    // The Tracks element without a size.
    matroska[matroska.indexOf(Buffer.from([0x16, 0x54, 0xae, 0x6b])) + 4] = 0
    const outcome = await readThrough(fileOf('fault.webm', matroska)).catch(error => error as unknown)
    expect(typeof outcome === 'number' || outcome instanceof VideoError).toBe(true)
  })

  test('packets of no bytes are never sent', async () => {
    // The third sample's size; later ones then begin too early, which is the decoder's matter.
    const path = fileOf('hole.mp4', patched(small, 'stsz', 12 + 4 * 2, 0))
    expect(await readThrough(path)).toBe(89)
  })

  test('a file that ends before its frames do', async () => {
    const fast = real('kinetics-fragmented-h264.mp4')
    const path = fileOf('cut.mp4', fast.subarray(0, fast.length >> 1))
    const outcome = await readThrough(path).catch(error => (error as VideoError).code)
    expect(typeof outcome === 'number' ? outcome < 152 : outcome === 'truncated').toBe(true)
  })

  test('no file stays open, whatever comes of it', async () => {
    const large = Buffer.concat([real('phone-1920x1080-h264.mp4')])
    const paths = [
      fileOf('large.mp4', large),
      fileOf('small.mp4', small),
      fileOf('large-cut.mp4', large.subarray(0, 1_000_000)),
      fileOf('large-text.mp4', 'Not a video.\n'.repeat(100_000)),
      fileOf('large-none.mp4', Buffer.concat([patched(small, 'elst', 8, 0), Buffer.alloc(1_000_000)])),
      fileOf('some.avi', real('inertia-400x300-mpeg4.avi')),
      fileOf('some.mkv', real('kinetics-340x256-hevc10.mkv')),
    ]
    for (const path of paths) await readThrough(path).catch(() => undefined)
    expect(openFiles(folder)).toEqual([])
    const video = await openVideo(paths[0]!)
    expect(openFiles(folder)).toEqual([paths[0]!])
    video.close()
    video.close()
    expect(openFiles(folder)).toEqual([])
  })

  const sources = [
    'tenframes-1280x720-h264.mp4',
    'kinetics-fragmented-h264.mp4',
    'kinetics-340x256-hevc10.mkv',
    'kinetics-opengop-h264.ts',
  ]
  test.each(sources)(
    '%s cut short and with flipped bits: only a VideoError, and no file left open',
    async name => {
      const bytes = real(name)
      const index = Math.max(0, bytes.indexOf('moov'))
      // Half of the damage goes where the structure is, the rest anywhere.
      const place = fc
        .tuple(fc.boolean(), fc.nat())
        .map(([structure, n]) => (structure ? index + (n % 1500) : n) % bytes.length)
      const damage = fc.record({
        end: fc.oneof(
          { weight: 3, arbitrary: fc.constant(bytes.length) },
          { weight: 1, arbitrary: fc.nat(bytes.length) },
        ),
        flips: fc.array(fc.tuple(place, fc.nat(7)), { maxLength: 20 }),
        words: fc.array(fc.tuple(place, fc.constantFrom(0, 0x7f, 0xff)), { maxLength: 2 }),
      })
      let opened = 0
      await fc.assert(
        fc.asyncProperty(damage, async ({ end, flips, words }) => {
          const copy = Buffer.from(bytes)
          for (const [at, bit] of flips) copy[at]! ^= 1 << bit
          for (const [at, value] of words) copy.fill(value, at, at + 4)
          const path = fileOf('fuzz', copy.subarray(0, end))
          try {
            await readThrough(path)
            opened++
          } catch (error) {
            if (!(error instanceof VideoError)) throw error
            expect(error.message.length).toBeGreaterThan(0)
          }
          expect(openFiles(folder)).toEqual([])
        }),
        { numRuns: 60, seed: 6, endOnFailure: true },
      )
      expect(opened).toBeGreaterThan(0)
    },
  )
})

describe('without libav', () => {
  const script = `
    const { openVideo } = await import(${JSON.stringify(fileURLToPath(new URL('../../src/video/open.ts', import.meta.url)))})
    try { (await openVideo(process.argv[1])).close(); console.log('opened') }
    catch (error) { console.log(error.name, error.code, error.message) }`
  const open = (path: string) => {
    const { stdout } = Bun.spawnSync([process.execPath, '-e', script, path], {
      env: { ...process.env, RNB_LIBAV_DIR: folder },
    })
    return stdout.toString()
  }

  test('the error says what to install', () => {
    const riff = Buffer.from('RIFF\x00\x01\x00\x00AVI LIST\x00\x00\x00\x00hdrl'.padEnd(400, '\0'), 'latin1')
    const said = open(fileOf('unknown.avi', riff))
    expect(said).toStartWith('VideoError unsupported_container')
    expect(said).toContain('RNB_LIBAV_DIR')
  })

  test.skipIf(!haveVideos)('what mediabunny reads opens all the same', () => {
    expect(open(`${videosFolder}tenframes-1280x720-h264.mp4`)).toBe('opened\n')
  })
})
