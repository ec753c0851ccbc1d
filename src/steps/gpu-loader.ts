import { allocate, free, type Purpose } from '../../ffi/cuda/memory.ts'
import { synchronizeStream } from '../../ffi/cuda/stream.ts'
import type { DevicePointer } from '../../ffi/cuda/types.ts'
import { libavStatus } from '../../ffi/libav/library.ts'
import { giveWay } from '../../ffi/libc.ts'
import { ClipKernel } from '../compute/cuda/clip.ts'
import { VideoError } from '../errors.ts'
import type { Item } from '../queue/item.ts'
import { tensorBytes } from '../queue/tensor.ts'
import { KeptClipParameters } from '../video/nvdec/clip-parameters.ts'
import { NvdecDecoder } from '../video/nvdec/decoder.ts'
import { fencesOf } from '../video/nvdec/fence.ts'
import { DecoderPool } from '../video/nvdec/pool.ts'
import { NvdecRefusal } from '../video/nvdec/refusal.ts'
import type { SurfaceFrame } from '../video/nvdec/surface.ts'
import { openVideo } from '../video/open.ts'
import type { Rotation } from '../video/preprocess/taps.ts'
import type { Clip, Video } from '../video/types.ts'
import type { ClipOptions } from './clip-options.ts'
import { preprocessingOf } from './clip-reader.ts'
import {
  clipsOf,
  type FramePlace,
  helpLoading,
  loadClips,
  type ReadClips,
  type ReadFacts,
  wantedFrames,
} from './clips.ts'
import { clipPlaces, GPU_LAYOUT, gpuClipShape } from './gpu-clips.ts'
import { UploadingReader } from './gpu-uploads.ts'
import type { Emit, Piece, StepContext, StepGpu, StepInstance } from './step.ts'

/** Decodes with the GPU's engines into clip tensors; frames never leave the GPU. */
class NvdecReader {
  readonly #pool: DecoderPool
  readonly #decoder: NvdecDecoder
  readonly #kernel = new ClipKernel()
  readonly #parameters: KeptClipParameters

  constructor(
    readonly options: ClipOptions,
    readonly gpu: StepGpu,
  ) {
    this.#parameters = new KeptClipParameters(preprocessingOf(options), GPU_LAYOUT, options.clip_frames)
    this.#pool = new DecoderPool(gpu.decoders!)
    this.#decoder = new NvdecDecoder({
      pool: this.#pool,
      stream: gpu.stream,
      makeFence: fencesOf(gpu.stream),
    })
  }

  /** @throws {NvdecRefusal} if the engines do not take this video */
  async read(video: Video, clips: readonly Clip[], out: DevicePointer): Promise<ReadFacts> {
    const { indices, places } = wantedFrames(clips)
    const framesDecoded = await this.#decoder.decode(video.info, video.packets(indices), indices, surfaces =>
      this.#makeClips(surfaces, video.info.rotation, places, out),
    )
    return { framesNeeded: indices.length, framesDecoded, decoder: this.#decoder.name }
  }

  /** Does `work` with a decoder of its own, as far as there is room for one: other threads do the same. */
  async filling<T>(work: () => Promise<T>): Promise<T> {
    this.#pool.fills = true
    try {
      return await work()
    } finally {
      this.#pool.fills = false
    }
  }

  /** One launch for surfaces that were handed over together: they have one format. */
  #makeClips(
    surfaces: readonly SurfaceFrame[],
    rotation: Rotation,
    places: ReadonlyMap<number, FramePlace[]>,
    out: DevicePointer,
  ): void {
    const parameters = this.#parameters.of(surfaces[0]!, rotation)
    const at = surfaces.flatMap(surface => clipPlaces(surface, places.get(surface.index), this.options, out))
    this.#kernel.launch(parameters, at, this.gpu.stream)
  }

  close(): void {
    this.#decoder.close()
    this.#kernel.close()
  }
}

/**
 * Why a video that the engines failed at is tried on the CPU; undefined if it is not. libav has the last word on damage:
 * it finds where exactly that begins and ends, where the engines only say that something is wrong.
 */
function whyOnCpu(error: unknown): string | undefined {
  if (!(error instanceof VideoError) || !libavStatus().ok) return undefined
  if (error instanceof NvdecRefusal) return error.reason
  return error.code === 'damaged' ? 'damage suspected' : undefined
}

/** What a video that neither the engines nor libav take fails with: what both said. */
function neitherTakes(engines: unknown, libav: unknown): unknown {
  if (!(engines instanceof NvdecRefusal) || !(libav instanceof VideoError)) return libav
  if (!libav.code.startsWith('unsupported')) return libav
  return new VideoError(libav.code, `${engines.message}, and ${libav.message}`)
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

  /**
   * @param out room for the clips, as `gpuClipShape` says; filled once the stream has come this far
   * @throws {VideoError}
   */
  async read(video: Video, clips: readonly Clip[], out: DevicePointer): Promise<ReadFacts> {
    if (!this.#nvdec) return this.#onCpu(video, clips, out)
    try {
      return await this.#nvdec.read(video, clips, out)
    } catch (error) {
      const reason = whyOnCpu(error)
      if (reason === undefined) throw error
      const facts = await this.#onCpu(video, clips, out).catch(failure => {
        throw neitherTakes(error, failure)
      })
      return { ...facts, decoder: `${facts.decoder} (not nvdec: ${reason})` }
    }
  }

  /**
   * Reads a clip of a video that the thread may well be the first to read, so that no clock runs while decoders are made
   * (tens of milliseconds each, one after the other), kernels loaded and code compiled. What is wrong with the video is
   * left for the run to say.
   */
  async warmUp({ name, worker, requests, video: pathOf, settings }: StepContext): Promise<void> {
    if (requests === 0) return
    const request = worker % requests
    try {
      const video = await openVideo(pathOf(request))
      try {
        const clips = clipsOf(video, this.options, settings.seed, request).slice(0, 1)
        const purpose = { what: `a clip for the warm-up of ${name}`, lower: 'in_flight' }
        const read = (out: DevicePointer) => this.read(video, clips, out)
        const warm = () => this.#withScratch(purpose, read)
        await (this.#nvdec ? this.#nvdec.filling(warm) : warm())
      } finally {
        video.close()
      }
    } catch (error) {
      if (!(error instanceof VideoError)) throw error
    }
  }

  /** Does `work` with room for one clip, until the stream is done with it. @throws {NativeError} if there is no memory */
  async #withScratch<T>(purpose: Purpose, work: (out: DevicePointer) => Promise<T>): Promise<T> {
    const [, ...clip] = gpuClipShape(this.options)
    const out = allocate(tensorBytes({ shape: [1, ...clip], type: 'f16' }), purpose)
    try {
      return await work(out)
    } finally {
      try {
        synchronizeStream(this.gpu.stream)
      } finally {
        free(out)
      }
    }
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
  readonly #read: ReadClips = (video, clips, out) =>
    this.#reader.read(video, clips, this.context.gpu!.address(out, 0).pointer)

  constructor(readonly context: StepContext) {
    const engines = context.worker < context.decoders
    // Threads that keep the GPU busy need a core for little, and at once: these take what is left.
    if (!engines) giveWay()
    this.#reader = new GpuReader(context.options as ClipOptions, context.gpu!, engines)
  }

  warmUp(): Promise<void> {
    return this.#reader.warmUp(this.context)
  }

  async run(items: readonly Item[], emit: Emit): Promise<void> {
    for (const item of items) await loadClips(this.context, item, emit, this.#read)
  }

  help(out: Item, piece: Piece): Promise<ReadFacts> {
    return helpLoading(this.context, out, piece, this.#read)
  }

  close(): void {
    this.#reader.close()
  }
}
