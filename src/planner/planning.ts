import { UsageError } from '../errors.ts'
import { type Advice, adviceOn } from './advice.ts'
import type { Bottleneck } from './bound/bottleneck.ts'
import { Bounds, kindOf } from './bound/bounds.ts'
import { decodingOf } from './describe.ts'
import { paretoFront } from './front.ts'
import { infeasible } from './infeasible.ts'
import { type Candidate, type FindOptions, type Found, findPlan, runsOn, usableSpace } from './search/find.ts'
import { type Goal, type Objective, objectiveOf } from './search/objective.ts'
import { keyOf } from './space/choice.ts'
import type { Limits } from './space/limits.ts'
import type { Space } from './space/space.ts'
import type { Template } from './space/template.ts'
import type { Arrangement, Load, Prediction, Predictor } from './types.ts'

/** What is asked of a plan. */
export interface Ask {
  goal: Goal
  /** Goal of the latency: with as few GPUs as it can be met with. */
  sloMs?: number | undefined
  /** Requests that plans are tried with, and their seed. */
  sample: Omit<Load, 'ratePerS'>
  /** Time for the search; all that it takes without it. */
  searchMs?: number | undefined
  /** Plans that are better by no more than this share are not looked for. */
  tolerance: number
  /** ms of a clock. */
  now?(): number
}

/** A plan, and what it would do in bulk and at a rate. */
export interface Rated extends Candidate {
  bulk: Prediction
  atRate: Prediction
  /** How good it is at what was not asked for: throughput, or p99 at the rate. */
  other: number
  onFront: boolean
}

export interface Planned {
  space: Space
  objective: Objective
  found: Found & { best: Candidate }
  /** The winner first, then others that are worth a look, the best first. */
  plans: [Rated, ...Rated[]]
  /** Rate at which latencies of all plans are compared. */
  ratePerS: number
  /** Of the winner: what limits it, by resource. */
  limit: Bottleneck
  advice: Advice[]
  refused: Map<string, number>
  /** What was not searched, as it was not measured. */
  unknown: string[]
}

/** The share of the time for the goal itself; the rest looks for the other end of the front. */
const FOR_THE_GOAL = 0.7
/** Plans of each end of the front, at most. */
const SHOWN = 12
/** Differences of a smaller share are none that predictions can tell. */
const ALIKE = 0.002
/** Share of the highest throughput at which latencies are compared, where no rate was asked for. */
export const LOAD = 0.7

/** Looks for the best plan. @throws {UsageError} if none meets what is asked, saying what stands in the way, and what could be met */
export function planFor(template: Template, limits: Limits, predictor: Predictor, ask: Ask): Planned {
  const { goal, sample, tolerance, searchMs } = ask
  const objective = objectiveOf(goal, sample)
  const { space, refused, unknown } = usableSpace(template, limits, runsOn(predictor))
  const options = { tolerance, ...(ask.now && { now: ask.now }) }
  const share = (part: number) => (searchMs === undefined ? undefined : part * searchMs)
  const first = onFewestGpus(space, predictor, objective, ask.sloMs, {
    ...options,
    budgetMs: share(FOR_THE_GOAL),
  })
  const { found } = first
  if (!found.best) throw infeasible({ space: first.space, predictor, ask, found })
  const slo = ask.sloMs === undefined ? undefined : -ask.sloMs
  if (slo !== undefined && found.best.value < slo)
    throw infeasible({ space: first.space, predictor, ask, found })
  const ratePerS = goal.kind === 'p99' ? goal.ratePerS : LOAD * found.best.value
  const other = objectiveOf(goal.kind === 'p99' ? { kind: 'throughput' } : { kind: 'p99', ratePerS }, sample)
  const second = findPlan(first.space, predictor, other, { ...options, budgetMs: share(1 - FOR_THE_GOAL) })
  const seen = new Set<string>()
  const shown = [found.best, ...spread(found.tried), ...spread(second.tried)].filter(({ choice }) => {
    const key = keyOf(choice)
    if (seen.has(key)) return false
    seen.add(key)
    return true
  })
  const bounds = new Bounds(first.space, predictor, objective.load)
  const counts = ({ choice }: Candidate) => objective.bound(bounds, choice) > Number.NEGATIVE_INFINITY
  const plans = rate(shown.filter(counts), predictor, ask, ratePerS)
  for (const [message, times] of first.refused) refused.set(message, (refused.get(message) ?? 0) + times)
  return {
    space: first.space,
    objective,
    found: { ...found, best: found.best },
    plans,
    ratePerS,
    limit: merged(bounds.bottleneck(plans[0].choice)),
    advice: adviceOn(first.space, predictor, objective, plans[0]),
    refused: new Map([...refused, ...found.refused]),
    unknown,
  }
}

interface Searched {
  space: Space
  found: Found
  refused: Map<string, number>
}

/** With a latency to meet, what was found on the least number of GPUs on which a plan meets it; else on all of them. */
function onFewestGpus(
  all: Space,
  predictor: Predictor,
  objective: Objective,
  sloMs: number | undefined,
  options: FindOptions,
): Searched {
  const { template, limits } = all
  const search = (space: Space, more: FindOptions) =>
    findPlan(space, predictor, objective, { ...options, ...more })
  const { budgetMs } = options
  const counts = sloMs === undefined ? [] : limits.gpus.slice(1).map((_, i) => i + 1)
  // The first half of the time is for finding out how many it takes.
  const half = budgetMs === undefined || counts.length === 0 ? budgetMs : budgetMs / 2
  for (const gpus of counts) {
    const own = usableSpace(template, { ...limits, gpus: limits.gpus.slice(0, gpus) }, runsOn(predictor))
    const met = search(own.space, {
      budgetMs: half === undefined ? undefined : half / counts.length,
      enough: -sloMs!,
    })
    if (!met.best || met.best.value < -sloMs!) continue
    return { ...own, found: search(own.space, { budgetMs: half }) }
  }
  return { space: all, found: search(all, { budgetMs: half }), refused: new Map() }
}

/** The best plan of each placement, and of each way to decode: those that differ in more than numbers. */
function spread(tried: readonly Candidate[]): Candidate[] {
  const placements = new Set<string>()
  const decodings = new Set<string>()
  return tried
    .filter(({ choice: { structure, cpu, roles }, arrangement }) => {
      const placement = [structure, cpu, ...roles].join()
      const decoding = decodingOf(arrangement)
      const isNew = !placements.has(placement) || !decodings.has(decoding)
      placements.add(placement)
      decodings.add(decoding)
      return isNew
    })
    .slice(0, SHOWN)
}

/**
 * What plans would do in bulk and at a rate, the best first: of those that differ by less than matters, the one that is
 * better in what was not asked for.
 */
function rate(
  shown: readonly Candidate[],
  predictor: Predictor,
  { sample, goal, sloMs }: Ask,
  ratePerS: number,
): [Rated, ...Rated[]] {
  const both = shown.map(candidate => {
    const { arrangement } = candidate
    const bulk = predictor.predict(arrangement, sample)
    const atRate = predictor.predict(arrangement, { ...sample, ratePerS })
    const rate = bulk.videosPerS
    const latency = atRate.aborted ? Number.NEGATIVE_INFINITY : -atRate.p99Ms
    const [value, other] = goal.kind === 'throughput' ? [rate, latency] : [latency, rate]
    return { ...candidate, bulk, atRate, value, other }
  })
  const front = paretoFront(both.map(({ value, other }) => ({ a: value, b: other })))
  const rated = both
    .map((candidate, i) => ({ ...candidate, onFront: front[i]! }))
    .sort((x, y) => y.value - x.value)
  const best = rated[0]!.value
  const met = sloMs === undefined || best < -sloMs ? Number.NEGATIVE_INFINITY : -sloMs
  const alike = rated
    .filter(({ value }) => value >= Math.max(met, best - ALIKE * Math.abs(best)))
    .sort((x, y) => y.other - x.other)
  const [winner, ...others] = [...alike, ...rated.slice(alike.length)]
  return [winner!, ...others]
}

/** A bottleneck by kinds of resources: what is alike on several GPUs is one. */
function merged({ perS, shares }: Bottleneck): Bottleneck {
  const kinds: Record<string, number> = {}
  for (const [name, share] of Object.entries(shares)) kinds[kindOf(name)] = (kinds[kindOf(name)] ?? 0) + share
  return { perS, shares: kinds }
}

/** What a given arrangement would do, if that is known. */
export function predictedOf(
  predictor: Predictor,
  arrangement: Arrangement,
  load: Load,
): Prediction | undefined {
  try {
    return predictor.predict(arrangement, load)
  } catch (error) {
    if (error instanceof UsageError) return undefined
    throw error
  }
}
