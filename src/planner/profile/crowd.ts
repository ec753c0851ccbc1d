import type { Plan } from '../../pipeline/plan.ts'
import type { Simulated } from '../../simulator/simulate.ts'
import type { Arrangement } from '../types.ts'
import { type Calls, CallTotals, callsOf } from './calls.ts'
import { engineOf } from './keys.ts'
import type { Arrivals } from './predictor.ts'

/** What a run came to: so many a second, the middle of their latencies, and how long calls took. */
export interface Figures {
  videosPerS: number
  p50Ms: number
  /** By `callsOf`: of the first step, and of all that runs on the host. */
  calls: ReadonlyMap<string, Calls>
}

/** A run in which calls were at work at the same time. */
export interface Crowd {
  name: string
  arrangement: Arrangement
  concurrency: number
  /** The first request that is simulated and counts, how many do, and how many come after these. */
  first: number
  requests: number
  after: number
  seed: number
  measured: Figures
}

/** Rate and median of requests that came one after the other out of a closed loop. @param ms ends and latencies */
export function figuresOf(
  ends: readonly number[],
  latencies: readonly number[],
  calls: Figures['calls'],
): Figures | undefined {
  if (ends.length < 2) return undefined
  const sorted = ends.toSorted((a, b) => a - b)
  const seconds = (sorted.at(-1)! - sorted[0]!) / 1000
  const middle = latencies.toSorted((a, b) => a - b)[latencies.length >> 1]!
  return seconds > 0 ? { videosPerS: (sorted.length - 1) / seconds, p50Ms: middle, calls } : undefined
}

/** Of a run: with fewer, the longest calls come too rarely to tell, and with more it would only take longer. */
const MOST_SIMULATED = 2000
/** Requests before these that are enough for queues to fill. */
const MOST_BEFORE = 300

/** Which requests of a crowd count: those that enough others followed, as threads are idle at a run's end. @param ids ascending */
export const followed = (ids: readonly number[], concurrency: number): number[] =>
  ids.length > 2 * concurrency ? ids.slice(0, -concurrency) : [...ids]

/**
 * The requests of a crowd that are simulated, of those that count: the last ones. They must be these, since a tenth more of large
 * videos, which may well be by chance, are 4 % less of all.
 */
export function simulatedOf(
  ids: readonly number[],
  counted: readonly number[],
): Pick<Crowd, 'first' | 'requests' | 'after'> {
  const own = counted.slice(-MOST_SIMULATED)
  return { first: own[0]!, requests: own.at(-1)! + 1 - own[0]!, after: ids.length - counted.length }
}

/** The same figures of a simulated run. */
export function simulatedFigures(
  simulate: (
    arrangement: Arrangement,
    arrivals: Arrivals,
  ) => { plan: Plan; simulated: Pick<Simulated, 'endNs' | 'intendedNs' | 'threads'> },
  { arrangement, concurrency, first, requests, after, seed }: Crowd,
): Figures | undefined {
  const before = Math.min(first, MOST_BEFORE)
  const { plan, simulated } = simulate(arrangement, {
    schedule: new Float64Array(before + requests + after),
    first: first - before,
    concurrency,
    seed,
  })
  const { endNs, intendedNs } = simulated
  const ends: number[] = []
  const latencies: number[] = []
  for (let request = before; request < before + requests; request++) {
    if (Number.isNaN(endNs[request]!)) continue
    ends.push(endNs[request]! / 1e6)
    latencies.push((endNs[request]! - intendedNs[request]!) / 1e6)
  }
  return figuresOf(ends, latencies, callTimes(plan, simulated))
}

function callTimes({ instances }: Plan, { threads }: Pick<Simulated, 'threads'>): Figures['calls'] {
  const times = new CallTotals()
  for (const instance of instances)
    for (const [worker, sizes] of threads[instance.id]!.entries()) {
      const name = callsOf(instance.step, engineOf(instance, worker))
      for (const [clips, { calls, ns }] of sizes) times.add(name, clips, ns / 1e6, calls)
    }
  return times.all
}
