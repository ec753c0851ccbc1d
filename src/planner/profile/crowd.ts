import type { Plan } from '../../pipeline/plan.ts'
import type { Simulated } from '../../simulator/simulate.ts'
import type { Arrangement } from '../types.ts'
import { type Engine, engineOf } from './keys.ts'
import type { Arrivals } from './predictor.ts'

/** Calls of a step on an engine, by their clips. */
export type Calls = ReadonlyMap<number, { calls: number; ms: number }>

/** What a run came to: so many a second, the middle of their latencies, and how long calls took. */
export interface Figures {
  videosPerS: number
  p50Ms: number
  /** By `callsOf`: of the first step, and of all that runs on the host. */
  calls: ReadonlyMap<string, Calls>
}

/** Adds up calls. */
export class CallTotals {
  readonly all = new Map<string, Map<number, { calls: number; ms: number }>>()

  /** @param name nothing is added without one */
  add(name: string | undefined, clips: number, ms: number, calls = 1): void {
    if (name === undefined) return
    const sizes = this.all.get(name) ?? new Map<number, { calls: number; ms: number }>()
    this.all.set(name, sizes)
    const known = sizes.get(clips) ?? { calls: 0, ms: 0 }
    sizes.set(clips, { calls: known.calls + calls, ms: known.ms + ms })
  }
}

/** How many times longer calls took in one run than in another, if both had as many of each size: which thread gets a large one is chance. */
export function longerThan(calls: Calls, others: Calls): number {
  let [own, theirs] = [0, 0]
  for (const [clips, { calls: count, ms }] of others) {
    const same = calls.get(clips)
    if (!same) continue
    own += (count * same.ms) / same.calls
    theirs += ms
  }
  return theirs > 0 ? own / theirs : 1
}

/** How many times more work some requests are than others, by their clips and what calls of such took; 1 where that is not known. */
export function largerThan(
  own: readonly number[],
  others: readonly number[],
  calls: Calls = new Map(),
): number {
  const meanMs = (sizes: readonly number[]) => {
    const known = sizes.flatMap(clips => calls.get(clips) ?? [])
    return known.reduce((sum, { calls: count, ms }) => sum + ms / count, 0) / known.length
  }
  const larger = meanMs(own) / meanMs(others)
  return Number.isFinite(larger) ? larger : 1
}

/** The mean of calls of all sizes, in ms, by name. */
export const meanCallMs = ({ calls }: Figures): Record<string, number> =>
  Object.fromEntries(
    [...calls].map(([name, sizes]) => {
      const all = [...sizes.values()]
      const count = all.reduce((sum, { calls }) => sum + calls, 0)
      return [name, all.reduce((sum, { ms }) => sum + ms, 0) / count]
    }),
  )

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
