import { UsageError } from '../errors.ts'
import { mean } from '../results/statistics.ts'
import { commandOf, summaryOf } from './describe.ts'
import type { Planned, Rated } from './planning.ts'
import { comparePairs } from './proof/paired.ts'
import type { Entrant, Proven } from './proof/prove.ts'
import type { Goal } from './search/objective.ts'
import type { Arrangement, Load, Machine, Prediction, Predictor } from './types.ts'

/** Throughput in bulk, and the latency at a rate, as predicted. */
export interface Figures {
  videos_per_s: number
  rate_per_s: number
  p50_ms: number
  p99_ms: number
}

/** A plan among others. */
export interface DocumentPlan {
  /** Short, and of one plan only. */
  name: string
  /** What it places where, in a line. */
  summary: string
  /** Null for the file as given, where it has steps that were not profiled. */
  predicted: Figures | null
  /** No other plan here is better in one of throughput and p99 without being worse in the other. */
  on_front: boolean
  /** Of real runs, by round: what the goal asks for. */
  measured: number[]
}

/** What a bit more would bring, by prediction, in what the goal asks for. */
export interface More {
  what: string
  from: number
  to: number
}

/** A figure foreseen and measured, and by which share of the measured one they differ. */
export interface Compared {
  predicted: number
  measured: number
  error: number
}

export interface Proof {
  verdict: string
  test: string
  seeds: number[]
  requests: number
  /** The winner in runs with a seed that no run before had. */
  held_out: { seed: number; rate_per_s: number | null; figures: Record<string, Compared> } | null
  /** How much better the winner was than the file as given, under the same seeds, as a share; null if that gave no figures. */
  gain_over_given: number | null
}

/** What `rnb plan` writes: what it knew, foresaw and measured. Figures of the goal are videos/s, or ms of p99. */
export interface PlanDocument {
  type: 'plan'
  version: string
  pipeline: string
  goal: { maximize?: 'throughput'; rate_per_s?: number; slo_ms?: number; figure: 'videos_per_s' | 'p99_ms' }
  /** With other GPUs or hosts than were measured, everything here is simulated. */
  machine: Machine & { hosts: number; simulated: boolean }
  sample: Load
  search: {
    /** Plans in the space, at most, and those that were tried. */
    plans: number
    tried: number
    ended: 'proven' | 'enough' | 'stopped'
    /** What no plan is better than, in what the goal asks for, and how far the best may be from it, as a share. */
    bound: number
    gap: number
    refused: Record<string, number>
    beyond_bound: number
  }
  winner: DocumentPlan & { arrangement: Arrangement; use: Record<string, number> | null; command: string }
  /** The winner, and others. */
  plans: DocumentPlan[]
  /** What no plan with the winner's instances can exceed, in videos/s, and which share of the limit each resource is. */
  bottleneck: { per_s: number; shares: Record<string, number> }
  more: More[]
  proof: Proof | null
  /** Seconds that each part took. */
  seconds: Record<string, number>
  /** What limits the meaning of all this. */
  notes: string[]
}

export interface DocumentOptions {
  version: string
  pipeline: string
  goal: Goal
  sloMs?: number | undefined
  sample: Load
  hosts: number
  simulated: boolean
  planned: Planned
  predictor: Predictor
  /** Plans by name, in the order of the race: the winner by prediction first, and among the others the file as given, if it took part. */
  entrants: readonly Entrant[]
  given: Entrant
  proven?: Proven | undefined
  file: string
  seconds: Record<string, number>
  notes: readonly string[]
}

/** Names of plans, by their order. */
export const planName = (place: number): string => `plan-${place + 1}`

export const GIVEN = 'given'

const digits = (value: number): number => Number(value.toPrecision(6))

const figuresOf = (bulk: Prediction, atRate: Prediction, ratePerS: number, hosts: number): Figures => ({
  videos_per_s: digits(bulk.videosPerS * hosts),
  rate_per_s: digits(ratePerS * hosts),
  p50_ms: digits(atRate.p50Ms),
  p99_ms: digits(atRate.p99Ms),
})

const compared = (predicted: number, measured: number): Compared => ({
  predicted: digits(predicted),
  measured: digits(measured),
  error: digits((predicted - measured) / measured),
})

/** Figures of the goal as people read them: ms of p99 are negative where more has to be better. */
const shown = (goal: Goal, value: number, hosts = 1): number =>
  digits(goal.kind === 'throughput' ? value * hosts : -value)

function documentPlan(
  { goal, hosts, planned, entrants, proven }: DocumentOptions,
  { arrangement, bulk, atRate, onFront }: Rated,
  place: number,
): DocumentPlan {
  const name = planName(place)
  const at = entrants.findIndex(entrant => entrant.name === name)
  return {
    name,
    summary: summaryOf(arrangement),
    predicted: figuresOf(bulk, atRate, planned.ratePerS, hosts),
    on_front: onFront,
    measured: (proven?.end.values[at] ?? []).map(value => shown(goal, value)),
  }
}

function givenPlan(
  options: DocumentOptions,
  others: readonly DocumentPlan[],
): { plan: DocumentPlan; notes: string[] } | undefined {
  const { goal, given, entrants, proven } = options
  const at = entrants.findIndex(({ name }) => name === GIVEN)
  const { predicted, why } = predictedGiven(options)
  if (at < 0 && !predicted) return undefined
  const measured = (proven?.end.values[at] ?? []).map(value => shown(goal, value))
  return {
    plan: {
      name: GIVEN,
      summary: summaryOf(given.arrangement),
      predicted,
      on_front: predicted !== null && others.every(plan => !dominates(plan.predicted, predicted)),
      measured,
    },
    notes: why === undefined ? [] : [`the file as given is not predicted: ${why}`],
  }
}

/** Whether a plan is better in one of throughput and p99, and not worse in the other. */
function dominates(one: Figures | null, other: Figures): boolean {
  if (!one || one.videos_per_s < other.videos_per_s || one.p99_ms > other.p99_ms) return false
  return one.videos_per_s > other.videos_per_s || one.p99_ms < other.p99_ms
}

/** What the file as given would do, or why that is not known. */
function predictedGiven({ given, planned, predictor, sample, hosts }: DocumentOptions): {
  predicted: Figures | null
  why?: string
} {
  const { requests, seed } = sample
  const { ratePerS } = planned
  try {
    const bulk = predictor.predict(given.arrangement, { requests, seed })
    const atRate = predictor.predict(given.arrangement, { requests, seed, ratePerS })
    if (bulk.completed === 0 || atRate.completed === 0)
      return { predicted: null, why: 'no request would come to its end' }
    return { predicted: figuresOf(bulk, atRate, ratePerS, hosts) }
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    return { predicted: null, why: error.message }
  }
}

const VERDICTS: Readonly<Record<Proven['end']['verdict'], string>> = {
  better: 'the winner is better than every other that was left, by the test',
  alike: 'the best differ by less than matters',
  undecided: 'the rounds ended before the test was sure: the winner has the best mean',
  stopped: 'the time ended before the test was sure: the winner has the best mean',
  alone: 'the winner is the only one with figures',
}
/** Of a race that stopped in its first round. */
const NOTHING_COMPARED = 'the time ended before another had run: nothing was compared'

function verdictOf({ verdict, values }: Proven['end']): string {
  const ran = values.filter(({ length }) => length > 0).length
  return verdict === 'stopped' && ran < 2 ? NOTHING_COMPARED : VERDICTS[verdict]
}

const TEST =
  "rounds of one seed for all; after each, the worse half goes while more than two are left; Student's t test of paired " +
  'differences, one-sided, at a risk of 5 % over all looks and pairs'

function proofOf(options: DocumentOptions, winner: Entrant): Proof | null {
  const { proven, entrants, predictor } = options
  if (!proven || proven.end.winner === undefined) return null
  const { end, seeds, requests, warmup, heldOut } = proven
  const figures: Record<string, Compared> = {}
  const predict = (ratePerS?: number) => {
    const load = { requests, seed: heldOut!.seed, warmup, ...(ratePerS !== undefined && { ratePerS }) }
    try {
      return predictor.predict(winner.arrangement, load)
    } catch {
      // The file as given may have steps that were not profiled.
      return undefined
    }
  }
  const bulk = heldOut?.bulk && predict()
  if (bulk) figures.videos_per_s = compared(bulk.videosPerS, heldOut!.bulk!.videosPerS)
  const atRate = heldOut?.atRate && predict(heldOut.atRate.ratePerS)
  if (atRate) {
    figures.p50_ms = compared(atRate.p50Ms, heldOut!.atRate!.p50Ms)
    figures.p99_ms = compared(atRate.p99Ms, heldOut!.atRate!.p99Ms)
  }
  const given = entrants.findIndex(({ name }) => name === GIVEN)
  const pairs = given < 0 ? [] : (end.values[given] ?? [])
  const own = end.values[proven.end.winner]!
  const base = mean(pairs.slice(0, Math.min(pairs.length, own.length)))
  return {
    verdict: verdictOf(end),
    test: TEST,
    seeds,
    requests,
    held_out: heldOut ? { seed: heldOut.seed, rate_per_s: heldOut.atRate?.ratePerS ?? null, figures } : null,
    gain_over_given: pairs.length === 0 ? null : digits(comparePairs(own, pairs).mean / Math.abs(base)),
  }
}

/** Puts together what a plan is, and why. */
export function documentOf(options: DocumentOptions): PlanDocument {
  const { goal, sloMs, hosts, simulated, planned, predictor, entrants, proven, file, notes } = options
  const { found, plans, limit, advice, refused } = planned
  const place = proven?.end.winner ?? 0
  const entrant = entrants[place]!
  const all = plans.map((plan, i) => documentPlan(options, plan, i))
  const asGiven = givenPlan(options, all)
  const own = asGiven?.plan
  if (own) all.push(own)
  const rated = plans.find((_, i) => planName(i) === entrant.name)
  const winner = all.find(({ name }) => name === entrant.name) ?? own ?? all[0]!
  const prediction = rated && (goal.kind === 'throughput' ? rated.bulk : rated.atRate)
  const { bound } = found
  const best = plans[0]
  const from = shown(goal, best.value, hosts)
  return {
    type: 'plan',
    version: options.version,
    pipeline: options.pipeline,
    goal: {
      ...(goal.kind === 'throughput'
        ? { maximize: 'throughput' as const }
        : { rate_per_s: digits(goal.ratePerS * hosts) }),
      ...(sloMs !== undefined && { slo_ms: sloMs }),
      figure: goal.kind === 'throughput' ? 'videos_per_s' : 'p99_ms',
    },
    machine: { ...predictor.machine, gpus: planned.space.limits.gpus.length, hosts, simulated },
    sample: options.sample,
    search: {
      plans: found.size,
      tried: found.evaluated,
      ended: found.ended,
      bound: shown(goal, bound, hosts),
      gap: digits(Math.abs(bound - best.value) / Math.abs(best.value)),
      refused: Object.fromEntries(refused),
      beyond_bound: found.beyondBound,
    },
    winner: {
      ...winner,
      arrangement: entrant.arrangement,
      use: prediction?.use ?? null,
      command: commandOf(
        file,
        entrant.arrangement,
        goal.kind === 'p99' ? { rate: String(goal.ratePerS) } : { mean_interval_ms: '0' },
      ),
    },
    plans: [winner, ...all.filter(plan => plan !== winner)],
    bottleneck: { per_s: digits(limit.perS * hosts), shares: limit.shares },
    more: advice.map(({ what, value }) => ({ what, from, to: shown(goal, value, hosts) })),
    proof: proofOf(options, entrant),
    seconds: options.seconds,
    notes: [...notes, ...(asGiven?.notes ?? [])],
  }
}
