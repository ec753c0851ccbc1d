import type { Plan } from '../pipeline/plan.ts'
import { percentile } from '../results/statistics.ts'
import { type ServiceModel, stretchesOf } from '../simulator/service.ts'
import type { ResourceOptions, Simulated } from '../simulator/simulate.ts'
import type { Machine, Prediction } from './types.ts'

type Resources = Readonly<Record<string, ResourceOptions>>

/** The simulation's resources of a machine, by the names that they have in predictions. */
export function resourcesOf(
  { gpus, gpu, host }: Machine,
  sharing: (name: string) => ResourceOptions['sharing'],
): Resources {
  const named = (prefix: string, servers: Machine['gpu']) =>
    Object.entries(servers).map(([name, count]) => [
      `${prefix} ${name}`,
      { servers: count, sharing: sharing(name) },
    ])
  const ofGpus = Array.from({ length: gpus }, (_, id) => named(`gpu ${id}`, gpu)).flat()
  return Object.fromEntries([...ofGpus, ...named('host', host)])
}

/** A service model that counts the work which it gives each resource, in ms. */
export function counted(service: ServiceModel): { service: ServiceModel; work: Map<string, number> } {
  const work = new Map<string, number>()
  return {
    work,
    service: {
      ms: call => service.ms(call),
      clips: (instance, request) => service.clips(instance, request),
      stretches(call) {
        const stretches = stretchesOf(service, call)
        for (const { ms, resource: name, width = 1 } of stretches)
          if (name !== undefined) work.set(name, (work.get(name) ?? 0) + ms * width)
        return stretches
      },
      ahead: instance => service.ahead?.(instance) ?? 0,
      ...(service.result && { result: service.result }),
    },
  }
}

const latenciesMs = ({ intendedNs, endNs, succeeded }: Simulated): Float64Array =>
  endNs
    .map((end, request) => (succeeded[request] ? (end - intendedNs[request]!) / 1e6 : Number.NaN))
    .filter(ms => !Number.isNaN(ms))
    .sort()

/** What a simulated run comes to. @param work of each resource, in ms */
export function predictionOf(
  plan: Plan,
  simulated: Simulated,
  resources: Resources,
  work: ReadonlyMap<string, number>,
): Prediction {
  const { busyNs, endNs, ending } = simulated
  const latencies = latenciesMs(simulated)
  const lastNs = endNs.reduce((last, end) => (end > last ? end : last), 0)
  const share = (ms: number, servers: number) => (lastNs > 0 ? (1e6 * ms) / (lastNs * servers) : 0)
  const instances = plan.instances.map(
    ({ id, name, workers }) => [name, share(busyNs[id]! / 1e6, workers)] as const,
  )
  const shared = Object.entries(resources).map(
    ([name, { servers }]) => [name, share(work.get(name) ?? 0, servers)] as const,
  )
  const none = latencies.length === 0
  return {
    videosPerS: lastNs > 0 ? (latencies.length / lastNs) * 1e9 : 0,
    p50Ms: none ? Number.POSITIVE_INFINITY : percentile(latencies, 0.5),
    p99Ms: none ? Number.POSITIVE_INFINITY : percentile(latencies, 0.99),
    completed: latencies.length,
    aborted: ending.kind === 'full',
    use: Object.fromEntries([...shared, ...instances]),
  }
}
