import { availableParallelism, totalmem } from 'node:os'
import { join } from 'node:path'
import { describeDevice } from '../../ffi/cuda/device.ts'
import { gpuUse } from '../../ffi/nvml.ts'
import { UsageError } from '../errors.ts'
import { builtin } from '../pipeline/builtin.ts'
import { loadConfig } from '../pipeline/config.ts'
import { detectHost } from '../pipeline/host.ts'
import { withModules } from '../pipeline/modules.ts'
import type { Registry } from '../pipeline/registry.ts'
import { givenFile } from '../planner/given.ts'
import type { Memory } from '../planner/memory.ts'
import type { Surroundings } from '../planner/plan-of.ts'
import { networkReader } from '../planner/profile/networks.ts'
import { type Limits, usualLimits } from '../planner/space/limits.ts'
import { type Template, templateOf } from '../planner/space/template.ts'
import type { PipelineFile } from '../planner/types.ts'
import { writeJson } from './plan-output.ts'
import type { PlanFlags } from './plan-request.ts'

/** RnB's, and the program's. */
export const QUEUE_SIZE = 500

/** What is planned for: the pipeline, and where it may run. */
export interface Subject {
  file: PipelineFile
  registry: Registry
  template: Template
  limits: Limits
  onGpus: boolean
  /** What the program's own plan of an arrangement depends on. */
  host: Surroundings
}

/** GPUs by their numbers. @throws {UsageError} for one that is not there */
function gpusOf({ gpus, device, what_if }: PlanFlags): number[] {
  const host = device === 'cpu' ? { gpus: 0, driver: false } : detectHost()
  if (device === 'cuda' && !host.driver)
    throw new UsageError('plan: no NVIDIA driver was found: install it, or use --device cpu')
  const missing = (gpus ?? []).filter(gpu => gpu >= host.gpus)
  if (missing.length > 0)
    throw new UsageError(
      `plan: --gpus names ${missing.join(', ')}, but there ${host.gpus === 1 ? 'is 1 GPU' : `are ${host.gpus} GPUs`}`,
    )
  const count = host.gpus > 0 ? (what_if?.gpus ?? host.gpus) : 0
  if (what_if?.gpus !== undefined && host.gpus === 0)
    throw new UsageError(
      'plan: --what-if gpus=N goes from what was measured on a GPU, and there is none here',
    )
  return gpus ?? Array.from({ length: count }, (_, gpu) => gpu)
}

/** Memory that slots and networks may take: what the GPU with the least of it has free, and all of the host's. */
export function memoryOf(gpus: readonly number[]): Memory {
  // Of more GPUs than there are, each is as those.
  const here = gpus.filter(gpu => gpu < detectHost().gpus)
  const free = here.map(gpu => gpuUse(describeDevice(gpu).uuid).memory.free)
  return { host: totalmem(), ...(free.length > 0 && { gpu: Math.min(...free) }) }
}

function limitsOf(flags: PlanFlags, gpus: readonly number[]): Limits {
  const usual = usualLimits(gpus, availableParallelism())
  const { batches, loaders, segments, pieces, replicas } = flags
  return {
    ...usual,
    queueSize: QUEUE_SIZE,
    loadersOn: (['gpu', 'cpu'] as const).filter(place => loaders.includes(place)),
    ...(batches && { batches }),
    ...(segments && { segments }),
    ...(pieces !== undefined && { pieces }),
    ...(replicas !== undefined && {
      replicas,
      cpuReplicas: Array.from({ length: replicas }, (_, i) => i + 1),
    }),
  }
}

/** Reads what is to be planned, and keeps a copy that can run from anywhere. */
export async function subjectOf(flags: PlanFlags): Promise<Subject> {
  const gpus = gpusOf(flags)
  const { config_file_path: path, out, video_root, weights, labels } = flags
  const config = loadConfig(path, await withModules(path, builtin), gpus.length)
  const file = givenFile(config, { videoRoot: video_root, weights, labels })
  if (file.video_root === undefined && config.steps[0]!.kind.needsVideos !== false)
    throw new UsageError(
      'no videos: give --video-root DIR, GLOB or LIST.txt, or video_root in the pipeline file',
    )
  const copy = join(out, 'given.json')
  writeJson(copy, file)
  const registry = await withModules(copy, builtin)
  return {
    file,
    registry,
    template: templateOf(file, registry),
    limits: limitsOf(flags, gpus),
    onGpus: gpus.length > 0,
    host: {
      registry,
      gpus: gpus.length === 0 ? 0 : Math.max(...gpus) + 1,
      networks: networkReader(registry, file.weights),
    },
  }
}
