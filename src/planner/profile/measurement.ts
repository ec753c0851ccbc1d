import { mkdirSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { UsageError } from '../../errors.ts'
import type { Plan } from '../../pipeline/plan.ts'
import type { Registry } from '../../pipeline/registry.ts'
import type { ResultLine } from '../../results/schema.ts'
import { mean } from '../../results/statistics.ts'
import type { ClipOptions } from '../../steps/clip-options.ts'
import { clipsDrawn } from '../../steps/synthetic/loader.ts'
import type { Flags } from '../../sweep/grid.ts'
import type { PointEnd } from '../../sweep/runner.ts'
import { NotMeasured } from '../not-measured.ts'
import { planOf } from '../plan-of.ts'
import { CallTotals, callsOf, largerThan } from './calls.ts'
import { type Crowd, figuresOf, followed, simulatedFigures, simulatedOf } from './crowd.ts'
import { type Experiment, isOfBothEngines } from './experiments.ts'
import { distance, fit, fitSharing, fittedErrors, type Predict, triedBy } from './fit.ts'
import { networkReader, threadsOfFile } from './networks.ts'
import { parametersOf } from './parameters.ts'
import { ProfilePredictor } from './predictor.ts'
import { type ObservedRun, observe, readResults } from './read-run.ts'
import { type Planned, Samples, threadKeys } from './samples.ts'
import type { Profile } from './schema.ts'
import { piecesOf, SharedWork } from './sharing.ts'

/** Who runs the program: `src/sweep/runner.ts`. */
export interface ProfileRunner {
  /** Folder of the runs' folders. */
  readonly out: string
  run(name: string, flags: Flags): Promise<PointEnd>
  /** Whether a run has ended, so that it is not run again. */
  ran(name: string): boolean
}

export interface MeasurementOptions {
  runner: ProfileRunner
  /** Of all runs: videos, weights, device, ... */
  flags: Flags
  registry: Registry
  weights?: string
  about: Profile['about']
  /** Paths of the videos that requests name, in their order. */
  videos: readonly string[]
}

const MOST_REQUESTS = 50_000
/** Seconds of a run that has to be short. */
export const SHORT_S = 2
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

/** Kinds whose calls take microseconds: crowds with them tell nothing that others do not. */
const HARDLY_BUSY = new Set(['aggregator', 'batcher'])

/** Decoders of a GPU before it is known how much they carry. */
const FIRST_NVDEC = 7
const FIRST_FRICTION = 0.02

/** A run of an experiment: as long as it is meant to be, or short. */
export interface Run {
  experiment: Experiment
  seed: number
  short: boolean
}

/** For how long requests come. */
export const secondsOf = ({ experiment: { seconds }, short }: Pick<Run, 'experiment' | 'short'>): number =>
  short ? Math.min(SHORT_S, seconds) : seconds

const nameOf = ({ experiment: { name }, seed, short }: Run): string =>
  `${name}${short ? '-short' : ''}-${seed}`

/** Instances of the steps that an experiment is for. */
const instancesOf = ({ instances }: Plan, { only }: Experiment): Plan['instances'] =>
  only ? instances.filter(({ step }) => only.includes(step)) : instances

/** Runs experiments one after the other, takes in what they say, and makes a profile of that. */
export class Measurement {
  readonly #samples = new Samples()
  readonly #handOverMs: number[] = []
  readonly #crowds: Crowd[] = []
  readonly #sharedWork = new SharedWork()
  readonly #most = new Map<number, number>()
  readonly #videos: ReadonlyMap<string, number>
  readonly #plans = new Map<Experiment, Planned>()
  readonly #networks: ReturnType<typeof networkReader>
  readonly #loadBefore = loadavg()[0]!
  readonly #began = performance.now()
  /** What a fit to so many crowds takes. */
  #fitTime = { crowds: 0, seconds: 0 }
  /** Of runs that were made now: what each took beyond the time in which requests came. */
  readonly #starts: number[] = []

  constructor(readonly options: MeasurementOptions) {
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

  /** The threads of the steps that an experiment is for. */
  #threads(experiment: Experiment) {
    const planned = this.#planned(experiment)
    const { plan } = planned
    return instancesOf(plan, experiment).flatMap(instance =>
      threadKeys(planned, instance).map(thread => ({ ...thread, kind: plan.steps[instance.step]!.kind })),
    )
  }

  /** Steps that an experiment measures, whatever their batches and threads. */
  steps(experiment: Experiment): string[] {
    return this.#threads(experiment).map(({ key }) => key)
  }

  /** Whether calls of all its steps have been seen. */
  knows(experiment: Experiment): boolean {
    const { keys } = this.#samples
    return this.steps(experiment).every(key => keys.has(key))
  }

  /** What an experiment tells: times of steps in its batches, or which engines disturb each other. */
  telling(experiment: Experiment): string[] {
    const { isolates, spreads, arrangement, concurrency } = experiment
    const kinds = this.#threads(experiment).map(({ key, threads, engine, kind }) => ({
      key: `${key} ${threads}`,
      engine: `${kind} on ${engine}`,
      kind,
    }))
    const { workers } = this.#planned(experiment).plan.instances[0]!
    if (spreads) return kinds.map(({ key }) => `${key} over ${workers}`).slice(0, 1)
    if (isolates) return kinds.map(({ key }) => `${key} ${arrangement.batch}`)
    const busy = kinds.filter(({ kind }) => !HARDLY_BUSY.has(kind)).map(({ engine }) => engine)
    return [`${concurrency} of ${workers} ${[...new Set(busy)].sort().join(' + ')}`]
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
    if (experiment.spreads) {
      for (const call of run.calls) if (call.step === 0) this.#samples.takeRound(planned, call)
    } else if (experiment.isolates) this.#takeCalls(planned, run, experiment)
    else this.#takeCrowd(experiment, planned, run, seed)
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

  #takeCrowd(experiment: Experiment, planned: Planned, run: ObservedRun, seed: number): void {
    const { name, arrangement, concurrency } = experiment
    const ids = run.results.map(({ id }) => id).sort((a, b) => a - b)
    if (ids.length === 0) return
    const counted = followed(ids, concurrency)
    const counts = (id: number) => id <= counted.at(-1)!
    const results = run.results.filter(({ id }) => counts(id))
    const times = new CallTotals()
    const shares = arrangement.config.pipeline[0]!.share_clips === true
    for (const call of run.calls) {
      const { step, engine, clips, ms } = call
      if (shares) this.#sharedWork.take(call, true)
      else this.#samples.takeBeside(planned, call)
      if (counts(call.request ?? ids[0]!)) times.add(callsOf(step, engine), clips, ms)
    }
    const measured = figuresOf(
      results.map(({ intended_ms, latency_ms }) => intended_ms + latency_ms),
      results.map(({ latency_ms }) => latency_ms),
      times.all,
    )
    if (!measured) return
    const simulated = simulatedOf(ids, counted)
    const own = results.filter(({ id }) => id >= simulated.first && id < simulated.first + simulated.requests)
    const clipsOf = (of: readonly ResultLine[]) => of.map(({ clips }) => clips)
    const larger = largerThan(clipsOf(own), clipsOf(results), times.all.get(callsOf(0, 'gpu')!))
    const figures = { ...measured, videosPerS: measured.videosPerS / larger }
    this.#crowds.push({ name, arrangement, concurrency, ...simulated, seed, measured: figures })
  }

  #takeCalls(planned: Planned, { calls, results }: ObservedRun, { only }: Experiment): void {
    const videoOf = new Map(results.map(({ id, video }) => [id, this.#videos.get(video)]))
    for (const call of calls) {
      if (only && !only.includes(call.step)) continue
      this.#sharedWork.take(call, false)
      this.#samples.take(planned, call, call.request === undefined ? undefined : videoOf.get(call.request))
    }
  }

  /** As `Samples.widestInterval`. */
  get widestInterval(): number | null {
    return this.#samples.widestInterval
  }

  /** How videos divide into pieces, where a loader's threads were seen to share them. */
  async #sharing(): Promise<Pick<Profile, 'sharing'>> {
    const shared = this.#crowds.find(
      ({ arrangement }) => arrangement.config.pipeline[0]!.share_clips === true,
    )
    if (!shared) return {}
    const experiment = [...this.#plans.keys()].find(({ name }) => name === shared.name)!
    const { options } = this.#planned(experiment).plan.instances[0]!
    const pieces = await piecesOf(this.options.videos, options as unknown as ClipOptions)
    return { sharing: { beginMs: 0, extraMs: this.#sharedWork.extraMs(pieces), pieces } }
  }

  /** What is known, before anything is fitted. */
  async #unfitted(left: readonly string[]): Promise<Profile> {
    const { about, videos } = this.options
    const { steps, widestInterval } = this.#samples
    return {
      version: 1,
      about,
      measured: {
        at: new Date().toISOString(),
        seconds: this.elapsedS,
        loadBefore: this.#loadBefore,
        loadAfter: loadavg()[0]!,
        calls: steps.reduce((sum, { calls }) => calls.reduce((all, { ms }) => all + ms.length, sum), 0),
        widestInterval,
        left: [...left],
      },
      videos: videos.map((path, at) => ({ path, ...(this.#most.has(at) && { most: this.#most.get(at)! }) })),
      handOverMs: this.#handOverMs.sort((a, b) => a - b),
      capacities: { cores: about.cores, ...(about.gpus.length > 0 && { nvdec: FIRST_NVDEC, compute: 1 }) },
      straggling: 1,
      friction: FIRST_FRICTION,
      ...(left.some(isOfBothEngines) && {
        bothEngines: this.#crowds.some(({ name }) => isOfBothEngines(name)),
      }),
      ...(await this.#sharing()),
      fitted: [],
      steps,
    }
  }

  readonly #predict: Predict = (profile, crowd) => {
    const { registry } = this.options
    const predictor = new ProfilePredictor(profile, { registry, networks: this.#networks })
    try {
      return simulatedFigures((arrangement, arrivals) => predictor.simulate(arrangement, arrivals), crowd)
    } catch (error) {
      // Of a step of it, no call came to its end: then nothing is fitted to it.
      if (error instanceof NotMeasured) return undefined
      throw error
    }
  }

  /** Seconds that `profile` takes for its fit, about. */
  async fitS(): Promise<number> {
    if (this.#fitTime.crowds !== this.#crowds.length) {
      const profile = await this.#unfitted([])
      let seconds = 0
      // The first time the code is not compiled yet.
      for (let time = 0; time < 2; time++) {
        const began = performance.now()
        distance(profile, this.#crowds, this.#predict)
        seconds = (performance.now() - began) / 1000
      }
      const tried = triedBy(parametersOf(profile))
      this.#fitTime = { crowds: this.#crowds.length, seconds: tried * seconds }
    }
    return this.#fitTime.seconds
  }

  async profile(left: readonly string[]): Promise<Profile> {
    const profile = await this.#unfitted(left)
    fit(profile, this.#crowds, parametersOf(profile), this.#predict)
    fitSharing(profile, this.#crowds, this.#predict)
    profile.fitted = fittedErrors(profile, this.#crowds, this.#predict)
    return profile
  }
}
