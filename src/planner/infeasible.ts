import { UsageError } from '../errors.ts'
import type { Bottleneck } from './bound/bottleneck.ts'
import { Bounds, kindOf } from './bound/bounds.ts'
import { mebibytes } from './memory.ts'
import type { Ask } from './planning.ts'
import { type Candidate, type Found, findPlan } from './search/find.ts'
import { objectiveOf } from './search/objective.ts'
import type { Space } from './space/space.ts'
import type { Predictor } from './types.ts'

interface Asked {
  space: Space
  predictor: Predictor
  ask: Ask
  /** What the search for what was asked came to. */
  found: Found
}

const figure = (value: number): string => String(Number(value.toPrecision(3)))
/** Rounded such that it can still be met. */
const atMost = (value: number): string => {
  const step = 10 ** (Math.floor(Math.log10(value)) - 2)
  return String(Number((Math.floor(value / step) * step).toPrecision(3)))
}

/** Resources of a limit, the first one first. */
function named({ shares }: Bottleneck): string {
  const kinds = [
    ...new Set(
      Object.entries(shares)
        .sort((a, b) => b[1] - a[1])
        .map(([name]) => kindOf(name)),
    ),
  ]
  return kinds.length === 0 ? 'nothing that is known' : kinds.join(' and ')
}

/** Steps of halving between a rate that can be met and one that cannot: to within a thousandth. */
const HALVINGS = 10

/** A rate that is a smaller share of what was asked for is no answer to it. */
const NEAR = 0.02

/** The highest rate near the one asked for that a plan carries, with p99 within a goal if there is one, as predicted; undefined if none does. */
function highestRate(
  { predictor, ask: { sample, sloMs = Number.POSITIVE_INFINITY } }: Asked,
  plan: Candidate,
  most: number,
) {
  const meets = (ratePerS: number) => {
    const { aborted, p99Ms } = predictor.predict(plan.arrangement, { ...sample, ratePerS })
    return !aborted && p99Ms <= sloMs
  }
  let [low, high] = [0, most]
  for (let i = 0; i < HALVINGS; i++) {
    const middle = (low + high) / 2
    if (meets(middle)) low = middle
    else high = middle
  }
  return low >= NEAR * most ? low : undefined
}

/** Share of a plan's throughput at which its queues are short. */
const EASY = 0.5

/** Where a plan does not keep to the goal of the latency at any rate: what it does at an easy one. */
function looser(
  { predictor, ask: { sample } }: Asked,
  { arrangement, value }: Candidate,
): string | undefined {
  const ratePerS = Number((EASY * value).toPrecision(3))
  const { aborted, p99Ms } = predictor.predict(arrangement, { ...sample, ratePerS })
  return aborted ? undefined : `--rate ${ratePerS} with --slo-ms ${figure(p99Ms * 1.005)}`
}

/** Where not even the smallest plan has the memory that it needs: how much that is. */
function memoryLacking({ space, predictor }: Asked): UsageError | undefined {
  const overflows = space.lists.map((lists, structure) => {
    const least = lists.batches.indexOf(Math.min(...lists.batches))
    const choice = space.simplest(structure, { inFlight: 0, cpuDecoders: 0 }, least)
    return predictor.overflow?.(space.arrangement(choice))
  })
  const known = overflows.filter(overflow => overflow !== undefined)
  if (known.length === 0 || known.length < overflows.length) return undefined
  const { where, needed, most } = known.reduce((best, other) => (other.needed < best.needed ? other : best))
  return new UsageError(
    `plan: no plan fits the memory: the smallest needs ${mebibytes(needed)} of ${where}, which has ${mebibytes(most)} ` +
      'free; nearest that can be met: the same with that much, or with smaller --batches, or more --segments',
  )
}

/** Says what stands in the way of what was asked, and what nearest to it could be met. */
export function infeasible(asked: Asked): UsageError {
  const { space, predictor, ask, found } = asked
  const { goal, sample, searchMs, sloMs } = ask
  const lacking = found.best ? undefined : memoryLacking(asked)
  if (lacking) return lacking
  if (goal.kind === 'throughput')
    return new UsageError(
      `plan: none of ${found.evaluated} plans could be run: ${[...found.refused.keys()].join('; ')}`,
    )
  const { ratePerS } = goal
  const bounds = new Bounds(space, predictor, sample)
  const limit = space.roots
    .map(root => bounds.bottleneck(root))
    .reduce((best, other) => (other.perS > best.perS ? other : best))
  const gpus = space.limits.gpus.length
  const where = gpus === 0 ? 'on the CPU' : `on ${gpus} GPU${gpus === 1 ? '' : 's'}`
  const quick = searchMs === undefined ? undefined : searchMs / 4
  const best = findPlan(space, predictor, objectiveOf({ kind: 'throughput' }, sample), {
    budgetMs: quick,
    tolerance: ask.tolerance,
    ...(ask.now && { now: ask.now }),
  }).best
  const within = sloMs === undefined ? '' : ` with p99 within ${sloMs} ms`
  const most = Math.min(ratePerS, best?.value ?? 0)
  const rates = [best, found.best].flatMap(plan => (plan ? [highestRate(asked, plan, most)] : []))
  const rate = Math.max(0, ...rates.map(rate => rate ?? 0))
  const nearest = rate > 0 ? `--rate ${atMost(rate)}${within}` : best && looser(asked, best)
  const advice = (more: string[]) => {
    const all = [...(nearest ? [nearest] : []), ...more]
    return all.length === 0
      ? 'nothing near it can be met'
      : `nearest that can be met, as predicted: ${all.join(', or ')}`
  }
  if (limit.perS < ratePerS)
    return new UsageError(
      `plan: no plan carries ${figure(ratePerS)} videos/s ${where}: ${named(limit)} limits every plan to ` +
        `${atMost(limit.perS)}; ${advice([])}`,
    )
  const searched =
    found.ended === 'proven'
      ? `all ${found.size} plans were searched`
      : `${found.evaluated} of at most ${found.size} plans were tried`
  const plain = -Math.max(...space.roots.map(root => -bounds.p99Ms(root)))
  const why =
    sloMs !== undefined && plain > sloMs
      ? `the time in the steps alone, without any wait, has a p99 of ${figure(plain)} ms`
      : found.best
        ? `the best has ${figure(-found.best.value)} ms, and ${named(bounds.bottleneck(found.best.choice))} is its limit`
        : 'each of them fills a queue'
  const slower = found.best ? [`--slo-ms ${figure(-found.best.value * 1.005)} at this rate`] : []
  return new UsageError(
    `plan: no plan was found that carries ${figure(ratePerS)} videos/s${within} ${where}: ${why} (${searched}); ${advice(slower)}`,
  )
}
