import schema from '../../config/rnb.schema.json' with { type: 'json' }
import { networkArchitecture } from '../../models/load.ts'
import { builtin } from '../pipeline/builtin.ts'
import { type Config, loadConfig } from '../pipeline/config.ts'
import { deviceName } from '../pipeline/devices.ts'
import { clipOf, networksOf } from '../pipeline/model.ts'
import { type Instance, makePlan, type Plan, type PlannedStep, type PlanOptions } from '../pipeline/plan.ts'
import type { Registry } from '../pipeline/registry.ts'
import { specText } from '../pipeline/specs.ts'

/** The JSON Schema of pipeline files, as text. */
export const configSchema = (): string => `${JSON.stringify(schema, null, 2)}\n`

/** What a run with default flags takes from a file. */
export type Defaults = Pick<PlanOptions, 'settings' | 'networks'>

/** Its checkpoints are read, if it names any. */
function defaultsOf(config: Config): Defaults {
  const { sources, ofStep } = networksOf(config, config.weights, 0)
  return {
    settings: { seed: 0, batch: 1, maxBatchDelayMs: 5, top: 5, threads: 1, clip: clipOf(config) },
    networks: { architectures: sources.map(source => networkArchitecture(source).architecture), ofStep },
  }
}

/**
 * Checks a pipeline file as a run would, on a host that has every GPU it names.
 * @param perGpuQueue as with `--per_gpu_queue`
 * @returns the plan that it comes to with default flags otherwise
 * @throws {UsageError} listing everything that is wrong
 */
export function checkConfigFile(
  file: string,
  registry: Registry = builtin,
  defaults: (config: Config) => Defaults = defaultsOf,
  perGpuQueue = false,
): Plan {
  const config = loadConfig(file, registry)
  const options: PlanOptions = {
    ...defaults(config),
    queueSize: 500,
    videos: 2000,
    bulk: false,
    perGpuQueue,
    device: 'auto',
  }
  return makePlan(config, options, { gpus: Number.POSITIVE_INFINITY, driver: true })
}

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`

function describeGroup(plan: Plan, instances: readonly Instance[]): string {
  const { inQueue, outQueues, outputs, slots } = instances[0]!
  const name = (id: number) => plan.queues[id]!.name
  const devices = instances.map(({ device }) => deviceName(device)).join(', ')
  const tensors = outputs.map(specText).join(' + ') || 'no tensors'
  const to = outQueues.length === 0 ? 'results' : outQueues.map(name).join(', ')
  return `    on ${devices}: ${name(inQueue)} -> ${to}, ${tensors}, ${counted(slots, 'slot')}`
}

const listed = (steps: readonly number[]): string =>
  `step${steps.length === 1 ? '' : 's'} ${steps.join(', ')}`

/** Where a step stands among the others, unless they simply follow each other. */
function describePlace(plan: Plan, { sources, readers }: PlannedStep): string {
  if (plan.steps.every(step => step.index === 0 || step.sources.join() === String(step.index - 1))) return ''
  const from = sources.length === 0 ? 'the client' : listed(sources)
  return ` (reads from ${from}, ${readers.length === 0 ? 'gives results' : `feeds ${listed(readers)}`})`
}

/** A plan in words, one line for each step and queue group. */
export function describePlan(plan: Plan): string[] {
  const steps = plan.steps.flatMap(step => {
    const { index, kind, name } = step
    const title = name === undefined ? kind : `${name}, a ${kind}`
    const mine = plan.instances.filter(({ step }) => step === index)
    const groups = Map.groupBy(mine, ({ group }) => group)
    return [
      `  step ${index}: ${title}${describePlace(plan, step)}`,
      ...[...groups.values()].map(group => describeGroup(plan, group)),
    ]
  })
  const counts = [
    counted(plan.steps.length, 'step'),
    counted(plan.instances.length, 'instance'),
    counted(plan.queues.length, 'queue'),
  ].join(', ')
  return [`${plan.name} (${plan.hash}): ${counts}`, ...steps, ...plan.notes.map(note => `  note: ${note}`)]
}
