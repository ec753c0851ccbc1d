import { UsageError } from '../../errors.ts'
import { type Experiment, worthwhile } from './experiments.ts'
import { Measurement, type MeasurementOptions, SHORT_S, secondsOf } from './measurement.ts'
import type { Profile } from './schema.ts'

export interface MeasureOptions extends MeasurementOptions {
  experiments: readonly Experiment[]
  /** Seconds that runs may take in all. */
  budgetS: number
  /** Seconds that runs may take without which a step would not be known; `budgetS`. */
  mostS?: number
  /** Seconds that all runs but these may take together with the fit that follows (no limit). */
  fittedS?: number
  /** What people gave, of which these are parts: the same. */
  wholeS?: number
  /** Half a 95 % interval of a mean, relative to it, at which a step is known well enough. */
  confidence?: number
  say(line: string): void
}

const CONFIDENCE = 0.03

const isolating = ({ isolates }: Experiment): boolean => isolates

/** Those of them without which a step would not be known, or nothing of what calls at once cost each other. */
function essentials(experiments: readonly Experiment[], measurement: Measurement): Set<Experiment> {
  const known = new Set<string>()
  const alone = experiments.filter(experiment => {
    if (!experiment.isolates) return false
    const steps = measurement.steps(experiment)
    if (steps.every(key => known.has(key))) return false
    for (const key of steps) known.add(key)
    return true
  })
  return new Set([
    ...alone,
    ...experiments.filter(({ isolates, spreads }) => !isolates && !spreads).slice(0, 1),
  ])
}

/**
 * Measures a pipeline's steps by running the program. First come the runs without which a step would not be known: they are
 * made short where the budget asks for that, and go beyond it, up to `mostS`, where even so it does not do. Then all others
 * once, as far as the budget goes, and those again in which calls run by themselves, until the means of all calls are known
 * well enough or the budget is spent. What was run before, in the same folder, is not run again.
 * @returns undefined if people interrupted it
 * @throws {UsageError} if a run fails, or the budget is too small for the first of them
 */
export async function measureProfile(options: MeasureOptions): Promise<Profile | undefined> {
  const { budgetS, mostS = budgetS, wholeS = budgetS, say, confidence = CONFIDENCE } = options
  const { fittedS = Number.POSITIVE_INFINITY } = options
  const measurement = new Measurement(options)
  const telling = worthwhile(options.experiments, experiment => measurement.telling(experiment))
  const needed = essentials(telling, measurement)
  const experiments = [...needed, ...telling.filter(experiment => !needed.has(experiment))]
  const takesS = (experiment: Experiment, short: boolean) =>
    measurement.ran(experiment, false) || measurement.ran(experiment, true)
      ? 0
      : measurement.expectS({ experiment, short })
  const allS = (of: readonly Experiment[], short: boolean) =>
    of.reduce((sum, experiment) => sum + takesS(experiment, short), 0)
  /** Whether there is no time for another run. */
  const spent = async (runS: number): Promise<boolean> => {
    const thenS = measurement.elapsedS + runS
    return (
      thenS > budgetS || (fittedS < Number.POSITIVE_INFINITY && thenS + (await measurement.fitS()) > fittedS)
    )
  }
  const left: string[] = []
  for (const [at, experiment] of experiments.entries()) {
    const essential = needed.has(experiment)
    const open = [...needed].slice(at)
    const tight = essential && measurement.elapsedS + allS(open, false) > budgetS
    const short =
      !measurement.ran(experiment, false) &&
      (measurement.ran(experiment, true) || (tight && experiment.seconds > SHORT_S))
    const runS = takesS(experiment, short)
    if (essential ? measurement.elapsedS + runS > mostS : runS > 0 && (await spent(runS))) {
      if (at === 0) throw tooSmall(wholeS, (wholeS * allS(open.filter(isolating), true)) / mostS)
      left.push(experiment.name)
      continue
    }
    const run = { experiment, seed: 0, short }
    say(`measuring ${at + 1} of ${experiments.length}: ${experiment.name}, ${secondsOf(run)} s`)
    if (!(await measurement.run(run))) return undefined
    if (!short || measurement.knows(experiment)) continue
    say(`measuring it again, as no call came to its end: ${experiment.name}, ${experiment.seconds} s`)
    if (!(await measurement.run({ ...run, short: false }))) return undefined
  }
  if (left.length > 0) {
    say(`not measured, as there was no time left: ${left.join(', ')}`)
    return await measurement.profile(left)
  }
  const alone = experiments.filter(isolating)
  for (let seed = 1; ; seed++)
    for (const experiment of alone) {
      const widest = measurement.widestInterval
      const run = { experiment, seed, short: false }
      const enough = widest !== null && widest <= confidence
      if (enough || (await spent(measurement.expectS(run)))) return await measurement.profile([])
      const known = widest === null ? 'too few' : `means within ${(100 * widest).toFixed(1)} %`
      say(`measuring again, calls so far: ${known}: ${experiment.name}, ${experiment.seconds} s`)
      if (!(await measurement.run(run))) return undefined
    }
}

const tooSmall = (wholeS: number, leastS: number): UsageError =>
  new UsageError(
    `a budget of ${wholeS} s is too small: to measure each step that this space may use, once and briefly, takes one of ` +
      `about ${Math.ceil(leastS)} s; raise it, or narrow the space (--loaders, --segments, --batches, --replicas)`,
  )
