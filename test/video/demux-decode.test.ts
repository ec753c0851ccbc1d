import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  BufferTarget,
  EncodedPacket,
  EncodedVideoPacketSource,
  MkvOutputFormat,
  MpegTsOutputFormat,
  Output,
} from 'mediabunny'
import { Rng } from '../../src/rng.ts'
import { ContainerDemuxer } from '../../src/video/container-demuxer.ts'
import { LibavDecoder } from '../../src/video/libav-decoder.ts'
import { openVideo } from '../../src/video/open.ts'
import type { Video } from '../../src/video/types.ts'
import { bottomLuma, codedFields, isReference, topLuma } from './demux-fields.ts'
import { cleanVideos, frameMd5, haveVideos, md5Of, range, truth, videosFolder } from './demux-shared.ts'

let decoder: LibavDecoder
beforeAll(() => {
  decoder = new LibavDecoder()
})
afterAll(() => decoder.close())

async function md5s(video: Video, wanted: number[], by = decoder): Promise<Map<number, string>> {
  const seen = new Map<number, string>()
  await by.decode(video.info, video.packets(wanted), wanted, frame => {
    seen.set(frame.index, frameMd5(frame))
  })
  return seen
}

/** Frames of some clips, ascending. */
function clips(frames: number, count: number, rng: Rng): number[] {
  const wanted = new Set<number>()
  for (let i = 0; i < count; i++) {
    const length = Math.min(frames, 1 + rng.int(12))
    for (const index of range(rng.int(frames - length + 1), length)) wanted.add(index)
  }
  return [...wanted].sort((a, b) => a - b)
}

describe.skipIf(!haveVideos)('frames in any order', () => {
  test.each(cleanVideos)(
    '%s: random clips have the frames of a full decode, which has FFmpeg’s',
    async name => {
      const video = await openVideo(videosFolder + name)
      try {
        const all = await md5s(video, range(0, video.frames))
        expect(md5Of([...all.values()].join('\n'))).toBe(truth[name]!.frames_md5)
        const rng = Rng.of(1, name)
        // Large pictures take longest, and are no different.
        const requests = video.info.width > 600 ? 4 : 10
        for (let request = 0; request < requests; request++) {
          const wanted = clips(video.frames, 1 + (request % 3), rng)
          // One that has seen nothing of this video yet: the other knows more of the stream than it would.
          const fresh = new LibavDecoder()
          const seen = await md5s(video, wanted, fresh).finally(() => fresh.close())
          expect([...seen]).toEqual(wanted.map(index => [index, all.get(index)!]))
        }
      } finally {
        video.close()
      }
    },
  )
})

describe('H.264 with a packet for each field', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rnb-fields-'))
  afterAll(() => rmSync(folder, { recursive: true }))

  const formats = { ts: () => new MpegTsOutputFormat(), mkv: () => new MkvOutputFormat() }
  test.each(['ts', 'mkv'] as const)('in %s: two packets make a frame', async extension => {
    const frames = 12
    const output = new Output({ format: formats[extension](), target: new BufferTarget() })
    const source = new EncodedVideoPacketSource('avc')
    output.addVideoTrack(source)
    await output.start()
    const meta = { decoderConfig: { codec: 'avc1.4d000a', codedWidth: 16, codedHeight: 32 } }
    const fields = codedFields(frames)
    for (const [i, { data, key }] of fields.entries()) {
      await source.add(new EncodedPacket(data, key ? 'key' : 'delta', i / 50, 1 / 50), meta)
    }
    await output.finalize()
    const path = join(folder, `fields.${extension}`)
    writeFileSync(path, new Uint8Array(output.target.buffer!))

    const video = await new ContainerDemuxer().open(path)
    expect(video.frames).toBe(frames)
    const wanted = [0, 5, 6, 11]
    const seen: number[][] = []
    const decoded = await decoder.decode(video.info, video.packets(wanted), wanted, ({ index, planes }) => {
      const { data, stride } = planes[0]!
      seen.push([index, data[0]!, data[stride]!])
    })
    expect(seen).toEqual(wanted.map(frame => [frame, topLuma(frame), bottomLuma(frame)]))
    expect(decoded).toBe(range(0, 12).filter(frame => isReference(frame) || wanted.includes(frame)).length)
    video.close()
  })
})
