import { checkConfig } from '../pipeline/config.ts'
import { makePlan, type Plan, type PlanOptions } from '../pipeline/plan.ts'
import type { Registry } from '../pipeline/registry.ts'
import type { RunSettings } from '../steps/step.ts'
import type { Arrangement, Load } from './types.ts'

/** What a plan needs to know beside the arrangement. */
export interface Surroundings {
  registry: Registry
  gpus: number
  /** Of the run's networks, where it has any. */
  networks?(config: Arrangement['config']): Pick<PlanOptions, 'networks'> & { clip: RunSettings['clip'] }
  threads?: number
}

const NO_CLIP: RunSettings['clip'] = { frames: 8, size: 112 }

/**
 * The program's own plan of an arrangement.
 * @throws {UsageError} if the program would not run it
 */
export function planOf(
  { config, batch, maxBatchDelayMs, perGpuQueue, queueSize }: Arrangement,
  { requests, seed, ratePerS }: Load,
  { registry, gpus, networks, threads = 1 }: Surroundings,
): { plan: Plan; settings: RunSettings } {
  const { clip, ...known } = networks?.(config) ?? { clip: NO_CLIP }
  const settings: RunSettings = { seed, batch, maxBatchDelayMs, top: 1, threads, clip }
  const plan = makePlan(
    checkConfig(config, registry, { name: config.name ?? 'the plan', folder: '/' }),
    {
      ...known,
      settings,
      queueSize,
      videos: requests,
      bulk: ratePerS === undefined,
      perGpuQueue,
      device: gpus > 0 ? 'auto' : 'cpu',
    },
    { driver: gpus > 0, gpus },
  )
  return { plan, settings }
}

/** Whether the program would do the same of both, queues' sizes apart: of a delay, only if anything is joined. */
export function sameRun(a: Arrangement, b: Arrangement, surroundings: Surroundings): boolean {
  const of = (arrangement: Arrangement): string => {
    const alike = { ...arrangement, queueSize: a.queueSize }
    const { steps, instances, queues } = planOf(
      alike,
      { requests: 1, seed: 0, ratePerS: 1 },
      surroundings,
    ).plan
    // How many threads these come to, and whether they share, said or not, is in the instance itself.
    const own = instances.map(
      ({ options: { in_flight: _, cpu_decoders: __, share_clips: ___, ...options }, ...instance }) => ({
        ...instance,
        options,
      }),
    )
    const joins = steps.some(({ batch }) => batch > 1)
    return JSON.stringify({ steps, own, queues, delayMs: joins && arrangement.maxBatchDelayMs })
  }
  return of(a) === of(b)
}
