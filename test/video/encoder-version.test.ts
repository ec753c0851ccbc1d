import { expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { LibavDecoder } from '../../src/video/libav-decoder.ts'
import { openVideo } from '../../src/video/open.ts'

const FILE = join(import.meta.dir, '../../../shared/videos/cockatoo-1280x720-h264-yuv444.mp4')
if (!existsSync(FILE)) console.warn('skipped: ../shared/videos is not here')

/** Sums of the planes of each wanted frame: enough to tell right from wrong. */
async function frames(decoder: LibavDecoder, wanted: number[]): Promise<number[]> {
  const video = await openVideo(FILE)
  const sums: number[] = []
  try {
    await decoder.decode(video.info, video.packets(wanted), wanted, ({ planes, width, height }) => {
      let sum = 0
      for (const { data, stride } of planes)
        for (let y = 0; y < height; y++)
          for (let x = 0; x < width; x++) sum += data[y * stride + x]! * (x + y + 1)
      sums.push(sum)
    })
  } finally {
    video.close()
  }
  return sums
}

test.skipIf(!existsSync(FILE))(
  'a 4:4:4 stream of an old x264 decodes from any keyframe as it does from its start',
  async () => {
    const whole = new LibavDecoder()
    const wanted = [100, 101, 102, 200, 201]
    const expected = await frames(whole, [0, ...wanted])
    for (const clip of [wanted.slice(0, 3), wanted.slice(3)]) {
      // A decoder that has seen nothing of the stream's first packet.
      const fresh = new LibavDecoder()
      const from = 1 + wanted.indexOf(clip[0]!)
      expect(await frames(fresh, clip)).toEqual(expected.slice(from, from + clip.length))
      fresh.close()
    }
    whole.close()
  },
)
