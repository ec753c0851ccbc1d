import type { Bounds } from '../bound/bounds.ts'
import type { Choice } from '../space/choice.ts'
import type { Load, Prediction } from '../types.ts'

/** What a plan is to be best at: as many videos a second as can be, or the lowest p99 of the latency at a rate. */
export type Goal = { kind: 'throughput' } | { kind: 'p99'; ratePerS: number }

/** A goal in numbers, of which more is better. */
export interface Objective {
  load: Load
  /** -Infinity for what does not count. */
  value(prediction: Prediction): number
  /** What no plan of a choice has more of. */
  bound(bounds: Bounds, choice: Choice): number
  /** Which of two choices with the same bound is more likely to hold something good. */
  promise(bounds: Bounds, choice: Choice): number
}

/** @param sample how many requests plans are tried with, and their seed */
export function objectiveOf(goal: Goal, sample: Omit<Load, 'ratePerS'>): Objective {
  if (goal.kind === 'throughput')
    return {
      load: sample,
      value: ({ videosPerS, aborted }) => (aborted ? Number.NEGATIVE_INFINITY : videosPerS),
      bound: (bounds, choice) => bounds.bottleneck(choice).perS,
      promise: (bounds, choice) => -bounds.p99Ms(choice),
    }
  const { ratePerS } = goal
  return {
    load: { ...sample, ratePerS },
    value: ({ p99Ms, aborted }) => (aborted ? Number.NEGATIVE_INFINITY : -p99Ms),
    // What cannot carry the rate in the long run does not count, however few requests show it.
    bound: (bounds, choice) =>
      bounds.bottleneck(choice).perS < ratePerS ? Number.NEGATIVE_INFINITY : -bounds.p99Ms(choice),
    promise: (bounds, choice) => bounds.bottleneck(choice).perS,
  }
}
