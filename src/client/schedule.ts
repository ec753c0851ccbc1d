import { Rng } from '../rng.ts'
import type { ArrivalProcess, MmppState } from './arrival.ts'

export interface ScheduleOptions {
  /** The most requests; may be Infinity where `durationS` ends the schedule. */
  videos: number
  /** Requests after this time are left out. */
  durationS?: number
  seed: number
}

const NS_PER_MS = 1e6
const NS_PER_S = 1e9

/** Gives the arrivals' times one after the other, in ns from the start. */
type Times = () => number

function poisson(intervalNs: number, rng: Rng): Times {
  let time = 0
  return () => {
    time += rng.exponential(intervalNs)
    return time
  }
}

function constant(intervalNs: number): Times {
  let count = 0
  // Each even time is computed anew: adding up would drift by the rounding of every sum.
  return () => count++ * intervalNs
}

/**
 * The first state is drawn by the share of time that each lasts: so the process is stationary from the start, and its
 * mean rate and dispersion are those of the textbook.
 */
function mmpp(states: readonly MmppState[], rng: Rng): Times {
  let state = rng.weighted(states.map(({ dwellMs }) => dwellMs))
  const dwell = () => rng.exponential(states[state]!.dwellMs * NS_PER_MS)
  let time = 0
  let leave = dwell()
  return () => {
    for (;;) {
      const { ratePerS } = states[state]!
      const next = ratePerS > 0 ? time + rng.exponential(NS_PER_S / ratePerS) : Number.POSITIVE_INFINITY
      if (next < leave) {
        time = next
        return time
      }
      // What was left of the wait is forgotten, as an exponential time may be.
      time = leave
      state = (state + 1) % states.length
      leave += dwell()
    }
  }
}

function timesOf(arrival: Exclude<ArrivalProcess, { kind: 'bulk' }>, seed: number): Times {
  const rng = Rng.of(seed, 'arrivals')
  if (arrival.kind === 'mmpp') return mmpp(arrival.states, rng)
  const { kind, meanIntervalMs } = arrival
  if (!(meanIntervalMs > 0 && Number.isFinite(meanIntervalMs)))
    throw new RangeError(`a mean interval of ${meanIntervalMs} ms`)
  const interval = meanIntervalMs * NS_PER_MS
  return kind === 'constant' ? constant(interval) : poisson(interval, rng)
}

/**
 * Draws when each request arrives, before the clock starts. Times are absolute, so that a late request
 * delays none of the later ones.
 * @returns nanoseconds from the start, ascending
 */
export function drawSchedule(arrival: ArrivalProcess, options: ScheduleOptions): Float64Array<ArrayBuffer> {
  const { videos, durationS = Number.POSITIVE_INFINITY, seed } = options
  if (!(videos >= 0)) throw new RangeError(`a schedule of ${videos} requests`)
  if (arrival.kind === 'bulk') {
    if (!Number.isFinite(videos)) throw new RangeError('requests in bulk need a number')
    return new Float64Array(videos)
  }
  const end = durationS * NS_PER_S
  if (videos === Number.POSITIVE_INFINITY && !Number.isFinite(end))
    throw new RangeError('a schedule needs an end: a number of requests, or a duration')

  const times: number[] = []
  const draw = timesOf(arrival, seed)
  while (times.length < videos) {
    const time = draw()
    if (time >= end) break
    times.push(time)
  }
  return Float64Array.from(times)
}
