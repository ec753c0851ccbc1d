import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { allocate, fillBytes, free } from '../../ffi/cuda/memory.ts'
import type { DevicePointer } from '../../ffi/cuda/types.ts'
import { libavStatus } from '../../ffi/libav/library.ts'
import { CLIP_FRAMES, type ClipLayout, clipFrameBytes } from '../../kernels/clip.ts'
import { ClipKernel } from '../../src/compute/cuda/clip.ts'
import { LibavDecoder } from '../../src/video/libav-decoder.ts'
import { clipParameters } from '../../src/video/nvdec/clip-parameters.ts'
import { openVideo } from '../../src/video/open.ts'
import {
  defaultPreprocessing,
  type Formula,
  type Preprocessing,
  preprocess,
  type Rotation,
} from '../../src/video/preprocess.ts'
import type { Frame, Video } from '../../src/video/types.ts'
import { haveVideos, range, videosFolder } from '../video/demux-shared.ts'
import { haveNvdec, TestGpu } from './nvdec-shared.ts'

const SIZE = 112
const FRAMES = 8
const STEP = 1 / 255

setDefaultTimeout(60_000)

let gpu: TestGpu
let kernel: ClipKernel
let memory: DevicePointer
let decoder: LibavDecoder | undefined
const MEMORY = 3 * 4 * FRAMES * SIZE * SIZE * 4
beforeAll(() => {
  if (!haveNvdec) return
  if (libavStatus().ok) decoder = new LibavDecoder()
  gpu = new TestGpu()
  kernel = new ClipKernel()
  memory = allocate(MEMORY, { what: 'a clip', lower: 'nothing' })
})
afterAll(() => {
  if (!haveNvdec) return
  decoder?.close()
  free(memory)
  kernel.close()
  gpu.close()
})

/** One clip as the kernel makes it, in device memory, and its frames as NVDEC decoded them. */
async function clipOf(
  video: Video,
  first: number,
  rotation: Rotation,
  preprocessing: Preprocessing,
  layout: ClipLayout,
): Promise<{ bytes: Uint8Array; frames: Frame[] }> {
  const frames: Frame[] = []
  fillBytes(memory, 0xff, MEMORY, gpu.stream)
  const wanted = range(first, FRAMES)
  await gpu.decoder.decode(video.info, video.packets(wanted), wanted, surfaces => {
    frames.push(...surfaces.map(surface => gpu.frame(surface)))
    const parameters = clipParameters(surfaces[0]!, rotation, preprocessing, layout, FRAMES)
    const places = surfaces.map(({ index, luma, chroma }) => {
      return { luma, chroma, out: memory + (index - first) * clipFrameBytes(layout, SIZE) }
    })
    kernel.launch(parameters, places, gpu.stream)
  })
  const channels = layout.kind === 'planes' ? 3 : 1
  return { bytes: gpu.bytes(memory, channels * FRAMES * clipFrameBytes(layout, SIZE)), frames }
}

/** The clip [3, frames, size, size] that the CPU makes of frames. */
function cpuClip(frames: readonly Frame[], rotation: Rotation, preprocessing: Preprocessing): Float32Array {
  const out = new Float32Array(3 * FRAMES * SIZE * SIZE)
  frames.forEach((frame, t) => {
    preprocess(frame, rotation, preprocessing, out, {
      offset: t * SIZE * SIZE,
      channelStride: FRAMES * SIZE * SIZE,
    })
  })
  return out
}

/** The value of channel c, frame t, pixel p; NaN where nothing was written. */
function reader(bytes: Uint8Array, layout: ClipLayout): (c: number, t: number, p: number) => number {
  const floats = layout.kind === 'f16' ? new Float16Array(bytes.buffer) : new Float32Array(bytes.buffer)
  if (layout.kind === 'planes') return (c, t, p) => floats[(c * FRAMES + t) * SIZE * SIZE + p]!
  return (c, t, p) => floats[(t * SIZE * SIZE + p) * layout.channels + c]!
}

/** The largest difference of R, G or B in 0..1 from the CPU's, over all pixels; NaN if any is. */
function worst(bytes: Uint8Array, layout: ClipLayout, wanted: Float32Array, { std }: Preprocessing): number {
  const value = reader(bytes, layout)
  let most = 0
  for (let c = 0; c < 3; c++)
    for (let t = 0; t < FRAMES; t++)
      for (let p = 0; p < SIZE * SIZE; p++) {
        const difference = Math.abs(value(c, t, p) - wanted[(c * FRAMES + t) * SIZE * SIZE + p]!) * std[c]!
        if (!(difference <= most)) most = difference
      }
  return most
}

const LAYOUTS: ClipLayout[] = [
  { kind: 'planes' },
  { kind: 'f16', channels: 4 },
  { kind: 'f16', channels: 8 },
  { kind: 'f32', channels: 4 },
  { kind: 'f32', channels: 8 },
]
const VIDEOS = [
  'kinetics-340x256-h264.mp4',
  'kinetics-340x256-hevc10.mkv',
  'kinetics-340x256-vp9.webm',
  'bunny-rotated90.mp4',
  'discs-640x465-h264.mov',
  'fullrange-bt709-256x256-h264.mp4',
  'interlaced-320x240-h264.mp4',
  'phone-1920x1080-h264.mp4',
]
const FIXTURES = ['vp8-181x149.webm', 'hevc-full-178x150.mp4']
const pathOf = (name: string) =>
  FIXTURES.includes(name) ? join(import.meta.dir, 'fixtures', name) : join(videosFolder, name)

describe.skipIf(!haveNvdec || !haveVideos)('clip tensors on the GPU', () => {
  test.each([...VIDEOS, ...FIXTURES])('%s', async name => {
    const video = await openVideo(pathOf(name))
    const most: Record<string, number> = {}
    try {
      for (const formula of ['rnb', 'torchvision'] satisfies Formula[]) {
        const preprocessing = defaultPreprocessing(formula, SIZE)
        const rotations: Rotation[] = [video.info.rotation, formula === 'rnb' ? 180 : 270]
        for (const rotation of rotations) {
          for (const layout of rotation === video.info.rotation ? LAYOUTS : LAYOUTS.slice(0, 1)) {
            const { bytes, frames } = await clipOf(video, 5, rotation, preprocessing, layout)
            const difference = worst(bytes, layout, cpuClip(frames, rotation, preprocessing), preprocessing)
            const kind = `${formula} ${layout.kind}`
            most[kind] = Math.max(most[kind] ?? 0, difference)
            expect(difference).toBeLessThan(STEP)
            if (layout.kind !== 'f16') expect(difference).toBeLessThan(1e-5)
            if (layout.kind === 'planes') continue
            const value = reader(bytes, layout)
            for (let c = 3; c < layout.channels; c++)
              for (let p = 0; p < SIZE * SIZE; p++)
                if (value(c, 3, p) !== 0) throw new Error('padding is not 0')
          }
        }
        if (!decoder) continue
        // The whole way on the CPU: what the streams say of colour and size is read by another hand.
        const rotation = video.info.rotation
        const { bytes } = await clipOf(video, 5, rotation, preprocessing, { kind: 'planes' })
        const out = new Float32Array(3 * FRAMES * SIZE * SIZE)
        const wanted = range(5, FRAMES)
        await decoder.decode(video.info, video.packets(wanted), wanted, frame => {
          preprocess(frame, rotation, preprocessing, out, {
            offset: (frame.index - 5) * SIZE * SIZE,
            channelStride: FRAMES * SIZE * SIZE,
          })
        })
        most[`${formula} libav`] = worst(bytes, { kind: 'planes' }, out, preprocessing)
        expect(most[`${formula} libav`]).toBeLessThan(1e-5)
      }
    } finally {
      console.log(name, JSON.stringify(most))
      video.close()
    }
  })

  test('more frames than one launch takes', async () => {
    const video = await openVideo(pathOf(VIDEOS[0]!))
    const preprocessing = defaultPreprocessing('torchvision', SIZE)
    const layout: ClipLayout = { kind: 'f16', channels: 4 }
    const copies = CLIP_FRAMES + 5
    const frameBytes = clipFrameBytes(layout, SIZE)
    const room = allocate(copies * frameBytes, { what: 'copies', lower: 'nothing' })
    try {
      await gpu.decoder.decode(video.info, video.packets([7]), [7], ([surface]) => {
        const { luma, chroma } = surface!
        const places = range(0, copies).map(i => ({ luma, chroma, out: room + i * frameBytes }))
        kernel.launch(clipParameters(surface!, 0, preprocessing, layout, 1), places, gpu.stream)
      })
      const bytes = gpu.bytes(room, copies * frameBytes)
      const first = bytes.subarray(0, frameBytes)
      expect(first.some(byte => byte !== 0)).toBe(true)
      for (let i = 1; i < copies; i++) {
        expect(Buffer.compare(first, bytes.subarray(i * frameBytes, (i + 1) * frameBytes))).toBe(0)
      }
    } finally {
      free(room)
      video.close()
    }
  })
})
