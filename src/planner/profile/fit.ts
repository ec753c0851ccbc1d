import { callsOf, longerThan, meanCallMs } from './calls.ts'
import type { Crowd, Figures } from './crowd.ts'
import type { Profile } from './schema.ts'

/** A number of a profile that cannot be measured by itself. */
export interface Parameter {
  low: number
  high: number
  /** What holds it, and by which name. */
  of: { [name: string]: number }
  name: string
}

/** Predicts a run. */
export type Predict = (profile: Profile, crowd: Crowd) => Figures | undefined

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
    ...(steps.some(({ width }) => width > 1) ? [own(profile, 'straggling', ...STRAGGLING)] : []),
    ...capacity('nvdec', 0.5, 64),
    ...(uses('nvdec') ? [own(profile, 'friction', ...FRICTION)] : []),
  ]
}

const STRAGGLING = [1, 5] as const
const FRICTION = [0.002, 0.2] as const

/** Of the profile itself, which holds more than numbers. */
function own(profile: Profile, name: 'straggling' | 'friction', low: number, high: number): Parameter {
  const of = {
    get [name]() {
      return profile[name]
    },
    set [name](value: number) {
      profile[name] = value
    },
  }
  return { low, high, of, name }
}

const GOLDEN = (Math.sqrt(5) - 1) / 2
const STEPS = 12
/**
 * After a sweep over all that parameters may be: how far around what was found others look, and in how many steps. Parameters hang
 * together, so each of these sweeps is done again, where it made the distance smaller than this share of what it was.
 */
const AROUND = [3, 2, 1.3]
const AROUND_STEPS = 5
const TURNS = 2
const BETTER = 0.95

/** Values that `fit` tries at the most: two more for each section than steps. */
export const mostTried = (parameters: readonly Parameter[]): number =>
  1 + parameters.length * (STEPS + 2 + AROUND.length * TURNS * (AROUND_STEPS + 2))

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
export function distance(profile: Profile, crowds: readonly Crowd[], predict: Predict): number {
  return crowds.reduce((sum, crowd) => {
    const predicted = predict(profile, crowd)
    if (!predicted) return sum
    const rate = Math.log(predicted.videosPerS / crowd.measured.videosPerS)
    const calls = [...crowd.measured.calls].map(([name, measured]) => {
      const own = predicted.calls.get(name)
      return own ? Math.log(longerThan(own, measured)) : 0
    })
    return sum + rate ** 2 + calls.reduce((all, error) => all + error ** 2, 0) / 4
  }, 0)
}

/**
 * Sets a profile's parameters so that simulations come nearest to the crowds that were measured: one parameter after the
 * other, several times over. A parameter that makes nothing better keeps its value. One request at a time tells nothing of them: even if
 * threads share it, it comes nowhere near what is shared.
 */
export function fit(
  profile: Profile,
  all: readonly Crowd[],
  parameters: readonly Parameter[],
  predict: Predict,
): void {
  const crowds = all.filter(({ concurrency }) => concurrency > 1)
  if (crowds.length === 0) return
  let best = distance(profile, crowds, predict)
  const seek = ({ low, high, of, name }: Parameter, around: number, steps: number): void => {
    const before = of[name]!
    let nearest = before
    // Of all that were tried: chance, in what is simulated, makes small hills and valleys.
    const at = (value: number): number => {
      of[name] = value
      const far = distance(profile, crowds, predict)
      if (far < best) [best, nearest] = [far, value]
      return far
    }
    goldenSection(Math.max(low, before / around), Math.min(high, before * around), at, steps)
    of[name] = nearest
  }
  for (const parameter of parameters) seek(parameter, Number.POSITIVE_INFINITY, STEPS)
  for (const around of AROUND)
    for (let turn = 0; turn < TURNS; turn++) {
      const before = best
      for (const parameter of parameters) seek(parameter, around, AROUND_STEPS)
      if (best >= BETTER * before) break
    }
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
