import { VideoError } from '../errors.ts'
import { LibavDecoder } from '../video/libav-decoder.ts'
import { defaultPreprocessing, type Preprocessing, preprocess } from '../video/preprocess.ts'
import type { Clip, Video } from '../video/types.ts'
import type { ClipOptions } from './clip-options.ts'
import { type ReadFacts, wantedFrames } from './clips.ts'
import type { StepContext } from './step.ts'

type Timed = StepContext['timed']

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

/** Decodes clips with libav and preprocesses them, on the calling thread. */
export class ClipReader {
  readonly #decoder = new LibavDecoder()
  readonly #preprocessing: Preprocessing

  /** @param timed names parts of the work in the run's trace */
  constructor(
    readonly options: ClipOptions,
    readonly timed: Timed = (_what, work) => work(),
  ) {
    this.#preprocessing = preprocessingOf(options)
  }

  /** Decodes the clips into `out`, [clips, 3, frames, size, size]. */
  async read(video: Video, clips: readonly Clip[], out: Float32Array): Promise<ReadFacts> {
    const { clip_frames: frames, size } = this.options
    const { indices, places } = wantedFrames(clips)
    const plane = size * size
    let seen = 0
    const framesDecoded = await this.#decoder.decode(video.info, video.packets(indices), indices, frame => {
      seen++
      for (const { clip, time } of places.get(frame.index) ?? []) {
        const place = { offset: (clip * 3 * frames + time) * plane, channelStride: frames * plane }
        this.timed('preprocess', () =>
          preprocess(frame, video.info.rotation, this.#preprocessing, out, place),
        )
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
