import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { allocate, fillBytes, free } from '../../ffi/cuda/memory.ts'
import type { DevicePointer } from '../../ffi/cuda/types.ts'
import { libavStatus } from '../../ffi/libav/library.ts'
import { VideoError } from '../../src/errors.ts'
import { elements } from '../../src/queue/tensor.ts'
import type { ClipOptions } from '../../src/steps/clip-options.ts'
import { ClipReader, clipShape } from '../../src/steps/clip-reader.ts'
import { CHANNELS, gpuClipShape } from '../../src/steps/gpu-clips.ts'
import { GpuReader } from '../../src/steps/gpu-loader.ts'
import type { StepGpu } from '../../src/steps/step.ts'
import { openVideo } from '../../src/video/open.ts'
import { haveVideos, videosFolder } from '../video/demux-shared.ts'
import { haveNvdec, TestGpu } from './nvdec-shared.ts'

setDefaultTimeout(60_000)

const CLIPS = 2
const OPTIONS: ClipOptions = {
  num_clips_population: [CLIPS],
  num_clips_weights: [1],
  clip_frames: 8,
  size: 112,
  preprocessing: 'torchvision',
  mean: [0, 0, 0],
  std: [1, 1, 1],
}
const BYTES = 2 * elements(gpuClipShape(OPTIONS))
const haveLibav = libavStatus().ok
if (haveNvdec && !haveLibav) console.warn('skipping uploads of frames decoded on the CPU: there is no libav')

let gpu: TestGpu
let out: DevicePointer
beforeAll(() => {
  if (!haveNvdec) return
  gpu = new TestGpu()
  out = allocate(BYTES, { what: 'clips', lower: 'nothing' })
})
afterAll(() => {
  if (!haveNvdec) return
  free(out)
  gpu.close()
})

const stepGpu = (): StepGpu =>
  ({ context: gpu.context, stream: gpu.stream, decoders: gpu.pool.handle, copied() {} }) as unknown as StepGpu

/** The largest difference of any pixel between clips on the GPU and those of the CPU's own path. */
async function difference(name: string, engines: boolean): Promise<{ largest: number; decoder: string }> {
  const video = await openVideo(videosFolder + name)
  const reader = new GpuReader(OPTIONS, stepGpu(), engines)
  const cpu = new ClipReader(OPTIONS)
  try {
    const clips = [
      { first: 3, count: 8 },
      { first: video.frames - 9, count: 8 },
    ]
    fillBytes(out, 0xff, BYTES, gpu.stream)
    const { decoder } = await reader.read(video, clips, out)
    const pixels = new Float16Array(gpu.bytes(out, BYTES).buffer)
    const planes = new Float32Array(elements(clipShape(OPTIONS)))
    await cpu.read(video, clips, planes)
    const plane = 8 * 112 * 112
    let largest = 0
    for (let clip = 0; clip < CLIPS; clip++)
      for (let c = 0; c < CHANNELS; c++)
        for (let i = 0; i < plane; i++) {
          const value = pixels[(clip * plane + i) * CHANNELS + c]!
          const wanted = c < 3 ? planes[(clip * 3 + c) * plane + i]! : 0
          const apart = Math.abs(value - wanted)
          // Not a number is no match.
          if (!(apart <= largest)) largest = apart
        }
    return { largest, decoder }
  } finally {
    cpu.close()
    reader.close()
    video.close()
  }
}

describe.skipIf(!haveNvdec || !haveVideos || !haveLibav)('clips of frames decoded on the CPU', () => {
  test.each([
    'kinetics-340x256-h264.mp4',
    'kinetics-340x256-hevc10.mkv',
    'bunny-rotated90.mp4',
    'fullrange-bt709-256x256-h264.mp4',
    'discs-640x465-h264.mov',
    'cockatoo-1280x720-h264-yuv444.mp4',
  ])('%s: as the CPU makes them, within 1/255', async name => {
    const { largest, decoder } = await difference(name, false)
    console.log(`${name}: ${(largest * 255).toFixed(3)} / 255`)
    expect(decoder).toBe('libav')
    expect(largest).toBeLessThan(1 / 255)
  })

  test('libav has the last word on damage that the engines report', async () => {
    const name = 'tour-960x540-h264-damaged.mp4'
    const video = await openVideo(videosFolder + name)
    const reader = new GpuReader(OPTIONS, stepGpu(), true)
    const cpu = new ClipReader(OPTIONS)
    const planes = new Float32Array(elements(clipShape(OPTIONS)))
    const codeOf = (reading: Promise<unknown>) =>
      reading.then(
        () => 'read',
        error => (error instanceof VideoError ? error.code : Promise.reject(error)),
      )
    const ours: string[] = []
    const theirs: string[] = []
    for (let first = 0; first + 8 <= video.frames; first += Math.ceil(video.frames / 12)) {
      const clips = [{ first, count: 8 }]
      ours.push(`${first} ${await codeOf(reader.read(video, clips, out))}`)
      theirs.push(`${first} ${await codeOf(cpu.read(video, clips, planes))}`)
    }
    cpu.close()
    reader.close()
    video.close()
    console.log(`${name}: ${theirs.join(', ')}`)
    expect(ours).toEqual(theirs)
  })
})
