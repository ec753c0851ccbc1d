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
      ...(service.pieces && {
        pieces: (instance, request, clips) => service.pieces!(instance, request, clips),
      }),
      ahead: instance => service.ahead?.(instance) ?? 0,
      ...(service.result && { result: service.result }),
      transferMs: (from, to, bytes) => service.transferMs?.(from, to, bytes) ?? 0,
    },
  }
}

/** When results came, in ns, and their latencies in ms, without the first so many. */
function resultsOf({ intendedNs, endNs, succeeded }: Simulated, warmup: number) {
  const requests = [...succeeded.keys()].filter(request => succeeded[request])
  const ends = Float64Array.from(requests, request => endNs[request]!).sort()
  const fromNs = warmup > 0 ? (ends[Math.min(warmup, ends.length) - 1] ?? 0) : 0
  const latencies = Float64Array.from(
    warmup > 0 ? requests.filter(request => endNs[request]! > fromNs) : requests,
    request => (endNs[request]! - intendedNs[request]!) / 1e6,
  ).sort()
  return { fromNs, lastNs: ends.at(-1) ?? 0, latencies, completed: ends.length }
}

/**
 * What a simulated run comes to.
 * @param work of each resource, in ms
 * @param warmup results at the start that its figures leave out
 */
export function predictionOf(
  plan: Plan,
  simulated: Simulated,
  resources: Resources,
  work: ReadonlyMap<string, number>,
  warmup = 0,
): Prediction {
  const { busyNs, ending } = simulated
  const { fromNs, lastNs, latencies, completed } = resultsOf(simulated, warmup)
  const share = (ms: number, servers: number) => (lastNs > 0 ? (1e6 * ms) / (lastNs * servers) : 0)
  const instances = plan.instances.map(
    ({ id, name, workers }) => [name, share(busyNs[id]! / 1e6, workers)] as const,
  )
  const shared = Object.entries(resources).map(
    ([name, { servers }]) => [name, share(work.get(name) ?? 0, servers)] as const,
  )
  const none = latencies.length === 0
  return {
    videosPerS: lastNs > fromNs ? (latencies.length / (lastNs - fromNs)) * 1e9 : 0,
    p50Ms: none ? Number.POSITIVE_INFINITY : percentile(latencies, 0.5),
    p99Ms: none ? Number.POSITIVE_INFINITY : percentile(latencies, 0.99),
    completed,
    aborted: ending.kind === 'full',
    use: Object.fromEntries([...shared, ...instances]),
  }
}
