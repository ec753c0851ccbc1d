import { VideoError } from '../../errors.ts'
import { mean } from '../../results/statistics.ts'
import type { ClipOptions } from '../../steps/clip-options.ts'
import { clipsOf } from '../../steps/clips.ts'
import { openVideo } from '../../video/open.ts'
import type { ObservedCall } from './read-run.ts'
import type { Profile } from './schema.ts'

/** Examples of each number of clips. */
const EXAMPLES = 32
/** Seed of the examples' clips. */
const SEED = 0

export type Pieces = NonNullable<Profile['sharing']>['pieces']

/** Shares of the packets of each piece, the largest first; undefined of a video that cannot be read. */
async function sharesOf(path: string, options: ClipOptions, request: number) {
  try {
    const video = await openVideo(path)
    try {
      const clips = clipsOf(video, options, SEED, request)
      const packets = video.runs(clips).map(run => run.packets)
      const total = packets.reduce((sum, count) => sum + count, 0)
      return { clips: clips.length, shares: packets.sort((a, b) => b - a).map(count => count / total) }
    } finally {
      video.close()
    }
  } catch (error) {
    if (error instanceof VideoError) return undefined
    throw error
  }
}

/**
 * How loading a video's clips divides into pieces that threads can share: for each number of clips above one that a loader may
 * draw, as many examples as tell. Read off the videos' tables: nothing is decoded.
 */
export async function piecesOf(videos: readonly string[], options: ClipOptions): Promise<Pieces> {
  const found = new Map<number, number[][]>()
  for (const count of new Set(options.num_clips_population.filter(clips => clips > 1)))
    for (let example = 0; example < EXAMPLES; example++) {
      const own = { ...options, num_clips_population: [count], num_clips_weights: [1] }
      const video =
        videos[Math.floor((example * Math.max(EXAMPLES, videos.length)) / EXAMPLES) % videos.length]!
      const made = await sharesOf(video, own, example)
      if (made && made.clips > 1) found.set(made.clips, [...(found.get(made.clips) ?? []), made.shares])
    }
  return [...found].map(([clips, shares]) => ({ clips, shares })).sort((a, b) => a.clips - b.clips)
}

/** Fewer calls say little of a mean. */
const LEAST_CALLS = 5

/** Processor time of calls that decode on a GPU, by clips: of those of one thread, and of those that threads shared. */
export class SharedWork {
  readonly #alone = new Map<number, number[]>()
  readonly #shared = new Map<number, number[]>()

  take({ step, engine, clips, cpuMs }: ObservedCall, shared: boolean): void {
    if (step !== 0 || engine !== 'gpu' || cpuMs === undefined) return
    const known = shared ? this.#shared : this.#alone
    known.set(clips, [...(known.get(clips) ?? []), cpuMs])
  }

  /**
   * What the host does for a piece of another thread's video, beyond the decoding: it is opened once more, and decoded from
   * one more beginning. Calls of one clip, which nobody shares, tell what many threads cost by themselves: their code and
   * data lie in more places.
   * @returns ms; 0 where too few calls were seen
   */
  extraMs(pieces: Pieces): number {
    const times = this.#ofSize(1)
    const coldness = times ? times.shared / times.alone : 1
    const extras = pieces.flatMap(({ clips, shares }) => {
      const own = this.#ofSize(clips)
      const others = mean(shares.map(({ length }) => length)) - 1
      return own && others > 0 ? [(own.shared - own.alone * coldness) / others] : []
    })
    return extras.length > 0 ? Math.max(0, mean(extras)) : 0
  }

  #ofSize(clips: number): { alone: number; shared: number } | undefined {
    const [alone = [], shared = []] = [this.#alone.get(clips), this.#shared.get(clips)]
    if (Math.min(alone.length, shared.length) < LEAST_CALLS) return undefined
    return { alone: mean(alone), shared: mean(shared) }
  }
}
