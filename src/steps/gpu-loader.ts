import { ptr } from 'bun:ffi'
import { upload } from '../../ffi/cuda/memory.ts'
import type { DevicePointer } from '../../ffi/cuda/types.ts'
import { type ClipLayout, type ClipPlace, clipFrameBytes } from '../../kernels/clip.ts'
import { ClipKernel } from '../compute/cuda/clip.ts'
import type { Item } from '../queue/item.ts'
import { elements } from '../queue/tensor.ts'
import { clipParameters } from '../video/nvdec/clip-parameters.ts'
import { NvdecDecoder } from '../video/nvdec/decoder.ts'
import { fencesOf } from '../video/nvdec/fence.ts'
import { DecoderPool } from '../video/nvdec/pool.ts'
import { NvdecRefusal } from '../video/nvdec/refusal.ts'
import type { SurfaceFrame } from '../video/nvdec/surface.ts'
import type { Preprocessing } from '../video/preprocess.ts'
import type { Clip, Video } from '../video/types.ts'
import type { ClipOptions } from './clip-options.ts'
import { ClipReader, clipShape, preprocessingOf } from './clip-reader.ts'
import { loadClips, type ReadFacts, wantedFrames } from './clips.ts'
import type { Emit, StepContext, StepGpu, StepInstance } from './step.ts'

/** Channels of a pixel as networks on a GPU take it: R, G, B, and zeros up to a multiple of 16 bytes. */
const CHANNELS = 8
const LAYOUT: ClipLayout = { kind: 'f16', channels: CHANNELS }
const HALF_BYTES = 2

/** Largest clip tensor on a GPU: [clips, frames, size, size, channels]. */
export function gpuClipShape(options: ClipOptions): number[] {
  const [clips, , frames, size] = clipShape(options) as [number, number, number, number, number]
  return [clips, frames, size, size, CHANNELS]
}

/** Decodes with the GPU's engines into clip tensors; frames never leave the GPU. */
class NvdecReader {
  readonly #decoder: NvdecDecoder
  readonly #kernel = new ClipKernel()
  readonly #preprocessing: Preprocessing

  constructor(
    readonly options: ClipOptions,
    readonly gpu: StepGpu,
  ) {
    this.#preprocessing = preprocessingOf(options)
    this.#decoder = new NvdecDecoder({
      pool: new DecoderPool(gpu.decoders!),
      stream: gpu.stream,
      makeFence: fencesOf(gpu.stream),
    })
  }

  /** @throws {NvdecRefusal} if the engines do not take this video */
  async read(video: Video, clips: readonly Clip[], out: DevicePointer): Promise<ReadFacts> {
    const { clip_frames: frames, size } = this.options
    const { indices, places } = wantedFrames(clips)
    const frameBytes = clipFrameBytes(LAYOUT, size)
    const placesOf = ({ index, luma, chroma }: SurfaceFrame): ClipPlace[] =>
      (places.get(index) ?? []).map(({ clip, time }) => ({
        luma,
        chroma,
        out: out + (clip * frames + time) * frameBytes,
      }))
    const framesDecoded = await this.#decoder.decode(
      video.info,
      video.packets(indices),
      indices,
      surfaces => {
        // Frames of one hand-over have one format, but for a stream that changes it half-way.
        for (const surface of surfaces) {
          const parameters = clipParameters(surface, video.info.rotation, this.#preprocessing, LAYOUT, frames)
          this.#kernel.launch(parameters, placesOf(surface), this.gpu.stream)
        }
      },
    )
    return { framesNeeded: indices.length, framesDecoded, decoder: this.#decoder.name }
  }

  close(): void {
    this.#decoder.close()
    this.#kernel.close()
  }
}

/** Decodes on the CPU and uploads the clips. */
class UploadingReader {
  readonly #reader: ClipReader
  readonly #planes: Float32Array
  readonly #pixels: Float16Array<ArrayBuffer>

  constructor(
    readonly options: ClipOptions,
    readonly gpu: StepGpu,
  ) {
    this.#reader = new ClipReader(options)
    this.#planes = new Float32Array(elements(clipShape(options)))
    this.#pixels = new Float16Array(new ArrayBuffer(HALF_BYTES * elements(gpuClipShape(options))))
  }

  async read(video: Video, clips: readonly Clip[], out: DevicePointer): Promise<ReadFacts> {
    const facts = await this.#reader.read(video, clips, this.#planes)
    const length = this.#interleave(clips.length)
    // From memory that is not page-locked, it has been read when the call returns: it can be written again.
    upload(out, ptr(this.#pixels), HALF_BYTES * length, this.gpu.stream)
    this.gpu.copied('upload', HALF_BYTES * length)
    return facts
  }

  /** [clips, 3, frames, size, size] in float32 -> [clips, frames, size, size, channels] in float16. */
  #interleave(clips: number): number {
    const { clip_frames: frames, size } = this.options
    const plane = frames * size * size
    for (let clip = 0; clip < clips; clip++)
      for (let c = 0; c < 3; c++) {
        let from = (clip * 3 + c) * plane
        const end = from + plane
        for (let to = clip * plane * CHANNELS + c; from < end; from++, to += CHANNELS)
          this.#pixels[to] = this.#planes[from]!
      }
    return clips * plane * CHANNELS
  }

  close(): void {
    this.#reader.close()
  }
}

/** Reads clips into a GPU's memory: with its engines, or on the CPU what these do not take. */
export class GpuReader {
  readonly #nvdec: NvdecReader | undefined
  #uploading: UploadingReader | undefined

  /** @param engines whether to use the GPU's decoders at all */
  constructor(
    readonly options: ClipOptions,
    readonly gpu: StepGpu,
    engines: boolean,
  ) {
    if (engines) this.#nvdec = new NvdecReader(options, gpu)
  }

  /** @param out room for the clips, as `gpuClipShape` says; filled once the stream has come this far */
  async read(video: Video, clips: readonly Clip[], out: DevicePointer): Promise<ReadFacts> {
    try {
      if (this.#nvdec) return await this.#nvdec.read(video, clips, out)
    } catch (error) {
      if (!(error instanceof NvdecRefusal)) throw error
      const facts = await this.#onCpu(video, clips, out)
      return { ...facts, decoder: `${facts.decoder} (not nvdec: ${error.reason})` }
    }
    return this.#onCpu(video, clips, out)
  }

  #onCpu(video: Video, clips: readonly Clip[], out: DevicePointer): Promise<ReadFacts> {
    this.#uploading ??= new UploadingReader(this.options, this.gpu)
    return this.#uploading.read(video, clips, out)
  }

  close(): void {
    this.#nvdec?.close()
    this.#uploading?.close()
  }
}

/** One thread of a loader on a GPU: on its engines, or, past `decoders` threads, on the CPU. */
export class GpuLoader implements StepInstance {
  readonly #reader: GpuReader

  constructor(readonly context: StepContext) {
    const engines = context.worker < context.decoders
    this.#reader = new GpuReader(context.options as ClipOptions, context.gpu!, engines)
  }

  async run(items: readonly Item[], emit: Emit): Promise<void> {
    for (const item of items)
      await loadClips(this.context, item, emit, (video, clips, out) =>
        this.#reader.read(video, clips, this.context.gpu!.address(out, 0).pointer),
      )
  }

  close(): void {
    this.#reader.close()
  }
}
