import type { Plan } from '../../pipeline/plan.ts'
import type { Simulated } from '../../simulator/simulate.ts'
import type { Arrangement } from '../types.ts'
import { type Engine, engineOf } from './keys.ts'
import type { Arrivals } from './predictor.ts'
import type { Profile } from './schema.ts'

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

/** A number of a profile that cannot be measured by itself. */
export interface Parameter {
  low: number
  high: number
  /** What holds it, and by which name. */
  of: { [name: string]: number }
  name: string
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

/** Predicts a run. */
export type Predict = (profile: Profile, crowd: Crowd) => Figures | undefined

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

/** The parameters of a profile, for its steps on the host and on GPUs. They are the profile's own: to set them changes it. */
export function parametersOf(profile: Profile): Parameter[] {
  const { capacities, steps } = profile
  const uses = (name: string) =>
    steps.some(({ shares, hostWidth = 0 }) => (shares[name] ?? 0) > 0 || (name === 'cores' && hostWidth > 0))
  const capacity = (name: string, low: number, high: number): Parameter[] =>
    uses(name) ? [{ low, high, of: capacities, name }] : []
  return [
    // Two threads of one core are at least as good as one.
    ...capacity('cores', profile.about.cores / 2, profile.about.cores),
    ...(steps.some(({ width }) => width > 1) ? [straggling(profile)] : []),
    ...capacity('nvdec', 0.5, 64),
    ...(uses('nvdec') ? [nvdecShare(profile)] : []),
  ]
}

/**
 * The share of loaders' calls that is the engines', and with it what the engines carry: crowds tell well how many calls a second
 * there can be, which is the one by the other, and less well where fewer calls begin to disturb each other.
 */
function nvdecShare({ capacities, steps }: Profile): Parameter {
  const own = steps.filter(({ shares }) => shares.nvdec !== undefined)
  const of = {
    get share() {
      return own[0]!.shares.nvdec!
    },
    set share(value) {
      capacities.nvdec! *= value / this.share
      for (const { shares } of own) shares.nvdec = value
    },
  }
  return { low: 0.02, high: 0.98, of, name: 'share' }
}

const MOST_STRAGGLING = 5

/** Of the profile itself, which holds more than numbers. */
function straggling(profile: Profile): Parameter {
  const of = {
    get straggling() {
      return profile.straggling
    },
    set straggling(value) {
      profile.straggling = value
    },
  }
  return { low: 1, high: MOST_STRAGGLING, of, name: 'straggling' }
}

const GOLDEN = (Math.sqrt(5) - 1) / 2
const STEPS = 12
const SWEEPS = 3
/** In the last sweep: around what was found, so far and in so many steps. */
const NEAR = 1.6
const NEAR_STEPS = 7

/** Looks for the least value of a function between two numbers, on a scale of ratios, by golden sections (Kiefer 1953). */
export function goldenSection(
  low: number,
  high: number,
  of: (value: number) => number,
  steps = STEPS,
): number {
  let [a, b] = [Math.log(low), Math.log(high)]
  let [c, d] = [b - GOLDEN * (b - a), a + GOLDEN * (b - a)]
  let [atC, atD] = [of(Math.exp(c)), of(Math.exp(d))]
  for (let step = 0; step < steps; step++) {
    if (atC <= atD) {
      ;[b, d, atD] = [d, c, atC]
      c = b - GOLDEN * (b - a)
      atC = of(Math.exp(c))
    } else {
      ;[a, c, atC] = [c, d, atD]
      d = a + GOLDEN * (b - a)
      atD = of(Math.exp(d))
    }
  }
  return Math.exp(atC <= atD ? c : d)
}

/** How far predictions are from what was measured, as a sum of squared logarithms. */
function distance(profile: Profile, crowds: readonly Crowd[], predict: Predict): number {
  return crowds.reduce((sum, crowd) => {
    const predicted = predict(profile, crowd)
    if (!predicted) return sum
    const rate = Math.log(predicted.videosPerS / crowd.measured.videosPerS)
    const calls = Object.entries(crowd.measured.callMs).map(([name, ms]) =>
      Math.log((predicted.callMs[name] ?? ms) / ms),
    )
    return sum + rate ** 2 + calls.reduce((all, error) => all + error ** 2, 0) / 4
  }, 0)
}

/**
 * Sets a profile's parameters so that simulations come nearest to the crowds that were measured: one parameter after the
 * other, several times over. A parameter that makes nothing better keeps its value.
 */
export function fit(
  profile: Profile,
  crowds: readonly Crowd[],
  parameters: readonly Parameter[],
  predict: Predict,
): void {
  if (crowds.length === 0) return
  let best = distance(profile, crowds, predict)
  for (let sweep = 0; sweep < SWEEPS; sweep++)
    for (const { low, high, of, name } of parameters) {
      const before = of[name]!
      let nearest = before
      // Of all that were tried: chance, in what is simulated, makes small hills and valleys.
      const at = (value: number): number => {
        of[name] = value
        const far = distance(profile, crowds, predict)
        if (far < best) [best, nearest] = [far, value]
        return far
      }
      if (sweep < SWEEPS - 1) goldenSection(low, high, at)
      else goldenSection(Math.max(low, before / NEAR), Math.min(high, before * NEAR), at, NEAR_STEPS)
      of[name] = nearest
    }
}

/** How far the fitted profile's predictions are from each crowd. */
export const fittedErrors = (
  profile: Profile,
  crowds: readonly Crowd[],
  predict: Predict,
): Profile['fitted'] =>
  crowds.flatMap(crowd => {
    const predicted = predict(profile, crowd)
    if (!predicted) return []
    return [
      {
        name: crowd.name,
        throughputError: predicted.videosPerS / crowd.measured.videosPerS - 1,
        p50Error: predicted.p50Ms / crowd.measured.p50Ms - 1,
        measured: crowd.measured,
      },
    ]
  })
