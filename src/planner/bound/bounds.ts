import { percentile } from '../../results/statistics.ts'
import { CPU } from '../../steps/step.ts'
import { type Choice, keyOf } from '../space/choice.ts'
import type { Space } from '../space/space.ts'
import type { Demand, Load, Predictor } from '../types.ts'
import { type Bottleneck, bottleneck, type Way } from './bottleneck.ts'

/** What stands before a place in a resource's name: all that is alike has the same. */
const PLACE = ' @ '

/** A resource's name without its place. */
export const kindOf = (resource: string): string => resource.split(PLACE)[0]!

/** GPUs with the same instances on them. */
interface Alike {
  place: string
  gpus: number
  /** Instances of a step on each; undefined where that is not decided yet. */
  instances(step: number): number | undefined
}

/** How far the plans of a choice can get, at the very best. */
export class Bounds {
  readonly #demands = new Map<string, Demand[]>()
  readonly #latencies = new Map<string, number>()

  constructor(
    readonly space: Space,
    readonly predictor: Predictor,
    readonly load: Load,
  ) {}

  /** What limits the rate of all plans of a choice. */
  bottleneck(choice: Choice): Bottleneck {
    const { machine } = this.predictor
    const servers: Record<string, number> = {}
    for (const [name, count] of Object.entries(machine.host)) servers[`host ${name}`] = count
    const alike = this.#alike(choice)
    for (const { place, gpus } of alike)
      for (const [name, count] of Object.entries(machine.gpu))
        servers[`GPU ${name}${PLACE}${place}`] = count * gpus
    const { structure } = this.space.of(choice)
    const steps = structure.steps.map(({ place }, step) =>
      place === 'cpu'
        ? this.#onCpu(choice, step, servers)
        : alike.flatMap(of => this.#onGpus(choice, step, of, servers)),
    )
    return bottleneck(steps, servers)
  }

  #alike(choice: Choice): Alike[] {
    const { onGpus, roles } = this.space.of(choice)
    const counts = new Map<number, number>()
    for (const role of choice.roles) counts.set(role, (counts.get(role) ?? 0) + 1)
    const decided = [...counts].map(([role, gpus]) => ({
      place: roles[role]!.join('+'),
      gpus,
      instances: (step: number) => roles[role]![onGpus.indexOf(step)]!,
    }))
    const open = this.space.gpus(choice) - choice.roles.length
    return open > 0 ? [...decided, { place: 'open', gpus: open, instances: () => undefined }] : decided
  }

  #onCpu(choice: Choice, step: number, servers: Record<string, number>): Way[] {
    const { onCpu, cpu } = this.space.of(choice)
    const instances = choice.cpu === undefined ? undefined : cpu[choice.cpu]![onCpu.indexOf(step)]!
    return this.#ways(choice, step, CPU, { place: '', gpus: 1, instances: () => instances }, servers)
  }

  #onGpus(choice: Choice, step: number, alike: Alike, servers: Record<string, number>): Way[] {
    if (alike.instances(step) === 0) return []
    return this.#ways(choice, step, this.space.limits.gpus[0]!, alike, servers)
  }

  #ways(choice: Choice, step: number, device: number, alike: Alike, servers: Record<string, number>): Way[] {
    const instances = alike.instances(step)
    return this.#demandsOf(choice, step, device).map(({ threads, threadMs, gpu, host }, way) => {
      const name = `threads of step ${step}${PLACE}${alike.place}/${way}`
      const costs: Record<string, number> = {}
      for (const [resource, ms] of Object.entries(gpu)) costs[`GPU ${resource}${PLACE}${alike.place}`] = ms
      for (const [resource, ms] of Object.entries(host)) costs[`host ${resource}`] = ms
      if (instances !== undefined) {
        servers[name] = instances * this.space.groups(choice, step) * threads * alike.gpus
        costs[name] = threadMs
      }
      return { name, costs }
    })
  }

  /** Of a choice, with its options of the first step decided in each way that is open. */
  #demandsOf(choice: Choice, step: number, device: number): Demand[] {
    const { loading, cpuDecoders, batches } = this.space.of(choice)
    const batch = choice.batch ?? batches.indexOf(Math.max(...batches))
    const mostBatch = batches[batch]!
    const each = (chosen: number | undefined, values: readonly unknown[]) =>
      chosen !== undefined ? [chosen] : step === 0 ? values.map((_, i) => i) : [0]
    return each(choice.inFlight, loading).flatMap(flight =>
      each(choice.cpuDecoders, cpuDecoders).flatMap(decoders => {
        const structure = choice.structure
        const options =
          step === 0 ? { inFlight: flight, cpuDecoders: decoders } : { inFlight: 0, cpuDecoders: 0 }
        const key = JSON.stringify([structure, step, device, mostBatch, options])
        const known = this.#demands.get(key)
        if (known) return known
        const { config } = this.space.arrangement(this.space.simplest(structure, options, batch))
        const made = this.predictor.demand({ config, step, device, mostBatch }, this.load)
        this.#demands.set(key, made)
        return made
      }),
    )
  }

  /** Milliseconds that p99 of the latency cannot be below, in any plan of a choice. */
  p99Ms(choice: Choice): number {
    const { structure, inFlight, cpuDecoders, batch } = choice
    const key = keyOf({ structure, roles: [], inFlight, cpuDecoders, batch })
    const known = this.#latencies.get(key)
    if (known !== undefined) return known
    const { steps } = this.space.of(choice).structure
    /** By step: when each request leaves it, at the earliest. */
    const left: Float64Array[] = []
    steps.forEach(({ place, sources }, step) => {
      const device = place === 'cpu' ? CPU : this.space.limits.gpus[0]!
      const ways = this.#demandsOf(choice, step, device)
      left.push(
        Float64Array.from({ length: this.load.requests }, (_, request) => {
          const arrived = Math.max(0, ...sources.map(source => left[source]![request]!))
          return arrived + Math.min(...ways.map(({ leastMs }) => leastMs[request]!))
        }),
      )
    })
    const last = Float64Array.from({ length: this.load.requests }, (_, request) =>
      Math.max(...left.map(times => times[request]!)),
    )
    const p99 = percentile(last.sort(), 0.99)
    this.#latencies.set(key, p99)
    return p99
  }
}
