import { upload } from '../../ffi/cuda/memory.ts'
import type { DevicePointer } from '../../ffi/cuda/types.ts'
import { ClipKernel } from '../compute/cuda/clip.ts'
import { elements } from '../queue/tensor.ts'
import { LibavDecoder } from '../video/libav-decoder.ts'
import { KeptClipParameters } from '../video/nvdec/clip-parameters.ts'
import { fencesOf } from '../video/nvdec/fence.ts'
import { semiPlanarLayout, writeSemiPlanar } from '../video/semi-planar.ts'
import type { Clip, Frame, Video } from '../video/types.ts'
import type { ClipOptions } from './clip-options.ts'
import { ClipReader, clipShape, preprocessingOf } from './clip-reader.ts'
import { type FramePlace, type ReadFacts, wantedFrames } from './clips.ts'
import { CHANNELS, clipPlaces, GPU_LAYOUT, gpuClipShape } from './gpu-clips.ts'
import { FrameStaging } from './gpu-staging.ts'
import type { StepGpu } from './step.ts'

const HALF_BYTES = 2

/** Ends the decoding of a stream whose frames are in no format that the clip kernel reads. */
class OtherFormat extends Error {}

/** Decodes on the CPU; frames become clips on the GPU, but for those in formats that its kernel does not read. */
export class UploadingReader {
  readonly #decoder = new LibavDecoder()
  readonly #kernel = new ClipKernel()
  readonly #parameters: KeptClipParameters
  readonly #staging: FrameStaging
  #clips: ClipUploader | undefined

  constructor(
    readonly options: ClipOptions,
    readonly gpu: StepGpu,
  ) {
    this.#parameters = new KeptClipParameters(preprocessingOf(options), GPU_LAYOUT, options.clip_frames)
    this.#staging = new FrameStaging(gpu.stream, fencesOf(gpu.stream))
  }

  async read(video: Video, clips: readonly Clip[], out: DevicePointer): Promise<ReadFacts> {
    const { indices, places } = wantedFrames(clips)
    try {
      const framesDecoded = await this.#decoder.decode(video.info, video.packets(indices), indices, frame =>
        this.#upload(frame, video, places.get(frame.index), out),
      )
      return { framesNeeded: indices.length, framesDecoded, decoder: this.#decoder.name }
    } catch (error) {
      if (!(error instanceof OtherFormat)) throw error
      this.#clips ??= new ClipUploader(this.options, this.gpu)
      return this.#clips.read(video, clips, out)
    }
  }

  #upload(frame: Frame, video: Video, places: readonly FramePlace[] | undefined, out: DevicePointer): void {
    const layout = semiPlanarLayout(frame)
    if (layout === undefined) throw new OtherFormat(frame.format)
    const { format, pitch, chromaOffset, bytes } = layout
    const { width, height, colour } = frame
    const parameters = this.#parameters.of({ format, width, height, pitch, colour }, video.info.rotation)
    this.#staging.pass(
      bytes,
      memory => writeSemiPlanar(frame, layout, memory),
      luma => {
        const surface = { luma, chroma: luma + chromaOffset }
        this.#kernel.launch(parameters, clipPlaces(surface, places, this.options, out), this.gpu.stream)
      },
    )
    this.gpu.copied('upload', bytes)
  }

  close(): void {
    this.#decoder.close()
    this.#clips?.close()
    this.#staging.close()
    this.#kernel.close()
  }
}

/** Makes clips on the CPU, of any format, and uploads them. */
class ClipUploader {
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
    upload(out, this.#pixels, HALF_BYTES * length, this.gpu.stream)
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
