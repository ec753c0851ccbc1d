import { VideoError } from '../../errors.ts'
import type { ClipOptions } from '../../steps/clip-options.ts'
import { clipsOf } from '../../steps/clips.ts'
import { openVideo } from '../../video/open.ts'
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
