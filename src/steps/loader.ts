import { VideoError } from '../errors.ts'
import type { Item } from '../queue/item.ts'
import { Rng } from '../rng.ts'
import { LibavDecoder } from '../video/libav-decoder.ts'
import { openVideo } from '../video/open.ts'
import { defaultPreprocessing, type Preprocessing, preprocess } from '../video/preprocess.ts'
import { sampleClips } from '../video/sampler.ts'
import type { Clip, Video } from '../video/types.ts'
import { type ClipOptions, clipOptions, type LoaderOptions } from './clip-options.ts'
import type { Emit, StepContext, StepInstance, StepKind } from './step.ts'

/** The preprocessing that a step's keys ask for. */
export function preprocessingOf(options: ClipOptions): Preprocessing {
  const base = defaultPreprocessing(options.preprocessing, options.size)
  const triple = (values: number[] | undefined, otherwise: Preprocessing['mean']): Preprocessing['mean'] =>
    values ? [values[0]!, values[1]!, values[2]!] : otherwise
  return { ...base, mean: triple(options.mean, base.mean), std: triple(options.std, base.std) }
}

/** Largest clip tensor [clips, 3, frames, size, size] for given keys. */
export const clipShape = (options: ClipOptions): number[] => [
  Math.max(...options.num_clips_population),
  3,
  options.clip_frames,
  options.size,
  options.size,
]

/** Opens videos, samples clips and decodes them, on the calling thread. */
export class ClipReader {
  readonly #decoder = new LibavDecoder()
  readonly #preprocessing: Preprocessing

  constructor(
    readonly options: ClipOptions,
    readonly seed: number,
  ) {
    this.#preprocessing = preprocessingOf(options)
  }

  open(path: string): Promise<Video> {
    return openVideo(path)
  }

  /** The clips of a request: the same for the same seed, request number and video length. */
  sample(video: Video, request: number): Clip[] {
    const { num_clips_population: population, num_clips_weights: weights, clip_frames } = this.options
    return sampleClips(
      video.frames,
      { clipFrames: clip_frames, population, weights },
      Rng.of(this.seed, 'clips', request),
    )
  }

  /**
   * Decodes the clips into `out`, [clips, 3, frames, size, size].
   * @returns frames that the clips consist of, frames decoded, and by what
   */
  async read(
    video: Video,
    clips: readonly Clip[],
    out: Float32Array,
  ): Promise<{ framesNeeded: number; framesDecoded: number; decoder: string }> {
    const { clip_frames: frames, size } = this.options
    const wanted = new Map<number, number[]>()
    clips.forEach((clip, c) => {
      for (let t = 0; t < clip.count; t++) {
        const places = wanted.get(clip.first + t)
        const place = c * 3 * frames + t
        if (places) places.push(place)
        else wanted.set(clip.first + t, [place])
      }
    })
    const indices = [...wanted.keys()].sort((a, b) => a - b)
    const plane = size * size
    let seen = 0
    const framesDecoded = await this.#decoder.decode(video.info, video.packets(indices), indices, frame => {
      seen++
      for (const place of wanted.get(frame.index) ?? []) {
        preprocess(frame, video.info.rotation, this.#preprocessing, out, {
          offset: place * plane,
          channelStride: frames * plane,
        })
      }
    })
    if (seen !== indices.length)
      throw new VideoError('damaged', `${indices.length - seen} of ${indices.length} frames are missing`)
    return { framesNeeded: indices.length, framesDecoded, decoder: this.#decoder.name }
  }

  close(): void {
    this.#decoder.close()
  }
}

class Loader implements StepInstance {
  readonly #reader: ClipReader

  constructor(readonly context: StepContext) {
    this.#reader = new ClipReader(context.options as ClipOptions, context.settings.seed)
  }

  async run(items: readonly Item[], emit: Emit): Promise<void> {
    for (const item of items) {
      const share = item.shares[0]!
      const video = await this.#reader.open(this.context.video(share.request))
      try {
        const clips = this.#reader.sample(video, share.request)
        const out: Item = {
          shares: [{ ...share, clips: clips.length }],
          ...this.context.allocate(clips.length),
          values: [],
        }
        const facts = await this.#reader.read(video, clips, this.context.view(out, 0))
        this.context.note(share.request, { clips: clips.length, ...facts })
        emit(out)
      } finally {
        video.close()
      }
    }
  }

  close(): void {
    this.#reader.close()
  }
}

/** The client's videos -> clip tensors [clips, 3, frames, size, size]. */
export const loader: StepKind = {
  names: ['loader', 'models.r2p1d.model.R2P1DLoader', 'R2P1DLoader'],
  options: clipOptions,
  shape(options) {
    const own = options as LoaderOptions
    return { outputs: [{ shape: clipShape(own), type: 'f32' }], workers: own.in_flight ?? 1 }
  },
  create: context => new Loader(context),
}
