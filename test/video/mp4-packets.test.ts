/** Sample tables as they are read here, against mediabunny's reading of them. */
import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { VideoError } from '../../src/errors.ts'
import type { ContainerPackets } from '../../src/video/container-packets.ts'
import { FileReader } from '../../src/video/file-reader.ts'
import { MediabunnyPackets } from '../../src/video/mediabunny-packets.ts'
import { Mp4Packets } from '../../src/video/mp4-packets.ts'
import { readMp4Tables } from '../../src/video/mp4-tables.ts'
import { haveVideos, videosFolder } from './demux-shared.ts'

const folder = mkdtempSync(join(tmpdir(), 'rnb-mp4-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** All that is known of a track, with its packets' data. */
async function all(packets: ContainerPackets, unit: number) {
  const { container, info, times, sizes, keys, unshown } = packets
  const data: unknown[] = []
  for (let position = 0; position < times.length; position++) {
    // The data of a packet that lies beyond the end of the file is not there for either.
    const read = await Promise.resolve(position)
      .then(at => packets.read(at))
      .catch(error => (error as VideoError).code)
    data.push(typeof read === 'string' ? read : Bun.hash(read))
  }
  const start = times[0] ?? 0
  const relative = [...times].map(time => Math.round((time - start) * unit))
  return { container, info, relative, sizes: [...sizes], keys: [...keys], unshown: [...unshown], data }
}

/** What both readers say of a file; nothing of one that is left to mediabunny, or that no one reads. */
async function both(path: string) {
  const file = FileReader.open(path)
  let own: Mp4Packets | undefined
  try {
    const tables = readMp4Tables(file)
    if (tables === undefined || tables.video?.obstacle) return undefined
    own = Mp4Packets.of(file, tables)
    if (own === undefined) return undefined
    const theirs = await MediabunnyPackets.open(FileReader.open(path), tables)
    const timescale = tables.video!.track!.timescale
    const compared = [await all(own, 1), await all(theirs, timescale)] as const
    theirs.close()
    return compared
  } finally {
    if (own) own.close()
    else file.close()
  }
}

const files = ['h264', 'hevc', 'vfr-h264', 'editlist-h264', 'opengop-h264', 'onegop-h264']
  .map(name => (name.includes('-') ? `kinetics-${name}.mp4` : `kinetics-340x256-${name}.mp4`))
  .concat('bunny-rotated90.mp4', 'discs-640x465-h264.mov', 'interlaced-320x240-h264.mp4')
  .concat('phone-1920x1080-h264.mp4', 'ball-720x576-h264-bframes.mp4', 'tenframes-1280x720-h264.mp4')

describe.skipIf(!haveVideos)('tables of an MP4', () => {
  test.each(files)('%s: the same packets as mediabunny finds', async name => {
    const [own, theirs] = (await both(videosFolder + name))!
    expect(own).toEqual(theirs)
  })

  test('of fragments, and of other codecs, are left to mediabunny', async () => {
    expect(await both(`${videosFolder}kinetics-fragmented-h264.mp4`)).toBeUndefined()
    expect(await both(`${videosFolder}kinetics-340x256-av1.mp4`)).toBeUndefined()
  })

  test('damaged ones are read alike, or left to mediabunny, or refused', async () => {
    const bytes = haveVideos ? readFileSync(`${videosFolder}kinetics-vfr-h264.mp4`) : Buffer.alloc(0)
    const index = bytes.indexOf('stbl')
    const place = fc.nat(bytes.length - index - 1).map(at => index + at)
    const path = join(folder, 'damaged.mp4')
    let alike = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(place, fc.nat(255)), { minLength: 1, maxLength: 2 }),
        async damage => {
          const copy = Buffer.from(bytes)
          for (const [at, value] of damage) copy[at] = value
          writeFileSync(path, copy)
          const compared = await both(path).catch(error => {
            if (!(error instanceof VideoError)) throw error
            return undefined
          })
          if (compared === undefined) return
          alike++
          expect(compared[0]).toEqual(compared[1])
        },
      ),
      { numRuns: 400, seed: 11, endOnFailure: true },
    )
    expect(alike).toBeGreaterThan(20)
  })
})
