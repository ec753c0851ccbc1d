import type { ProfiledCalls } from './schema.ts'

/** The sample below which a share `u` (0..1) of ascending samples lies. */
const quantile = (ascending: readonly number[], u: number): number =>
  ascending[Math.min(ascending.length - 1, Math.floor(u * ascending.length))]!

/** With fewer calls of one video than this, those of all videos stand for it. */
const LEAST_OF_VIDEO = 4

interface Size {
  clips: number
  ms: number[]
}

/** All calls of a size in one list. */
function pooled(calls: readonly ProfiledCalls[]): Size[] {
  const sizes = new Map<number, number[]>()
  for (const { clips, ms } of calls) sizes.set(clips, [...(sizes.get(clips) ?? []), ...ms])
  return [...sizes]
    .map(([clips, ms]) => ({ clips, ms: ms.sort((a, b) => a - b) }))
    .sort((a, b) => a.clips - b.clips)
}

/** How long calls of a step take: quantiles of what was measured, and in between of what lies on both sides. */
export class CallTimes {
  readonly #sizes: readonly Size[]
  readonly #ofVideo = new Map<string, readonly number[]>()

  constructor(calls: readonly ProfiledCalls[]) {
    this.#sizes = pooled(calls)
    for (const { clips, video, ms } of calls)
      if (video !== undefined && ms.length >= LEAST_OF_VIDEO) this.#ofVideo.set(`${video}/${clips}`, ms)
  }

  /**
   * Milliseconds of a call.
   * @param u which of the times that it may take, 0..1
   * @param video of a first step's call: the video's own times count where there are enough
   */
  ms(clips: number, u: number, video?: number): number {
    const own = video === undefined ? undefined : this.#ofVideo.get(`${video}/${clips}`)
    if (own) return quantile(own, u)
    const above = this.#sizes.findIndex(size => size.clips >= clips)
    const [first, last] = [this.#sizes[0]!, this.#sizes.at(-1)!]
    // Smaller than all that were measured: at least a part of a call has nothing to do with clips.
    if (above === 0) return quantile(first.ms, u)
    // Larger: each clip takes as long as one of the largest call.
    if (above < 0) return (quantile(last.ms, u) * clips) / last.clips
    const [low, high] = [this.#sizes[above - 1]!, this.#sizes[above]!]
    const from = quantile(low.ms, u)
    return from + ((quantile(high.ms, u) - from) * (clips - low.clips)) / (high.clips - low.clips)
  }

  /** The least that a call of so many clips takes. */
  least(clips: number): number {
    const videos = [...this.#ofVideo].filter(([key]) => key.endsWith(`/${clips}`)).map(([, ms]) => ms[0]!)
    return Math.min(this.ms(clips, 0), ...videos)
  }
}
