import { Rng } from '../rng.ts'

/** How requests arrive: at random with a mean rate, evenly, or all at once. */
export type Arrival = 'poisson' | 'constant' | 'bulk'

export interface ScheduleOptions {
  arrival: Arrival
  /** Mean time between two requests; without meaning for bulk. */
  meanIntervalMs: number
  /** The most requests; may be Infinity where `durationS` ends the schedule. */
  videos: number
  /** Requests after this time are left out. */
  durationS?: number
  seed: number
}

const NS_PER_MS = 1e6
const NS_PER_S = 1e9

/**
 * Draws when each request arrives, before the clock starts. Times are absolute, so that a late request
 * delays none of the later ones.
 * @returns nanoseconds from the start, ascending
 */
export function drawSchedule(options: ScheduleOptions): Float64Array<ArrayBuffer> {
  const { arrival, meanIntervalMs, videos, durationS = Number.POSITIVE_INFINITY, seed } = options
  if (!(videos >= 0)) throw new RangeError(`a schedule of ${videos} requests`)
  if (arrival === 'bulk') {
    if (!Number.isFinite(videos)) throw new RangeError('requests in bulk need a number')
    return new Float64Array(videos)
  }
  if (!(meanIntervalMs > 0 && Number.isFinite(meanIntervalMs)))
    throw new RangeError(`a mean interval of ${meanIntervalMs} ms`)
  const end = durationS * NS_PER_S
  if (videos === Number.POSITIVE_INFINITY && !Number.isFinite(end))
    throw new RangeError('a schedule needs an end: a number of requests, or a duration')

  const interval = meanIntervalMs * NS_PER_MS
  const times: number[] = []
  const rng = Rng.of(seed, 'arrivals')
  let time = arrival === 'constant' ? 0 : rng.exponential(interval)
  while (times.length < videos && time < end) {
    times.push(time)
    // Each even time is computed anew: adding up would drift by the rounding of every sum.
    time = arrival === 'constant' ? times.length * interval : time + rng.exponential(interval)
  }
  return Float64Array.from(times)
}
