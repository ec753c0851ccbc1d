import { ABORT, type Overload } from '../../client/overload.ts'
import { drawSchedule } from '../../client/schedule.ts'
import { UsageError } from '../../errors.ts'
import { checkConfig } from '../../pipeline/config.ts'
import type { Instance, Plan } from '../../pipeline/plan.ts'
import type { Registry } from '../../pipeline/registry.ts'
import { segmentSizes } from '../../pipeline/segments.ts'
import { type ResourceOptions, type Simulated, simulate } from '../../simulator/simulate.ts'
import { CPU, type RunSettings } from '../../steps/step.ts'
import { planOf, type Surroundings } from '../plan-of.ts'
import { counted, predictionOf, resourcesOf } from '../prediction.ts'
import type { Arrangement, Demand, Load, Machine, Placing, Prediction, Predictor } from '../types.ts'
import { engineOf } from './keys.ts'
import { networkReader, threadsOfFile } from './networks.ts'
import type { Profile } from './schema.ts'
import {
  type KnownStep,
  KnownSteps,
  leastLargest,
  ProfiledService,
  resourceOf,
  stretchesOf,
} from './service.ts'

/**
 * How suddenly calls on a GPU's engines disturb each other, as `SharedOptions` has it. Runs of 4 to 32 threads on H100s are met with 5 to 8,
 * and cannot be told apart by it: it is not fitted.
 */
const SHARPNESS = 6

/** What is shared on each GPU; all else of a profile's capacities is the host's. */
const OF_GPUS = new Set(['nvdec', 'compute'])

/**
 * The host that a profile was measured on, or one with other GPUs of that kind.
 * @param gpus as measured, unless said otherwise
 */
export function machineOf({ capacities, about }: Profile, gpus = about.gpus.length): Machine {
  const pick = (ofGpus: boolean) =>
    Object.fromEntries(Object.entries(capacities).filter(([name]) => OF_GPUS.has(name) === ofGpus))
  return { gpus, gpu: gpus > 0 ? pick(true) : {}, host: pick(false), cores: about.cores }
}

export interface PredictorOptions {
  registry: Registry
  /** Default: the host that the profile was measured on. */
  machine?: Machine
  /** Checkpoint of networks whose steps name none. */
  weights?: string
  /** In place of reading what networks there are: a reader that may know them. */
  networks?: Surroundings['networks']
  /** So many hosts like this one, each of which gets an even share of a load's rate and requests. */
  hosts?: number
}

/** When requests come, in a simulation. */
export interface Arrivals {
  /** Ns after the start, ascending; of a closed loop only their number counts. */
  schedule: Float64Array
  concurrency?: number
  seed: number
  /** The number of the first of them (0), which says with the seed what each is. */
  first?: number
  /** All at once: queues have room for them. */
  bulk?: boolean
  overload?: Overload
  /** Results at the start that figures leave out. */
  warmup?: number
}

/** Predicts what a pipeline would do from what was measured of its steps, by simulation. */
export class ProfilePredictor implements Predictor {
  readonly machine: Machine
  readonly #steps: KnownSteps
  readonly #surroundings: Surroundings

  constructor(
    readonly profile: Profile,
    readonly options: PredictorOptions,
  ) {
    this.machine = options.machine ?? machineOf(profile)
    this.#steps = new KnownSteps(profile)
    const { registry, weights, networks = networkReader(registry, weights) } = options
    this.#surroundings = { registry, gpus: this.machine.gpus, networks }
  }

  on(machine: Machine): ProfilePredictor {
    return new ProfilePredictor(this.profile, { ...this.options, machine })
  }

  #planOf(arrangement: Arrangement, load: Load): { plan: Plan; settings: RunSettings } {
    const { registry } = this.options
    const threads = threadsOfFile(arrangement.config, registry, this.machine.gpus === 0)
    return planOf(arrangement, load, { ...this.#surroundings, threads })
  }

  /** @throws {UsageError} if the arrangement is none that the program would run, or has a step that was not measured */
  simulate(
    arrangement: Arrangement,
    arrivals: Arrivals,
  ): { plan: Plan; simulated: Simulated; prediction: Prediction } {
    const { schedule, seed, first = 0, bulk = false, concurrency, overload = ABORT } = arrivals
    const requests = schedule.length
    const { plan, settings } = this.#planOf(arrangement, { requests, seed, ...(!bulk && { ratePerS: 1 }) })
    const resources = this.#resources()
    const { service, work } = counted(
      new ProfiledService(this.profile, this.#steps, { plan, settings, requests, first }),
    )
    const simulated = simulate({
      plan,
      settings,
      overload,
      schedule,
      service,
      resources,
      ...(concurrency !== undefined && { concurrency }),
      handOver: { ms: this.profile.handOverMs, seed },
    })
    return { plan, simulated, prediction: predictionOf(plan, simulated, resources, work, arrivals.warmup) }
  }

  #resources(): Readonly<Record<string, ResourceOptions>> {
    const resources = resourcesOf(this.machine, () => 'even')
    const cores = resourceOf('cores', CPU)
    const own = resources[cores]
    if (!own) return resources
    const { straggling, friction } = this.profile
    const engines = Object.entries(resources).filter(([name]) => name.endsWith(' nvdec'))
    return {
      ...resources,
      ...Object.fromEntries(
        engines.map(([name, options]) => [name, { ...options, friction, sharpness: SHARPNESS }]),
      ),
      [cores]: { ...own, straggling, processors: Math.max(this.machine.cores ?? 0, own.servers) },
    }
  }

  predict(arrangement: Arrangement, { requests, seed, ratePerS, warmup }: Load): Prediction {
    const { hosts = 1 } = this.options
    const videos = Math.ceil(requests / hosts)
    const arrival =
      ratePerS === undefined
        ? { kind: 'bulk' as const }
        : { kind: 'poisson' as const, meanIntervalMs: (1000 * hosts) / ratePerS }
    const schedule = drawSchedule(arrival, { videos, seed })
    const { prediction } = this.simulate(arrangement, {
      schedule,
      seed,
      bulk: ratePerS === undefined,
      ...(warmup !== undefined && { warmup }),
    })
    if (hosts === 1) return prediction
    return {
      ...prediction,
      videosPerS: prediction.videosPerS * hosts,
      completed: prediction.completed * hosts,
    }
  }

  demand({ config, step, device, mostBatch }: Placing, load: Load): Demand[] {
    const { registry } = this.options
    const placed = placeOn(config, step, device)
    const arrangement = {
      config: placed,
      batch: mostBatch,
      maxBatchDelayMs: 0,
      perGpuQueue: false,
      queueSize: load.requests,
    }
    const { plan, settings } = this.#planOf(arrangement, load)
    const service = new ProfiledService(this.profile, this.#steps, {
      plan,
      settings,
      requests: load.requests,
    })
    const first = plan.instances.find(instance => instance.step === 0)!
    const own = plan.instances.find(instance => instance.step === step)!
    const segments = checkConfig(placed, registry, { name: 'the plan', folder: '/' })
      .steps.slice(0, step)
      .reduce((most, { groups }) => Math.max(most, ...groups.map(group => group.segments)), 1)
    const clips = Array.from({ length: load.requests }, (_, request) => service.clips(first, request))
    const workers = new Map<string, number[]>()
    for (let worker = 0; worker < own.workers; worker++) {
      const engine = engineOf(own, worker)
      workers.set(engine, [...(workers.get(engine) ?? []), worker])
    }
    // The more instances a network has on the host, the fewer threads each of them: that may be less work.
    return [...workers.values()].map(of =>
      leastOf(
        this.#steps
          .all(plan, own, engineOf(own, of[0]!))
          .map(known =>
            this.#way({ service, own, known, worker: of[0]!, threads: of.length, clips, segments, load }),
          ),
      ),
    )
  }

  #way({ service, own, known, worker, threads, clips, segments, load }: WayOptions): Demand {
    const alone = own.batch === 1 && segments === 1
    const perClip = alone ? 0 : leastPerClip(known, Math.max(...clips) * own.batch)
    const ofRequest = (count: number, request: number): number =>
      alone
        ? service.msWith(known, { instance: own, worker, request, items: 1, clips: count })
        : count * perClip
    const total = clips.reduce((sum, count, request) => sum + ofRequest(count, request), 0)
    const threadMs = total / load.requests
    const shared: Record<string, number> = {}
    const add = (resource: string, ms: number) => {
      if (ms > 0) shared[resource] = (shared[resource] ?? 0) + ms
    }
    // What a call keeps busy beside its own resource slows others, and itself by a part: it bounds nothing.
    for (const { ms, resource, width = 1 } of stretchesOf(known, threadMs, own.device, this.profile))
      if (resource !== undefined) add(resource, ms * width)
    const pick = (prefix: string) =>
      Object.fromEntries(
        Object.entries(shared)
          .filter(([name]) => name.startsWith(prefix))
          .map(([name, ms]) => [name.slice(prefix.length), ms]),
      )
    const hostPrefix = resourceOf('cores', CPU).replace(/cores$/, '')
    return {
      threads,
      // While others are under way its thread is free: what is shared alone bounds such a step.
      threadMs: known.ahead > 0 ? 0 : threadMs,
      gpu: own.device === CPU ? {} : pick(`gpu ${own.device} `),
      host: pick(hostPrefix),
      leastMs: Float64Array.from(clips, (count, request) => {
        const part = Math.max(...segmentSizes(count, segments))
        if (own.team) return leastLargest(this.profile, count) * known.times.least(count)
        return alone ? ofRequest(part, request) : known.times.least(part)
      }),
    }
  }
}

interface WayOptions {
  service: ProfiledService
  own: Instance
  known: KnownStep
  worker: number
  threads: number
  clips: readonly number[]
  segments: number
  load: Load
}

/** The least that any of them demands, of each kind. */
function leastOf(demands: readonly Demand[]): Demand {
  const [first, ...others] = demands
  const least = (a: Demand['host'], b: Demand['host']) =>
    Object.fromEntries(
      Object.entries(a).flatMap(([name, ms]) => (name in b ? [[name, Math.min(ms, b[name]!)]] : [])),
    )
  return others.reduce(
    (all, other) => ({
      threads: all.threads,
      threadMs: Math.min(all.threadMs, other.threadMs),
      gpu: least(all.gpu, other.gpu),
      host: least(all.host, other.host),
      leastMs: all.leastMs.map((ms, request) => Math.min(ms, other.leastMs[request]!)),
    }),
    first!,
  )
}

/** The least time of a call for each of its clips, over calls of all sizes up to so many. */
function leastPerClip({ times }: KnownStep, most: number): number {
  let least = Number.POSITIVE_INFINITY
  for (let clips = 1; clips <= most; clips++) least = Math.min(least, times.least(clips) / clips)
  return least
}

/** The file with one step's instances on a device, as a plan for them alone would have it. */
function placeOn(config: Placing['config'], step: number, device: number): Placing['config'] {
  return {
    ...config,
    pipeline: config.pipeline.map((own, s) =>
      s === step
        ? { ...own, queue_groups: own.queue_groups.map(group => ({ ...group, gpus: [device] })) }
        : own,
    ),
  }
}

/**
 * A predictor for what is not there: more GPUs of the measured kind, more hosts like the measured one. The host's own
 * resources stay as they were measured.
 * @throws {UsageError} for GPUs where none was measured
 */
export function whatIf(
  profile: Profile,
  { gpus, hosts }: { gpus?: number; hosts?: number },
  options: Omit<PredictorOptions, 'machine' | 'hosts'>,
): ProfilePredictor {
  if (gpus !== undefined && gpus > 0 && profile.about.gpus.length === 0)
    throw new UsageError('--what-if gpus: the profile was measured on a host without a GPU')
  return new ProfilePredictor(profile, {
    ...options,
    machine: machineOf(profile, gpus),
    ...(hosts !== undefined && { hosts }),
  })
}
