import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { describeDevice } from '../../ffi/cuda/device.ts'
import { gpuUse } from '../../ffi/nvml.ts'
import { loadNetwork } from '../../models/load.ts'
import type { Network } from '../../models/network.ts'
import { drawSchedule } from '../client/schedule.ts'
import { drawVideos, findVideos, type VideoFile } from '../client/videos.ts'
import { UsageError } from '../errors.ts'
import { builtin } from '../pipeline/builtin.ts'
import { type Config, loadConfig } from '../pipeline/config.ts'
import { detectHost } from '../pipeline/host.ts'
import { clipOf, labelsOf, networkAt, networksOf, threadsPerNetwork } from '../pipeline/model.ts'
import { withModules } from '../pipeline/modules.ts'
import { makePlan, type Plan } from '../pipeline/plan.ts'
import { CPU, type RunSettings } from '../steps/step.ts'
import { ModuleError } from '../steps/user/fault.ts'
import { isModulePath } from '../steps/user/module.ts'
import { userVideos } from '../steps/user/videos.ts'
import { arrivalOf, intervalMs, MOST_REQUESTS, type RunFlags } from './arguments.ts'

/** A run, worked out and checked: nothing has started. */
export interface Prepared {
  config: Config
  plan: Plan
  settings: RunSettings
  /** By their numbers in the plan. */
  networks: Network[]
  videos: string[]
  /** Class of each video, where its folder or the iterator says one. */
  classes: (string | undefined)[]
  /** Of each last step. */
  labels: (string[] | undefined)[]
  schedule: Float64Array
  requestVideo: Uint32Array
  bulk: boolean
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

const DEFAULT_VIDEOS = 2000

/**
 * The video of each of `count` requests: as asked, else as the configuration says.
 * @throws {UsageError}
 */
async function chooseVideos(
  flags: RunFlags,
  config: Config,
  named: readonly string[] | undefined,
  count: number,
): Promise<{ videos: VideoFile[]; requestVideo: Uint32Array }> {
  if (named)
    return { videos: named.map(path => ({ path })), requestVideo: Uint32Array.from(named, (_, i) => i) }
  const root = flags.video_root ?? config.videoRoot
  if (isModulePath(config.iterator)) {
    const folder = dirname(resolve(config.file ?? '.'))
    try {
      return await userVideos(config.iterator, count, { root, folder, seed: flags.seed })
    } catch (error) {
      if (!(error instanceof ModuleError)) throw error
      throw new UsageError(`${config.file ?? config.name}: video_path_iterator: ${error.message}`)
    }
  }
  if (root === undefined)
    throw new UsageError(
      'no videos: give --video-root DIR, GLOB or LIST.txt, or video_root in the pipeline file',
    )
  const videos = findVideos(root)
  return { videos, requestVideo: drawVideos(count, videos, flags.seed) }
}

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
  const arrival = arrivalOf(flags)
  // A duration ends a schedule by itself, but not one in which all requests arrive at its start.
  const ends = flags.duration !== undefined && arrival !== 'bulk'
  const limit = flags.videos ?? (ends ? MOST_REQUESTS + 1 : DEFAULT_VIDEOS)
  const schedule = drawSchedule({
    arrival,
    meanIntervalMs: intervalMs(flags),
    videos: named?.length ?? limit,
    durationS: flags.duration,
    seed: flags.seed,
  })
  if (schedule.length > MOST_REQUESTS)
    throw new UsageError(
      `--duration ${flags.duration} at this rate comes to more than ${MOST_REQUESTS} requests; --videos limits them`,
    )
  const { videos: files, requestVideo } = await chooseVideos(flags, config, named, schedule.length)
  const settings: RunSettings = {
    seed: flags.seed,
    batch: flags.batch_size,
    maxBatchDelayMs: flags.max_batch_delay_ms,
    top: Math.min(flags.top, ...(networks.length === 0 ? [] : [Math.max(...networks.map(classesOf))])),
    threads: threadsPerNetwork(config, onCpu),
    clip: clipOf(config),
  }
  const bulk = arrival === 'bulk'
  const plan = makePlan(
    config,
    {
      settings,
      networks: { architectures: networks.map(({ architecture }) => architecture), ofStep: found.ofStep },
      queueSize: flags.queue_size,
      videos: schedule.length,
      bulk,
      perGpuQueue: flags.per_gpu_queue,
      device: flags.device,
    },
    host,
  )
  checkGpus(plan, flags.share_gpu)
  const videos = files.map(({ path }) => path)
  const classes = files.map(video => video.class)
  return { config, plan, settings, networks, videos, classes, labels, schedule, requestVideo, bulk }
}
