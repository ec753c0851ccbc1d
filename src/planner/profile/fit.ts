import { levenbergMarquardt } from 'ml-levenberg-marquardt'
import { callsOf, longerThan, meanCallMs } from './calls.ts'
import type { Crowd, Figures } from './crowd.ts'
import { goldenSection } from './golden-section.ts'
import type { Parameter } from './parameters.ts'
import type { Profile } from './schema.ts'

/** Predicts a run. */
export type Predict = (profile: Profile, crowd: Crowd) => Figures | undefined

/** How often parameters are made better from where they are, all at once. */
const ITERATIONS = 6
/**
 * How far parameters are changed to see what that does, as a share of them: chance, in what is simulated, makes small hills and valleys,
 * over which this has to look.
 */
const STEP = 0.1
/** At the beginning: so much that what hardly changes predictions is not changed by much. */
const DAMPING = 1e-3
/** A deviation, as the root of the mean of squares, that is not worth another iteration: what is measured is not known better. */
const CLOSE = 0.004
/** One with which something else than the way downhill is worth its time. */
const FAR = 0.015

/** Simulations of each crowd that `fit` takes, where the way downhill leads to what was measured. */
export const triedBy = (parameters: readonly Parameter[]): number =>
  1 + ITERATIONS * (2 * parameters.length + 1)

/**
 * How far a prediction is from what was measured: logarithms of ratios, of the rate and of the times of calls. Each of the latter counts half,
 * as what one of them says, others say too.
 */
function deviations({ measured }: Crowd, predicted: Figures | undefined): number[] {
  const calls = [...measured.calls].map(([name, theirs]) => {
    const own = predicted?.calls.get(name)
    return own ? Math.log(longerThan(own, theirs)) / 2 : 0
  })
  return [predicted ? Math.log(predicted.videosPerS / measured.videosPerS) : 0, ...calls]
}

/** How far predictions are from what was measured, as a sum of squared logarithms. */
export const distance = (profile: Profile, crowds: readonly Crowd[], predict: Predict): number =>
  squared(crowds.flatMap(crowd => deviations(crowd, predict(profile, crowd))))

const squared = (all: readonly number[]): number => all.reduce((sum, one) => sum + one ** 2, 0)

/** Looks for the values of parameters with which predictions come nearest to crowds. The nearest of all that it tried is what it found. */
class Search {
  readonly #known = new Map<string, readonly number[]>()
  #found: readonly number[]
  #least = Number.POSITIVE_INFINITY

  constructor(
    readonly parameters: readonly Parameter[],
    /** With the values that parameters have now. */
    readonly deviations: () => number[],
  ) {
    this.#found = parameters.map(({ of, name }) => of[name]!)
    this.#at(this.#found)
  }

  #at(values: readonly number[]): readonly number[] {
    const within = values.map((value, p) => {
      const { low, high } = this.parameters[p]!
      return Math.min(high, Math.max(low, value))
    })
    const key = within.join()
    const known = this.#known.get(key)
    if (known) return known
    this.#set(within)
    const found = this.deviations()
    this.#known.set(key, found)
    const far = squared(found)
    if (far < this.#least) [this.#least, this.#found] = [far, within]
    return found
  }

  #set(values: readonly number[]): void {
    for (const [p, { of, name }] of this.parameters.entries()) of[name] = values[p]!
  }

  /** Whether predictions deviate by more than that, as the root of the mean of squares. */
  farther(than: number): boolean {
    return this.#least > this.#at(this.#found).length * than ** 2
  }

  /** Goes downhill from the best that is known, with all parameters at once (Levenberg 1944, Marquardt 1963). */
  descend(): void {
    const of = this.#at(this.#found)
    const log = (pick: (parameter: Parameter, p: number) => number) =>
      this.parameters.map((parameter, p) => Math.log(pick(parameter, p)))
    levenbergMarquardt(
      { x: [...of.keys()], y: of.map(() => 0) },
      logs => {
        const found = this.#at(logs.map(Math.exp))
        return index => found[index]!
      },
      {
        initialValues: log((_, p) => this.#found[p]!),
        minValues: log(({ low }) => low),
        maxValues: log(({ high }) => high),
        damping: DAMPING,
        gradientDifference: STEP,
        centralDifference: true,
        maxIterations: ITERATIONS,
        errorTolerance: of.length * CLOSE ** 2,
      },
    )
  }

  /** Looks over all that each parameter may be, one after the other. */
  sweep(): void {
    for (const [p, { low, high }] of this.parameters.entries()) {
      const values = this.#found
      goldenSection(low, high, value => squared(this.#at(values.with(p, value))))
    }
  }

  /** Leaves parameters as was found to be best. */
  settle(): void {
    this.#set(this.#found)
  }
}

/**
 * Sets a profile's parameters so that simulations come nearest to the crowds that were measured. A parameter that makes nothing better
 * keeps its value. One request at a time tells nothing of them: even if threads share it, it comes nowhere near what is shared.
 */
export function fit(
  profile: Profile,
  all: readonly Crowd[],
  parameters: readonly Parameter[],
  predict: Predict,
): void {
  const crowds = all.filter(({ concurrency }) => concurrency > 1)
  if (crowds.length === 0 || parameters.length === 0) return
  const search = new Search(parameters, () =>
    crowds.flatMap(crowd => deviations(crowd, predict(profile, crowd))),
  )
  search.descend()
  // From far away the way downhill may lead elsewhere.
  if (search.farther(FAR)) {
    search.sweep()
    search.descend()
  }
  search.settle()
}

/** A thread does no less and no more before it decodes, in ms. */
const BEGIN_MS = [0.01, 100] as const

/**
 * Sets what each thread that shares a video does before its first clip, so that calls of several clips come out as long as they were
 * while requests came one at a time.
 */
export function fitSharing(profile: Profile, all: readonly Crowd[], predict: Predict): void {
  const { sharing } = profile
  const crowd = all.find(({ arrangement: { config } }) => config.pipeline[0]!.share_clips === true)
  const name = callsOf(0, 'gpu')!
  const measured = new Map([...(crowd?.measured.calls.get(name) ?? [])].filter(([clips]) => clips > 1))
  if (!sharing || !crowd || measured.size === 0) return
  sharing.beginMs = goldenSection(...BEGIN_MS, beginMs => {
    sharing.beginMs = beginMs
    const calls = predict(profile, crowd)?.calls.get(name) ?? measured
    return Math.log(longerThan(calls, measured)) ** 2
  })
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
        measured: {
          videosPerS: crowd.measured.videosPerS,
          p50Ms: crowd.measured.p50Ms,
          callMs: meanCallMs(crowd.measured.calls),
        },
      },
    ]
  })
