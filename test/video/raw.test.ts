import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { libavStatus } from '../../ffi/libav/library.ts'
import { LibavDecoder } from '../../src/video/libav-decoder.ts'
import { openVideo } from '../../src/video/open.ts'

const folder = mkdtempSync(join(tmpdir(), 'rnb-raw-'))
afterAll(() => rmSync(folder, { recursive: true }))
const haveLibav = libavStatus().ok
if (!haveLibav) console.warn('skipping raw video: there is no libav')

/** A YUV4MPEG2 file of frames whose samples count up from the frame's number. */
function y4m(name: string, colour: string, width: number, height: number, chroma: number, frames: number) {
  const bytes = width * height + 2 * chroma
  const parts = [Buffer.from(`YUV4MPEG2 W${width} H${height} F25:1 Ip A1:1 C${colour}\n`)]
  for (let frame = 0; frame < frames; frame++) {
    parts.push(Buffer.from('FRAME\n'), Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => frame + i)))
  }
  const path = join(folder, name)
  writeFileSync(path, Buffer.concat(parts))
  return path
}

describe.skipIf(!haveLibav)('raw video', () => {
  test.each([
    { colour: '420jpeg', format: 'yuv420p', chroma: 16 * 12 },
    { colour: '422', format: 'yuv422p', chroma: 16 * 24 },
    { colour: '444', format: 'yuv444p', chroma: 32 * 24 },
  ])('y4m of $colour is decoded as $format, every sample as written', async ({ colour, format, chroma }) => {
    const video = await openVideo(y4m(`${colour}.y4m`, colour, 32, 24, chroma, 20))
    const decoder = new LibavDecoder()
    try {
      expect([video.info.codec, video.frames, video.info.width, video.info.height]).toEqual([
        'rawvideo',
        20,
        32,
        24,
      ])
      const seen: number[] = []
      await decoder.decode(video.info, video.packets([0, 7, 8, 19]), [0, 7, 8, 19], frame => {
        expect(frame.format).toBe(format)
        let at = frame.index
        frame.planes.forEach(({ data, stride }, plane) => {
          const samples = plane === 0 ? 32 * 24 : chroma
          const columns = plane === 0 || format === 'yuv444p' ? 32 : 16
          for (let i = 0; i < samples; i++, at++)
            expect(data[Math.floor(i / columns) * stride + (i % columns)]).toBe(at & 255)
        })
        seen.push(frame.index)
      })
      expect(seen).toEqual([0, 7, 8, 19])
    } finally {
      decoder.close()
      video.close()
    }
  })

  test('one decoder goes from one pixel format to another', async () => {
    const decoder = new LibavDecoder()
    const formats: string[] = []
    for (const [colour, chroma] of [
      ['420jpeg', 192],
      ['444', 768],
      ['420jpeg', 192],
    ] as const) {
      const video = await openVideo(y4m(`again-${colour}.y4m`, colour, 32, 24, chroma, 3))
      await decoder.decode(video.info, video.packets([1]), [1], frame => formats.push(frame.format))
      video.close()
    }
    decoder.close()
    expect(formats).toEqual(['yuv420p', 'yuv444p', 'yuv420p'])
  })
})
