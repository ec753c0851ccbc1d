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
