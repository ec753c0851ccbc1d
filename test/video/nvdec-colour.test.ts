import { describe, expect, test } from 'bun:test'
import { basename, join } from 'node:path'
import { libavStatus } from '../../ffi/libav/library.ts'
import type { VideoFormat } from '../../ffi/nvcuvid/parser.ts'
import { LibavDecoder } from '../../src/video/libav-decoder.ts'
import { streamColour } from '../../src/video/nvdec/colour.ts'
import { openVideo } from '../../src/video/open.ts'
import type { Colour, Packet, StreamInfo } from '../../src/video/types.ts'
import { cleanVideos, haveVideos, truth, videosFolder } from './demux-shared.ts'

const format = (matrix: number, fullRange: boolean): VideoFormat => ({
  codec: 4,
  chroma: 1,
  depth: 8,
  chromaDepth: 8,
  codedWidth: 64,
  codedHeight: 64,
  left: 0,
  top: 0,
  right: 64,
  bottom: 64,
  minSurfaces: 4,
  matrix,
  fullRange,
})
const info = (codec: string, colour: Colour): StreamInfo => ({
  codec,
  width: 64,
  height: 64,
  rotation: 0,
  colour,
})
const NOTHING = new Uint8Array(0)

/** The header of a VP9 keyframe of profile 0, up to its colour. */
function vp9Header(colourSpace: number, range: number): Uint8Array {
  const bits = `10${'00'}${'0'}${'0'}${'1'}${'0'}${(0x498342).toString(2).padStart(24, '0')}${colourSpace.toString(2).padStart(3, '0')}${range}`
  return Uint8Array.from(bits.padEnd(64, '0').match(/.{8}/g)!, byte => parseInt(byte, 2))
}

describe('the colour of a stream', () => {
  test('is its own; where it says nothing, the container’s', () => {
    const container: Colour = { matrix: 6, fullRange: false }
    expect(streamColour(format(1, true), info('h264', container), NOTHING)).toEqual({
      matrix: 1,
      fullRange: true,
    })
    expect(streamColour(format(2, false), info('h264', container), NOTHING)).toEqual(container)
    expect(streamColour(format(0, false), info('hevc', { fullRange: true }), NOTHING)).toEqual({
      fullRange: true,
    })
    expect(streamColour(format(2, false), info('hevc', {}), NOTHING)).toEqual({})
  })

  test('of VP9 is in its keyframes', () => {
    const of = (space: number, range: number, container: Colour = {}) =>
      streamColour(format(0, false), info('vp9', container), vp9Header(space, range))
    expect(of(2, 0)).toEqual({ matrix: 1, fullRange: false })
    expect(of(5, 1)).toEqual({ matrix: 9, fullRange: true })
    expect(of(0, 0, { matrix: 1 })).toEqual({ matrix: 1, fullRange: false })
    expect(streamColour(format(0, false), info('vp9', { matrix: 1 }), NOTHING)).toEqual({ matrix: 1 })
  })

  test('of VP8 is BT.601', () => {
    expect(streamColour(format(0, false), info('vp8', { matrix: 1 }), NOTHING)).toEqual({ matrix: 5 })
  })
})

const vpx = [
  ...cleanVideos
    .filter(name => truth[name]!.codec_name === 'vp9' && (libavStatus().ok || !name.endsWith('.avi')))
    .map(name => videosFolder + name),
  ...['vp8-181x149.webm', 'vp9-181x149.webm', 'vp9-10bit-180x148.webm'].map(name =>
    join(import.meta.dir, '../gpu/fixtures', name),
  ),
]
describe.skipIf(!libavStatus().ok || !haveVideos)('VP8 and VP9 as libav reads them', () => {
  test.each(vpx.map(path => [basename(path), path] as const))('%s', async (_, path) => {
    const video = await openVideo(path)
    const decoder = new LibavDecoder()
    let theirs: Colour | undefined
    const packets: Packet[] = []
    for await (const packet of video.packets([0])) packets.push(packet)
    await decoder.decode(video.info, packets, [0], frame => {
      theirs = frame.colour
    })
    const ours: Colour = { fullRange: false, ...streamColour(format(2, false), video.info, packets[0]!.data) }
    expect(ours).toEqual(theirs!)
    decoder.close()
    video.close()
  })
})
