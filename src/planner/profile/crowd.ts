import type { Plan } from '../../pipeline/plan.ts'
import type { Simulated } from '../../simulator/simulate.ts'
import type { Arrangement } from '../types.ts'
import { type Engine, engineOf } from './keys.ts'
import type { Arrivals } from './predictor.ts'

/** What a run came to: so many a second, the middle of their latencies, and the mean of calls. */
export interface Figures {
  videosPerS: number
  p50Ms: number
  /** By `callsOf`: of the first step, and of all that runs on the host. */
  callMs: Readonly<Record<string, number>>
}

/**
 * A name for a step's calls on an engine; none for those of a network on a GPU, which works at several batches at once: a call is
 * longer than its work.
 */
export const callsOf = (step: number, engine: Engine): string | undefined =>
  step === 0 || engine === 'cpu' ? `step ${step} on ${engine}` : undefined

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
  callMs: Figures['callMs'],
): Figures | undefined {
  if (ends.length < 2) return undefined
  const sorted = ends.toSorted((a, b) => a - b)
  const seconds = (sorted.at(-1)! - sorted[0]!) / 1000
  const middle = latencies.toSorted((a, b) => a - b)[latencies.length >> 1]!
  return seconds > 0 ? { videosPerS: (sorted.length - 1) / seconds, p50Ms: middle, callMs } : undefined
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

/** Means of simulated calls. */
function callTimes({ instances }: Plan, { threads }: Pick<Simulated, 'threads'>): Figures['callMs'] {
  const sums = new Map<string, { calls: number; ns: number }>()
  for (const instance of instances) {
    const { calls, ns } = threads[instance.id]!
    for (let worker = 0; worker < instance.workers; worker++) {
      const name = callsOf(instance.step, engineOf(instance, worker))
      if (name === undefined) continue
      const before = sums.get(name) ?? { calls: 0, ns: 0 }
      sums.set(name, { calls: before.calls + calls[worker]!, ns: before.ns + ns[worker]! })
    }
  }
  return Object.fromEntries(
    [...sums].flatMap(([name, { calls, ns }]) => (calls > 0 ? [[name, ns / 1e6 / calls]] : [])),
  )
}
