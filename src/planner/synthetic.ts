import { ABORT } from '../client/overload.ts'
import { drawSchedule } from '../client/schedule.ts'
import { builtin } from '../pipeline/builtin.ts'
import { type Config, checkConfig } from '../pipeline/config.ts'
import type { Instance } from '../pipeline/plan.ts'
import { segmentSizes } from '../pipeline/segments.ts'
import { Rng } from '../rng.ts'
import { type ServiceModel, syntheticService } from '../simulator/service.ts'
import { simulate } from '../simulator/simulate.ts'
import { CPU } from '../steps/step.ts'
import { clipsDrawn } from '../steps/synthetic/loader.ts'
import { drawService, type ServiceOptions } from '../steps/synthetic/service.ts'
import { planOf } from './plan-of.ts'
import { counted, predictionOf, resourcesOf } from './prediction.ts'
import type { Arrangement, Demand, Load, Machine, Placing, Prediction, Predictor } from './types.ts'

/** What synthetic steps work on, where the machine has it: loaders and networks on a GPU, and busy steps on the host. */
const DECODERS = 'decoders'
const COMPUTE = 'compute'
const CORES = 'cores'

const FREE: ServiceOptions = { service_ms: 0, service_ms_per_clip: 0, busy: false }

const serviceOf = (options: object): ServiceOptions =>
  'service_ms' in options ? (options as ServiceOptions) : FREE

/** Clips of each part of a request that arrives at a step. */
function partsAt(config: Config, step: number, clips: number): number[] {
  const source = config.steps[step]!.sources[0]
  if (source === undefined) return [clips]
  const { kind, groups } = config.steps[source]!
  const arriving = kind.names[0] === 'aggregator' ? [1] : partsAt(config, source, clips)
  const segments = Math.max(...groups.map(group => group.segments))
  return arriving.flatMap(part => segmentSizes(part, segments))
}

/** The most items of the first step that one call of a step may hold: networks of one kind join once. */
function mostJoined(config: Config, step: number, mostBatch: number, joined = new Set<string>()): number {
  const { kind, groups, sources } = config.steps[step]!
  const name = kind.names[0]
  const before = sources.map(source => mostJoined(config, source, mostBatch, joined))
  const own =
    name === 'batcher'
      ? Math.max(mostBatch, ...groups.map(({ options }) => Number(options.batch ?? 1)))
      : mostBatch
  const counts = sources.length > 0 && name !== 'aggregator' && !(joined.has(name) && name !== 'batcher')
  joined.add(name)
  return Math.max(1, ...before) * (counts ? own : 1)
}

/** Synthetic steps on a machine of one's own making: known exactly, for the search to be tried on. */
export class SyntheticPredictor implements Predictor {
  constructor(readonly machine: Machine) {}

  on(machine: Machine): SyntheticPredictor {
    return new SyntheticPredictor(machine)
  }

  predict(arrangement: Arrangement, load: Load): Prediction {
    const { requests, seed, ratePerS } = load
    const { plan, settings } = planOf(arrangement, load, { registry: builtin, gpus: this.machine.gpus })
    const resources = resourcesOf(this.machine, name => (name === DECODERS ? 'fifo' : 'even'))
    const { service, work } = counted(this.#service(seed))
    const arrival =
      ratePerS === undefined
        ? { kind: 'bulk' as const }
        : { kind: 'poisson' as const, meanIntervalMs: 1000 / ratePerS }
    const schedule = drawSchedule(arrival, { videos: requests, seed })
    const simulated = simulate({ plan, settings, overload: ABORT, schedule, service, resources })
    return predictionOf(plan, simulated, resources, work, load.warmup)
  }

  #service(seed: number): ServiceModel {
    const names: (string | undefined)[] = []
    const resource = (instance: Instance) => {
      // Asked for each call: found out once for each instance.
      if (!(instance.id in names)) names[instance.id] = this.#resource(instance)
      return names[instance.id]
    }
    return { ...syntheticService(seed), resource }
  }

  #resource({ device, step, options }: Pick<Instance, 'device' | 'step' | 'options'>): string | undefined {
    if (device === CPU)
      return CORES in this.machine.host && serviceOf(options).busy ? `host ${CORES}` : undefined
    const name = step === 0 ? DECODERS : COMPUTE
    return name in this.machine.gpu ? `gpu ${device} ${name}` : undefined
  }

  demand({ config: file, step, device, mostBatch }: Placing, { requests, seed }: Load): Demand[] {
    const config = checkConfig(file, builtin, { name: 'the plan', folder: '/' })
    const [loader, own] = [config.steps[0]!.groups[0]!, config.steps[step]!.groups[0]!]
    const service = serviceOf(own.options)
    const draws = Float64Array.from({ length: requests }, (_, request) =>
      drawService(service.service_ms, () => Rng.of(seed, 'service', step, request)),
    )
    const parts = Array.from({ length: requests }, (_, request) =>
      partsAt(
        config,
        step,
        clipsDrawn(loader.options as unknown as Parameters<typeof clipsDrawn>[0], seed, request),
      ),
    )
    const joined = mostJoined(config, step, mostBatch)
    // A call takes as long as its first request's draw says, whichever that is: at the least, the smallest ones.
    const items = parts.flatMap((sizes, request) => sizes.map(() => draws[request]!)).sort((a, b) => a - b)
    const calls = items.slice(0, Math.ceil(items.length / joined)).reduce((sum, ms) => sum + ms, 0)
    const clips = parts.reduce((sum, sizes) => sizes.reduce((all, size) => all + size, sum), 0)
    const threadMs = (calls + clips * service.service_ms_per_clip) / requests
    const least = items[0] ?? 0
    const resource = this.#resource({ device, step, options: own.options })
    const shared = resource === undefined ? {} : { [resource.split(' ').at(-1)!]: threadMs }
    const way: Demand = {
      threads: Number(own.options.in_flight ?? 1),
      threadMs,
      gpu: device === CPU ? {} : shared,
      host: device === CPU ? shared : {},
      leastMs: draws.map(
        (draw, request) =>
          (joined > 1 ? least : draw) + Math.max(...parts[request]!) * service.service_ms_per_clip,
      ),
    }
    return [way]
  }
}
