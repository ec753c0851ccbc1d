import { mkdirSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { UsageError } from '../../errors.ts'
import type { Plan } from '../../pipeline/plan.ts'
import type { Registry } from '../../pipeline/registry.ts'
import { mean, meanInterval } from '../../results/statistics.ts'
import { CPU, type RunSettings } from '../../steps/step.ts'
import { clipsDrawn } from '../../steps/synthetic/loader.ts'
import type { Flags } from '../../sweep/grid.ts'
import type { PointEnd } from '../../sweep/runner.ts'
import { NotMeasured } from '../not-measured.ts'
import { planOf } from '../plan-of.ts'
import { type Experiment, worthwhile } from './experiments.ts'
import {
  type Crowd,
  figuresOf,
  fit,
  fittedErrors,
  type Predict,
  parametersOf,
  simulatedFigures,
} from './fit.ts'
import { type Engine, engineOf, stepKey, threadsOf } from './keys.ts'
import { networkReader, threadsOfFile } from './networks.ts'
import { ProfilePredictor } from './predictor.ts'
import { type ObservedRun, observe, readResults } from './read-run.ts'
import type { Profile, ProfiledStep, Spread } from './schema.ts'

/** Who runs the program: `src/sweep/runner.ts`. */
export interface ProfileRunner {
  /** Folder of the runs' folders. */
  readonly out: string
  run(name: string, flags: Flags): Promise<PointEnd>
  /** Whether a run has ended, so that it is not run again. */
  ran(name: string): boolean
}

export interface MeasureOptions {
  runner: ProfileRunner
  experiments: readonly Experiment[]
  /** Of all runs: videos, weights, device, ... */
  flags: Flags
  registry: Registry
  weights?: string
  about: Profile['about']
  /** Paths of the videos that requests name, in their order. */
  videos: readonly string[]
  /** Seconds that runs may take in all. */
  budgetS: number
  /** Seconds that runs may take without which a step would not be known; `budgetS`. */
  mostS?: number
  /** What people gave, of which these are parts: the same. */
  wholeS?: number
  /** Half a 95 % interval of a mean, relative to it, at which a step is known well enough. */
  confidence?: number
  say(line: string): void
}

const CONFIDENCE = 0.03
/** Sizes with a smaller share of a step's calls do not count for how well it is known. */
const RARE = 0.05
const MOST_REQUESTS = 50_000
/** Seconds of a run that has to be short. */
const SHORT_S = 2
/** Seconds that a start is taken for before there was one: processes, libraries, a GPU's context, a network's weights. */
const FIRST_START_S = { cpu: 1, gpu: 5 }
/** By default requests in flight are warm twice over. */
const warmupOf = (concurrency: number): number => Math.max(10, 2 * concurrency)
/** In a short run, of which little else would be left. */
const shortWarmupOf = (concurrency: number): number => Math.max(2, concurrency)

/**
 * Share of a crowd's time that does not count: each of its threads compiles the same code anew, and calls take longer
 * until that is done.
 */
const CROWD_WARM_UP = 1 / 2
/** The same of one call at a time, where calls are so short that compiling takes a part of them: on a GPU. */
const GPU_WARM_UP = 1 / 4

/** A run of an experiment: as long as it is meant to be, or short. */
interface Run {
  experiment: Experiment
  seed: number
  short: boolean
}

const secondsOf = ({ experiment: { seconds }, short }: Pick<Run, 'experiment' | 'short'>): number =>
  short ? Math.min(SHORT_S, seconds) : seconds

const nameOf = ({ experiment: { name }, seed, short }: Run): string =>
  `${name}${short ? '-short' : ''}-${seed}`

interface Planned {
  plan: Plan
  settings: RunSettings
}

/** Samples of a step, in the order in which they came. */
interface Gathered {
  title: string
  kind: string
  width: number
  ahead: number
  engine: Engine
  /** False of a step that only takes time, as synthetic ones may. */
  busy: boolean
  /** Of calls whose processor time is known: all their time, and that. */
  withCpu: { ms: number; cpuMs: number }
  /** By clips, and by video for a first step. */
  calls: Map<string, { clips: number; video?: number; ms: number[] }>
}

/** Instances of the steps that an experiment is for. */
const instancesOf = ({ instances }: Plan, { only }: Experiment): Plan['instances'] =>
  only ? instances.filter(({ step }) => only.includes(step)) : instances

class Measurement {
  readonly #steps = new Map<string, Gathered>()
  readonly #handOverMs: number[] = []
  readonly #crowds: Crowd[] = []
  readonly #most = new Map<number, number>()
  /** By step, as `#steps`: times of calls that went round so many threads, by clips. */
  readonly #spreads = new Map<string, { threads: number; ms: Map<number, number[]> }>()
  readonly #videos: ReadonlyMap<string, number>
  readonly #plans = new Map<Experiment, Planned>()
  readonly #networks: ReturnType<typeof networkReader>
  readonly #loadBefore = loadavg()[0]!
  readonly #began = performance.now()
  /** Of runs that were made now: what each took beyond the time in which requests came. */
  readonly #starts: number[] = []

  constructor(readonly options: MeasureOptions) {
    this.#videos = new Map(options.videos.map((path, at) => [path, at]))
    this.#networks = networkReader(options.registry, options.weights)
  }

  get elapsedS(): number {
    return (performance.now() - this.#began) / 1000
  }

  /** What a run takes beyond the time in which requests come: as those before it, if there were any. */
  get #startS(): number {
    const { cpu, gpu } = FIRST_START_S
    return this.#starts.length > 0 ? mean(this.#starts) : this.options.about.gpus.length > 0 ? gpu : cpu
  }

  /** What a run takes, as far as that is known. */
  expectS(run: Pick<Run, 'experiment' | 'short'>): number {
    return secondsOf(run) + this.#startS
  }

  #planned(experiment: Experiment): Planned {
    const known = this.#plans.get(experiment)
    if (known) return known
    const { registry, about } = this.options
    const { arrangement } = experiment
    const gpus = about.gpus.length
    const planned = planOf(
      arrangement,
      { requests: MOST_REQUESTS, seed: 0, ratePerS: 1 },
      {
        registry,
        gpus,
        networks: this.#networks,
        threads: threadsOfFile(arrangement.config, registry, gpus === 0),
      },
    )
    this.#plans.set(experiment, planned)
    return planned
  }

  /** Whether it ran before, and takes no time again. */
  ran(experiment: Experiment, short: boolean): boolean {
    return this.options.runner.ran(nameOf({ experiment, seed: 0, short }))
  }

  /** Steps that an experiment measures, whatever their batches and threads. */
  steps(experiment: Experiment): string[] {
    const { plan } = this.#planned(experiment)
    return instancesOf(plan, experiment).flatMap(instance =>
      Array.from({ length: instance.workers }, (_, worker) =>
        stepKey(plan, instance, engineOf(instance, worker)),
      ),
    )
  }

  /** Whether calls of all its steps have been seen. */
  knows(experiment: Experiment): boolean {
    const known = new Set([...this.#steps.keys()].map(at => at.slice(0, at.lastIndexOf(' '))))
    return this.steps(experiment).every(key => known.has(key))
  }

  /** What an experiment tells: times of steps in its batches, or which engines disturb each other. */
  telling(experiment: Experiment): string[] {
    const { plan, settings } = this.#planned(experiment)
    const { isolates, spreads, arrangement, concurrency } = experiment
    const kinds = instancesOf(plan, experiment).flatMap(instance =>
      Array.from({ length: instance.workers }, (_, worker) => {
        const engine = engineOf(instance, worker)
        const { kind } = plan.steps[instance.step]!
        const threads = threadsOf(instance, kind, settings)
        return { key: `${stepKey(plan, instance, engine)} ${threads}`, engine: `${kind} on ${engine}` }
      }),
    )
    if (spreads) return kinds.map(({ key }) => `${key} over ${kinds.length}`).slice(0, 1)
    if (isolates) return kinds.map(({ key }) => `${key} ${arrangement.batch}`)
    return [`${concurrency} ${[...new Set(kinds.map(({ engine }) => engine))].sort().join(' + ')}`]
  }

  /** Runs an experiment, and takes in what it says. @returns false if people interrupted it */
  async run(run: Run): Promise<boolean> {
    const { runner, flags } = this.options
    const { experiment, seed, short } = run
    const { arrangement, concurrency } = experiment
    const seconds = secondsOf(run)
    const name = nameOf(run)
    mkdirSync(runner.out, { recursive: true })
    const file = join(runner.out, `${experiment.name}.json`)
    writeFileSync(file, JSON.stringify(arrangement.config, null, 2))
    const began = performance.now()
    const end = await runner.run(name, {
      ...flags,
      config_file_path: file,
      batch_size: String(arrangement.batch),
      max_batch_delay_ms: String(arrangement.maxBatchDelayMs),
      queue_size: String(arrangement.queueSize),
      concurrency: String(concurrency),
      duration: String(seconds),
      videos: String(MOST_REQUESTS),
      warmup: String((short ? shortWarmupOf : warmupOf)(concurrency)),
      seed: String(seed),
    })
    if (end.kind === 'interrupted') return false
    if (end.kind === 'failed') throw new UsageError(`measuring ${name} failed: ${end.message}`)
    if (end.summary.exit.status !== 0)
      throw new UsageError(`measuring ${name} failed: ${end.summary.exit.message ?? end.summary.exit.reason}`)
    if (!end.earlier) this.#starts.push(Math.max(0, (performance.now() - began) / 1000 - seconds))
    this.#take(run, join(runner.out, name, 'results.jsonl'))
    return true
  }

  #take({ experiment, seed }: Omit<Run, 'short'>, results: string): void {
    const planned = this.#planned(experiment)
    const all = readResults(results)
    const lastMs = Math.max(...all.map(({ intended_ms }) => intended_ms))
    const alone = this.options.about.gpus.length > 0 ? GPU_WARM_UP : 0
    const warmMs = (experiment.isolates ? alone : CROWD_WARM_UP) * lastMs
    const run = observe(
      planned.plan,
      all.map(result => (result.intended_ms < warmMs ? { ...result, warmup: true } : result)),
    )
    this.#takeRoom(planned, run, seed)
    if (experiment.spreads) this.#takeSpread(planned, run)
    else if (experiment.isolates) this.#takeCalls(planned, run, experiment)
    else this.#takeCrowd(experiment, run, all.length, seed)
    if (experiment.isolates && experiment.concurrency === 1)
      for (const ms of run.handOverMs) this.#handOverMs.push(ms)
  }

  /** Videos that gave fewer clips than were drawn for them have no room for more. */
  #takeRoom({ plan }: Planned, { results }: ObservedRun, seed: number): void {
    const { options } = plan.instances[0]!
    if (!('num_clips_population' in options)) return
    for (const { id, clips, video } of results) {
      const at = this.#videos.get(video)
      const drawn = clipsDrawn(options as unknown as Parameters<typeof clipsDrawn>[0], seed, id)
      if (at !== undefined && clips < drawn) this.#most.set(at, clips)
    }
  }

  #takeCrowd(experiment: Experiment, run: ObservedRun, requests: number, seed: number): void {
    const { name, arrangement, concurrency } = experiment
    const { results } = run
    const steps = this.#planned(experiment).plan.steps.length
    const callMs = Array.from({ length: steps }, (_, step) => {
      // A network on a GPU works at several batches at once: a call is longer than its work.
      const own = run.calls.filter(call => call.step === step && (step === 0 || call.engine === 'cpu'))
      return own.length > 0 ? mean(own.map(({ ms }) => ms)) : undefined
    })
    const measured = figuresOf(
      results.map(({ intended_ms, latency_ms }) => intended_ms + latency_ms),
      results.map(({ latency_ms }) => latency_ms),
      callMs,
    )
    if (measured)
      this.#crowds.push({
        name,
        arrangement,
        concurrency,
        requests,
        warmup: requests - results.length,
        seed,
        measured,
      })
  }

  #takeCalls({ plan, settings }: Planned, { calls, results }: ObservedRun, { only }: Experiment): void {
    const videoOf = new Map(results.map(({ id, video }) => [id, this.#videos.get(video)]))
    for (const { step, engine, clips, request, ms, cpuMs } of calls) {
      if (only && !only.includes(step)) continue
      const instance = plan.instances.find(other => other.step === step)!
      const { kind, name = kind, last } = plan.steps[step]!
      const width = engine === 'cpu' ? threadsOf(instance, kind, settings) : 1
      const key = stepKey(plan, instance, engine)
      const at = `${key} ${width}`
      const leaves = kind === 'network' && last && instance.device !== CPU
      const gathered = this.#steps.get(at) ?? {
        title: `${name} on ${engine}`,
        kind,
        busy: instance.options.busy !== false,
        width,
        ahead: leaves ? GPU_BATCHES_AHEAD : 0,
        engine,
        withCpu: { ms: 0, cpuMs: 0 },
        calls: new Map(),
      }
      this.#steps.set(at, gathered)
      if (cpuMs !== undefined) {
        gathered.withCpu.ms += ms
        gathered.withCpu.cpuMs += cpuMs
      }
      const video = request === undefined ? undefined : videoOf.get(request)
      const size = `${clips}/${video}`
      const known = gathered.calls.get(size) ?? { clips, ...(video !== undefined && { video }), ms: [] }
      gathered.calls.set(size, known)
      known.ms.push(ms)
    }
  }

  /** The first step's calls, which went round its threads. */
  #takeSpread({ plan, settings }: Planned, { calls }: ObservedRun): void {
    for (const { step, engine, clips, ms } of calls) {
      if (step !== 0) continue
      const instance = plan.instances.find(other => other.step === step)!
      const width = engine === 'cpu' ? threadsOf(instance, plan.steps[step]!.kind, settings) : 1
      const at = `${stepKey(plan, instance, engine)} ${width}`
      const known = this.#spreads.get(at) ?? { threads: instance.workers, ms: new Map<number, number[]>() }
      this.#spreads.set(at, known)
      known.ms.set(clips, [...(known.ms.get(clips) ?? []), ms])
    }
  }

  /** The widest interval of a mean that counts, relative to the mean; null where a size has too few calls for one. */
  widestInterval(): number | null {
    let widest: number | null = 0
    for (const { calls } of this.#steps.values()) {
      const bySize = new Map<number, number[]>()
      for (const { clips, ms } of calls.values()) bySize.set(clips, [...(bySize.get(clips) ?? []), ...ms])
      const total = [...bySize.values()].reduce((sum, ms) => sum + ms.length, 0)
      for (const ms of bySize.values()) {
        if (ms.length < RARE * total) continue
        const interval = meanInterval(Float64Array.from(ms))
        const centre = mean(ms)
        if (!interval) return null
        if (centre > 0 && widest !== null)
          widest = Math.max(widest, (interval.high - interval.low) / 2 / centre)
      }
    }
    return widest
  }

  profile(left: readonly string[]): Profile {
    const { about, videos, registry } = this.options
    const steps = [...this.#steps].map(([at, of]) => ({
      ...stepOf(at.slice(0, at.lastIndexOf(' ')), of),
      ...spreadOf(of, this.#spreads.get(at)),
    }))
    const profile: Profile = {
      version: 1,
      about,
      measured: {
        at: new Date().toISOString(),
        seconds: this.elapsedS,
        loadBefore: this.#loadBefore,
        loadAfter: loadavg()[0]!,
        calls: steps.reduce((sum, { calls }) => calls.reduce((all, { ms }) => all + ms.length, sum), 0),
        widestInterval: this.widestInterval(),
        left: [...left],
      },
      videos: videos.map((path, at) => ({ path, ...(this.#most.has(at) && { most: this.#most.get(at)! }) })),
      handOverMs: this.#handOverMs.sort((a, b) => a - b),
      capacities: { cores: about.cores, ...(about.gpus.length > 0 && { nvdec: FIRST_NVDEC, compute: 1 }) },
      straggling: 1,
      fitted: [],
      steps,
    }
    const options = { registry, networks: this.#networks }
    const predict: Predict = (of, crowd) => {
      const predictor = new ProfilePredictor(of, options)
      try {
        return simulatedFigures((arrangement, arrivals) => predictor.simulate(arrangement, arrivals), crowd)
      } catch (error) {
        // Of a step of it, no call came to its end: then nothing is fitted to it.
        if (error instanceof NotMeasured) return undefined
        throw error
      }
    }
    fit(profile, this.#crowds, parametersOf(profile), predict)
    profile.fitted = fittedErrors(profile, this.#crowds, predict)
    return profile
  }
}

/** As in `src/steps/gpu-network.ts`: while one batch is computed, the one before is read back. */
const GPU_BATCHES_AHEAD = 2
/** Decoders of a GPU before it is known how much they carry. */
const FIRST_NVDEC = 7
const FIRST_NVDEC_SHARE = 0.5

/** What a step's calls share with others, before that is fitted. */
function sharesOf({ engine, kind, busy }: Gathered): ProfiledStep['shares'] {
  if (!busy) return {}
  if (engine !== 'gpu') return { cores: 1 }
  return kind === 'loader' ? { nvdec: FIRST_NVDEC_SHARE } : { compute: 1 }
}

/**
 * Of a core of the host, what calls on a GPU keep busy: libnvcuvid asks the engines over and over, so that it is the same share
 * whether they wait or not. Decoders on the host want the same cores.
 */
const hostWidthOf = ({ engine, kind, withCpu: { ms, cpuMs } }: Gathered): { hostWidth?: number } =>
  engine === 'gpu' && kind === 'loader' && cpuMs > 0 ? { hostWidth: Math.min(1, cpuMs / ms) } : {}

function stepOf(key: string, of: Gathered): ProfiledStep {
  return {
    key,
    title: of.title,
    width: of.width,
    ...hostWidthOf(of),
    ahead: of.ahead,
    shares: sharesOf(of),
    calls: [...of.calls.values()].map(call => ({ ...call, ms: call.ms.toSorted((a, b) => a - b) })),
  }
}

/** Fewer calls say little of a mean. */
const LEAST_CALLS = 5

/** How much longer calls take that go round many threads than those of one thread. */
function spreadOf(
  { calls }: Gathered,
  spread: { threads: number; ms: ReadonlyMap<number, number[]> } | undefined,
): { spread?: Spread } {
  if (!spread || spread.threads < 2) return {}
  const found = [...spread.ms].flatMap(([clips, ms]) => {
    const alone = [...calls.values()].filter(of => of.clips === clips).flatMap(of => of.ms)
    if (Math.min(ms.length, alone.length) < LEAST_CALLS) return []
    return [{ clips, longer: Math.max(1, mean(ms) / mean(alone)) }]
  })
  return found.length > 0 ? { spread: { threads: spread.threads, calls: found } } : {}
}

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
  const left: string[] = []
  for (const [at, experiment] of experiments.entries()) {
    const essential = needed.has(experiment)
    const open = [...needed].slice(at)
    const tight = essential && measurement.elapsedS + allS(open, false) > budgetS
    const short =
      !measurement.ran(experiment, false) &&
      (measurement.ran(experiment, true) || (tight && experiment.seconds > SHORT_S))
    if (measurement.elapsedS + takesS(experiment, short) > (essential ? mostS : budgetS)) {
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
    say(`not measured, as ${budgetS} s are over: ${left.join(', ')}`)
    return measurement.profile(left)
  }
  const alone = experiments.filter(isolating)
  for (let seed = 1; ; seed++)
    for (const experiment of alone) {
      const widest = measurement.widestInterval()
      const run = { experiment, seed, short: false }
      const spent = measurement.elapsedS + measurement.expectS(run) > budgetS
      if ((widest !== null && widest <= confidence) || spent) return measurement.profile([])
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
