import type { Overload } from '../../src/client/overload.ts'
import { drawSchedule } from '../../src/client/schedule.ts'
import { builtin } from '../../src/pipeline/builtin.ts'
import { checkConfig } from '../../src/pipeline/config.ts'
import { makePlan, type Plan } from '../../src/pipeline/plan.ts'
import { type ServiceModel, syntheticService } from '../../src/simulator/service.ts'
import { type Simulated, simulate } from '../../src/simulator/simulate.ts'
import type { Served } from '../../src/simulator/world.ts'

export interface Asked {
  pipeline: unknown
  requests: number
  /** Mean time between arrivals in ms; 0: all at once. */
  intervalMs: number
  queueSize?: number
  batch?: number
  delayMs?: number
  overload?: Partial<Overload>
  concurrency?: number
  seed?: number
  resources?: Parameters<typeof simulate>[0]['resources']
  /** Over what synthetic steps say of themselves. */
  service?: Partial<ServiceModel>
  handOver?: Parameters<typeof simulate>[0]['handOver']
  served?: (call: Served) => void
}

/** Simulates synthetic steps; those that are busy work on the resource `host`. */
export function simulated(asked: Asked): Simulated & { plan: Plan } {
  const { pipeline, requests, intervalMs, queueSize = requests, batch = 1, delayMs = 0, seed = 1 } = asked
  const settings = {
    seed,
    batch,
    maxBatchDelayMs: delayMs,
    top: 1,
    threads: 1,
    clip: { frames: 8, size: 112 },
  }
  const plan = makePlan(
    checkConfig({ pipeline }, builtin, { name: 'x.json', folder: '/' }),
    {
      settings,
      queueSize,
      videos: requests,
      bulk: false,
      perGpuQueue: false,
      device: 'cpu',
    },
    { driver: false, gpus: 0 },
  )
  const arrival =
    intervalMs === 0 ? { kind: 'bulk' as const } : { kind: 'poisson' as const, meanIntervalMs: intervalMs }
  const result = simulate({
    plan,
    settings,
    overload: { onFull: 'abort', timeoutNs: Number.POSITIVE_INFINITY, ...asked.overload },
    schedule: drawSchedule(arrival, { videos: requests, seed }),
    service: { ...syntheticService(seed, 'host'), ...asked.service },
    ...(asked.handOver && { handOver: asked.handOver }),
    ...(asked.concurrency !== undefined && { concurrency: asked.concurrency }),
    ...(asked.resources && { resources: asked.resources }),
    ...(asked.served && { served: asked.served }),
  })
  return { ...result, plan }
}

const oneClip = { num_clips_population: [1], num_clips_weights: [1] }

/** A loader by itself: the only step of its pipeline. */
export const alone = (instances: number, service_ms: unknown, more: object = {}): object => ({
  model: 'synthetic-loader',
  queue_groups: [{ gpus: new Array(instances).fill(-1) }],
  service_ms,
  ...oneClip,
  ...more,
})

export const loader = (instances: number, service_ms: unknown, slots: number, more: object = {}): object => ({
  model: 'synthetic-loader',
  queue_groups: [{ gpus: new Array(instances).fill(-1), out_queues: [0] }],
  service_ms,
  num_shared_tensors: slots,
  ...oneClip,
  ...more,
})

export const network = (instances: number, service_ms: unknown, more: object = {}): object => ({
  model: 'synthetic-network',
  queue_groups: [{ gpus: new Array(instances).fill(-1), in_queue: 0 }],
  num_classes: 2,
  service_ms,
  ...more,
})
