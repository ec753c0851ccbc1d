import { UsageError } from '../../errors.ts'
import { Bounds } from '../bound/bounds.ts'
import { summaryOf } from '../describe.ts'
import { NotMeasured } from '../not-measured.ts'
import { type Choice, keyOf } from '../space/choice.ts'
import type { Limits } from '../space/limits.ts'
import { Space } from '../space/space.ts'
import { structuresOf } from '../space/structure.ts'
import type { Template } from '../space/template.ts'
import type { Arrangement, Prediction, Predictor } from '../types.ts'
import { branchAndBound, type SearchEnd, type Tree } from './branch-and-bound.ts'
import type { Objective } from './objective.ts'

/** A plan that was tried. */
export interface Candidate {
  choice: Choice
  arrangement: Arrangement
  prediction: Prediction
  /** By the objective; more is better. */
  value: number
}

export interface FindOptions {
  /** Time for the search; all that it takes without it. */
  budgetMs?: number | undefined
  /** Leave out what is better by no more than this share. */
  tolerance?: number
  /** A value with which there is no need to look on. */
  enough?: number
  /** ms of a clock. */
  now?(): number
}

/** What a search came to. */
export interface Found extends Pick<SearchEnd<Choice>, 'ended' | 'bound' | 'expanded'> {
  best?: Candidate
  /** All that was tried and counts, the best first. */
  tried: Candidate[]
  /** Plans in the space, at most, and how many were tried. */
  size: number
  evaluated: number
  /** Why structures and plans could not be run, and how often. */
  refused: Map<string, number>
  /** Plans predicted to be better than their bound: there should be none, else the bound proves nothing. */
  beyondBound: number
}

/** Rounding of sums in another order. */
const ROUNDING = 1e-9

/** The share of a limited time that goes into making a first plan better step by step, before the tree is searched. */
const CLIMBING = 0.4

/** Structures of which a first plan is made better. */
const STARTS = 4

/** A check of arrangements for `usableSpace`: whether they can be predicted, and so run. */
export const runsOn =
  (predictor: Predictor) =>
  (arrangement: Arrangement): void => {
    predictor.predict(arrangement, { requests: 1, seed: 0 })
  }

/** A space of what can be run, why the rest cannot, and what of it might run but was not measured. */
export interface Usable {
  space: Space
  refused: Map<string, number>
  unknown: string[]
}

/**
 * The space of those structures that can be run at all.
 * @param check throws a UsageError for an arrangement that cannot
 * @throws {UsageError} if there is none, saying why
 */
export function usableSpace(
  template: Template,
  limits: Limits,
  check: (arrangement: Arrangement) => void,
): Usable {
  const structures = structuresOf(template, limits)
  const all = new Space(template, limits, structures)
  const refused = new Map<string, number>()
  const unknown: string[] = []
  /** @returns why not, if it cannot */
  const refusal = (arrangement: Arrangement): UsageError | undefined => {
    try {
      check(arrangement)
    } catch (error) {
      count(refused, error)
      return error as UsageError
    }
  }
  const usable = [...structures.keys()].filter(structure => {
    const arrangement = all.arrangement(all.simplest(structure, { inFlight: 0, cpuDecoders: 0 }))
    const why = refusal(arrangement)
    if (why instanceof NotMeasured) unknown.push(summaryOf(arrangement))
    return why === undefined
  })
  if (usable.length === 0 && unknown.length > 0)
    throw new UsageError(
      `plan: in its share of the time no way to run this pipeline was measured whole (of ${unknown.length}); raise --budget, or ` +
        'narrow the space (--loaders, --segments, --batches, --replicas)',
    )
  if (usable.length === 0)
    throw new UsageError(`plan: no way to run this pipeline was found: ${[...refused.keys()].join('; ')}`)
  // Of decoders on the host it is known how long they take, or it is not: their number changes nothing about that.
  const some = limits.cpuDecoders.findIndex(count => count > 0)
  const decoding = usable.filter(structure => some >= 0 && structures[structure]!.decodes.cpuDecoders)
  const silent = decoding.some(
    structure =>
      refusal(all.arrangement(all.simplest(structure, { inFlight: 0, cpuDecoders: some }))) instanceof
      NotMeasured,
  )
  if (silent) unknown.push('decoders on the host beside those of a GPU')
  const shared = limits.shareClips.includes(true)
    ? usable.flatMap(structure => {
        const inFlight = all.lists[structure]!.loading.findIndex(({ shareClips }) => shareClips)
        return inFlight < 0 ? [] : [all.arrangement(all.simplest(structure, { inFlight, cpuDecoders: 0 }))]
      })
    : []
  const apart = shared.some(arrangement => refusal(arrangement) instanceof NotMeasured)
  if (apart) unknown.push('threads of a loader that share a video')
  const within = {
    ...limits,
    ...(silent && { cpuDecoders: [0] }),
    ...(apart && { shareClips: [false] }),
  }
  return {
    space: new Space(
      template,
      within,
      usable.map(structure => structures[structure]!),
    ),
    refused,
    unknown,
  }
}

/** Counts what the program would not run. @throws whatever is no complaint about a plan */
function count(refused: Map<string, number>, error: unknown): void {
  if (!(error instanceof UsageError)) throw error
  refused.set(error.message, (refused.get(error.message) ?? 0) + 1)
}

/** Looks for the best plan of a space. */
export function findPlan(
  space: Space,
  predictor: Predictor,
  objective: Objective,
  options: FindOptions = {},
): Found {
  return new Finder(space, predictor, objective, options).find()
}

class Finder {
  readonly #bounds: Bounds
  readonly #values = new Map<string, Candidate | undefined>()
  readonly #refused = new Map<string, number>()
  readonly #now: () => number
  readonly #begin: number
  #beyondBound = 0

  constructor(
    readonly space: Space,
    readonly predictor: Predictor,
    readonly objective: Objective,
    readonly options: FindOptions,
  ) {
    this.#bounds = new Bounds(space, predictor, objective.load)
    this.#now = options.now ?? (() => performance.now())
    this.#begin = this.#now()
  }

  find(): Found {
    const { budgetMs, tolerance = 0, enough } = this.options
    const incumbent = budgetMs === undefined ? undefined : this.#climb(CLIMBING * budgetMs)
    const end = branchAndBound(this.#tree(this.space.roots), {
      tolerance,
      ...(enough !== undefined && { enough }),
      incumbent: incumbent && { leaf: incumbent.choice, value: incumbent.value },
      goOn: () => this.#within(1),
    })
    const tried = [...this.#values.values()].filter(candidate => candidate !== undefined)
    tried.sort((a, b) => b.value - a.value)
    const best = end.best && this.#candidate(end.best.leaf)
    return {
      ...(best && { best }),
      bound: end.bound,
      ended: end.ended,
      expanded: end.expanded,
      tried,
      size: this.space.size,
      evaluated: this.#values.size,
      refused: this.#refused,
      beyondBound: this.#beyondBound,
    }
  }

  #within(share: number): boolean {
    const { budgetMs = Number.POSITIVE_INFINITY } = this.options
    return this.#now() - this.#begin < share * budgetMs
  }

  #tree(roots: readonly Choice[]): Tree<Choice> {
    return {
      roots,
      children: choice => this.space.children(choice),
      bound: choice => this.objective.bound(this.#bounds, choice),
      promise: choice => this.objective.promise(this.#bounds, choice),
      value: choice => this.#candidate(choice)?.value ?? Number.NEGATIVE_INFINITY,
    }
  }

  /** Tries a plan, once. */
  #candidate(choice: Choice): Candidate | undefined {
    const key = keyOf(choice)
    if (!this.#values.has(key)) this.#values.set(key, this.#try(choice))
    return this.#values.get(key)
  }

  #try(choice: Choice): Candidate | undefined {
    const arrangement = this.space.arrangement(choice)
    try {
      const overflow = this.predictor.overflow?.(arrangement)
      if (overflow !== undefined) throw new UsageError(overflow.message)
      const prediction = this.predictor.predict(arrangement, this.objective.load)
      const value = this.objective.value(prediction)
      if (value === Number.NEGATIVE_INFINITY) return undefined
      const bound = this.objective.bound(this.#bounds, choice)
      if (bound === Number.NEGATIVE_INFINITY) return undefined
      if (value > bound + ROUNDING * Math.abs(bound)) this.#beyondBound++
      return { choice, arrangement, prediction, value }
    } catch (error) {
      count(this.#refused, error)
      return undefined
    }
  }

  /** First plans of the structures that promise most, each made better one choice at a time until none helps. */
  #climb(timeMs: number): Candidate | undefined {
    const roots = this.space.roots
      .map(choice => ({ choice, bound: this.objective.bound(this.#bounds, choice) }))
      .sort((a, b) => b.bound - a.bound)
      .slice(0, STARTS)
    let best: Candidate | undefined
    for (const [i, { choice }] of roots.entries()) {
      const deadline = this.#begin + (timeMs * (i + 1)) / roots.length
      const goOn = () => this.#now() < deadline
      const first = branchAndBound(this.#tree([choice]), { enough: Number.NEGATIVE_INFINITY, goOn }).best
      const start = first && this.#candidate(first.leaf)
      if (!start) continue
      const top = this.#climbFrom(start, goOn)
      if (!best || top.value > best.value) best = top
    }
    return best
  }

  #climbFrom(start: Candidate, goOn: () => boolean): Candidate {
    let at = start
    for (;;) {
      const better = this.#betterNear(at, goOn)
      if (!better) return at
      at = better
    }
  }

  #betterNear(at: Candidate, goOn: () => boolean): Candidate | undefined {
    for (const choice of this.space.neighbours(at.choice)) {
      if (!goOn()) return undefined
      if (this.objective.bound(this.#bounds, choice) <= at.value) continue
      const near = this.#candidate(choice)
      if (near && near.value > at.value) return near
    }
    return undefined
  }
}
