import { readFileSync } from 'node:fs'
import { describeDevice } from '../../ffi/cuda/device.ts'
import { gpuUse } from '../../ffi/nvml.ts'
import { loadNetwork } from '../../models/load.ts'
import type { Network } from '../../models/network.ts'
import { UsageError } from '../errors.ts'
import { builtin } from '../pipeline/builtin.ts'
import { type Config, loadConfig } from '../pipeline/config.ts'
import { detectHost } from '../pipeline/host.ts'
import { clipOf, labelsOf, networkAt, networksOf, threadsPerNetwork } from '../pipeline/model.ts'
import { withModules } from '../pipeline/modules.ts'
import { makePlan, type Plan } from '../pipeline/plan.ts'
import { CPU, type RunSettings } from '../steps/step.ts'
import type { RunFlags } from './arguments.ts'
import { type Requests, requestsOf } from './requests.ts'

/** A run, worked out and checked: nothing has started. */
export interface Prepared {
  config: Config
  plan: Plan
  settings: RunSettings
  /** By their numbers in the plan. */
  networks: Network[]
  /** Of each last step. */
  labels: (string[] | undefined)[]
  requests: Requests
}

/** Names of the classes, one a line. @throws {UsageError} */
function readLabels(path: string, network: Network | undefined): string[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new UsageError(`labels ${path}: cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
  const labels = text.split(/\r?\n/).filter((line, i, lines) => line !== '' || i < lines.length - 1)
  const classes = network?.architecture.classes
  if (classes !== undefined && labels.length !== classes)
    throw new UsageError(`labels ${path}: ${labels.length} lines, but the network has ${classes} classes`)
  return labels
}

const classesOf = ({ architecture }: Network): number => architecture.classes

/**
 * RnB's rule: a GPU that another process computes on would give wrong figures.
 * @throws {UsageError} naming the GPU and the processes, unless it is to be shared
 */
function checkGpus(plan: Plan, share: boolean): void {
  const devices = new Set(plan.instances.map(({ device }) => device).filter(device => device !== CPU))
  if (share) return
  for (const device of devices) {
    const others = gpuUse(describeDevice(device).uuid).processes.filter(({ pid }) => pid !== process.pid)
    if (others.length === 0) continue
    const pids = others.map(({ pid }) => pid).join(', ')
    throw new UsageError(`gpu ${device} is in use by process ${pids}; wait for it, or run with --share-gpu`)
  }
}

/**
 * Reads the pipeline file, the checkpoint and the labels, finds the videos, and plans the run.
 * @param named videos to take once each, in this order, in place of a drawn sequence
 * @throws {UsageError} for whatever is wrong with any of these
 */
export async function prepare(flags: RunFlags, named?: readonly string[]): Promise<Prepared> {
  const host = detectHost()
  const onCpu = flags.device === 'cpu' || (flags.device === 'auto' && !host.driver)
  const registry = await withModules(flags.config_file_path, builtin)
  const config = loadConfig(flags.config_file_path, registry, onCpu ? 0 : host.gpus)
  const found = networksOf(config, flags.weights ?? config.weights, flags.seed)
  const networks = found.sources.map(source => loadNetwork(source))
  const labels = config.steps.flatMap(({ readers }, step) => {
    if (readers.length > 0) return []
    const file = labelsOf(config, step, flags.labels ?? config.labels)
    const network = networkAt(config, found, step)
    return [
      file === undefined
        ? undefined
        : readLabels(file, network === undefined ? undefined : networks[network]),
    ]
  })
  const requests = await requestsOf(flags, config, named)
  const settings: RunSettings = {
    seed: flags.seed,
    batch: flags.batch_size,
    maxBatchDelayMs: flags.max_batch_delay_ms,
    top: Math.min(flags.top, ...(networks.length === 0 ? [] : [Math.max(...networks.map(classesOf))])),
    threads: threadsPerNetwork(config, onCpu),
    clip: clipOf(config),
  }
  const plan = makePlan(
    config,
    {
      settings,
      networks: { architectures: networks.map(({ architecture }) => architecture), ofStep: found.ofStep },
      queueSize: flags.queue_size,
      videos: requests.schedule.length,
      bulk: requests.arrival.kind === 'bulk',
      perGpuQueue: flags.per_gpu_queue,
      device: flags.device,
    },
    host,
  )
  checkGpus(plan, flags.share_gpu)
  return { config, plan, settings, networks, labels, requests }
}
