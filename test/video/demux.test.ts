import { describe, expect, test } from 'bun:test'
import { ContainerDemuxer } from '../../src/video/container-demuxer.ts'
import { Presentation } from '../../src/video/presentation.ts'
import { cleanVideos, haveVideos, keyframeRanks, range, truth, videosFolder } from './demux-shared.ts'

/** The matrices that truth.json's files have, by ITU-T H.273. */
const MATRICES: Record<string, number> = { bt709: 1, smpte170m: 6 }

const files = cleanVideos.filter(name => /\.(mp4|mov|mkv|webm|ts)$/.test(name))

describe.skipIf(!haveVideos)('a video opened with mediabunny', () => {
  test.each(files)('%s is what FFmpeg says', async name => {
    const expected = truth[name]!
    const video = await new ContainerDemuxer().open(videosFolder + name)
    try {
      expect(video.frames).toBe(expected.frames)
      expect(keyframeRanks(video)).toEqual(expected.keyframes!)
      expect(video.info.codec).toBe(expected.codec_name)
      expect([video.info.width, video.info.height]).toEqual([expected.width, expected.height])
      expect(video.info.rotation).toBe(((360 - (expected.rotation ?? 0)) % 360) as 0)
      expect(video.info.colour.matrix).toBe(MATRICES[expected.color_space ?? ''])
      if (expected.color_space) expect(video.info.colour.fullRange).toBe(expected.color_range === 'pc')
    } finally {
      video.close()
    }
  })

  test('frames that do not exist cannot be asked for', async () => {
    const video = await new ContainerDemuxer().open(`${videosFolder}tenframes-1280x720-h264.mp4`)
    expect(() => video.packets([9, 10])).toThrow(RangeError)
    expect(() => video.packets([-1])).toThrow(RangeError)
    video.close()
  })

  test.each([
    'kinetics-340x256-h264.mkv',
    'kinetics-340x256-h264.ts',
    'kinetics-fragmented-h264.mp4',
    'kinetics-340x256-h264.mp4',
  ])('%s: two clips can be read by turns', async name => {
    const video = await new ContainerDemuxer().open(videosFolder + name)
    const read = async (wanted: number[], meanwhile?: Iterator<unknown> | AsyncIterator<unknown>) => {
      const seen: string[] = []
      for await (const { index, data } of video.packets(wanted)) {
        seen.push(`${index} ${Bun.hash(data)}`)
        await meanwhile?.next()
      }
      return seen
    }
    const alone = await read(range(120, 8))
    const packets = video.packets(range(118, 8))
    const other = Symbol.iterator in packets ? packets[Symbol.iterator]() : packets[Symbol.asyncIterator]()
    expect(await read(range(120, 8), other)).toEqual(alone)
    video.close()
  })
})

describe('presentation order', () => {
  test('ranks by time, ties by decode order; what is not shown has negative indices of its own', () => {
    //                          I  P  B  b  b  P
    const times = Float64Array.of(2, 8, 4, 3, 4, 9)
    const order = new Presentation(times, position => position !== 0 && position !== 5)
    expect([...order.rank]).toEqual([0, 4, 2, 1, 3, 5])
    expect([...order.index]).toEqual([-2, 3, 1, 0, 2, -1])
    expect([...order.position]).toEqual([3, 2, 4, 1])
    expect(order.frames).toBe(4)
  })
})
