import { releaseContext, retainContext } from '../../ffi/cuda/context.ts'
import { describeDevice } from '../../ffi/cuda/device.ts'
import { nvcuvidStatus } from '../../ffi/nvcuvid/library.ts'
import { gpuUse, nvmlStatus } from '../../ffi/nvml.ts'
import { findVideos } from '../client/videos.ts'
import { computes, layerBytesOf, slotBytesOf } from '../pipeline/device-memory.ts'
import type { Instance, Plan } from '../pipeline/plan.ts'
import { CPU } from '../steps/step.ts'
import { isModulePath } from '../steps/user/module.ts'
import { requireDecoder } from '../video/libav-codec.ts'
import { NvdecCapabilities } from '../video/nvdec/capabilities.ts'
import { openVideo } from '../video/open.ts'
import { checkRunFlags } from './arguments.ts'
import { attempt, attemptLater, type Finding } from './doctor-finding.ts'
import { requireLibraries } from './libraries.ts'
import { type Prepared, prepare } from './prepare.ts'

/** What a pipeline is checked with. */
export interface PipelineFlags {
  config_file_path: string
  batch_size: number
  video_root?: string
  device: string
  share_gpu: boolean
}

/** Files that are looked into for what is in them. */
const MOST_VIDEOS = 200

const kindOf = ({ steps }: Plan, { step }: Instance): string => steps[step]!.kind
const decodes = (plan: Plan, instance: Instance): boolean =>
  ['loader', 'single'].includes(kindOf(plan, instance))

/** GPUs of some of the plan's instances. */
const gpusOf = (instances: readonly Instance[]): number[] =>
  [...new Set(instances.map(({ device }) => device))].filter(device => device !== CPU)

/** Why the engines of a GPU do not take a codec; undefined if they do. */
function nvdecRefuses(device: number, codec: string): boolean {
  if (!nvcuvidStatus().ok) return true
  const context = retainContext(device)
  try {
    return !new NvdecCapabilities().query(codec)?.supported
  } finally {
    releaseContext(context)
  }
}

/** What decodes a codec in this plan. @throws {VideoError} if on some of its loaders nothing does */
function decoderOf(plan: Plan, codec: string): string {
  const loaders = plan.instances.filter(instance => decodes(plan, instance))
  const gpus = gpusOf(loaders)
  const onCpu = loaders.some(({ device }) => device === CPU) || gpus.some(gpu => nvdecRefuses(gpu, codec))
  if (onCpu) requireDecoder(codec)
  return onCpu ? (gpus.length > 0 ? 'libav, as NVDEC does not take it' : 'libav') : 'NVDEC'
}

/** Whether the videos can be decoded here. */
async function videosText({ config, plan }: Prepared, flags: PipelineFlags): Promise<string> {
  const root = flags.video_root ?? config.videoRoot
  if (root === undefined || isModulePath(config.iterator))
    return 'not looked into: give --video-root to have their codecs checked'
  const codecs = new Map<string, number>()
  const found = findVideos(root).slice(0, MOST_VIDEOS)
  let unreadable = 0
  for (const { path } of found) {
    try {
      const video = await openVideo(path)
      codecs.set(video.info.codec, (codecs.get(video.info.codec) ?? 0) + 1)
      video.close()
    } catch {
      unreadable++
    }
  }
  if (unreadable === found.length) throw new Error(`none of ${found.length} files in ${root} can be read`)
  const texts: string[] = []
  const refused: string[] = []
  for (const [codec, count] of codecs) {
    const files = `${codec} (${count} file${count === 1 ? '' : 's'})`
    const { ok, detail } = attempt(codec, () => decoderOf(plan, codec))
    if (ok) texts.push(`${files}: ${detail}`)
    else refused.push(`${files}: ${detail}`)
  }
  if (refused.length > 0) throw new Error(refused.join('; '))
  return [...texts, ...(unreadable > 0 ? [`${unreadable} cannot be read and will fail`] : [])].join('; ')
}

/** Device memory that an instance takes at the least. */
function bytesOf({ plan, settings, networks }: Prepared, instance: Instance): number {
  const slots = slotBytesOf(instance)
  const network = networks[plan.steps[instance.step]!.network ?? -1]
  if (!network || !computes(plan, instance)) return slots
  return slots + layerBytesOf(instance, network, settings.clip)
}

const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`

/** Whether what a GPU has free is enough, as far as that can be told. */
function memoryText(prepared: Prepared, device: number): string {
  const own = prepared.plan.instances.filter(instance => instance.device === device)
  const needs = own.map(instance => ({ name: instance.name, bytes: bytesOf(prepared, instance) }))
  const needed = needs.reduce((sum, { bytes }) => sum + bytes, 0)
  const least = `slots, activations and weights take ${mebibytes(needed)} at the least`
  if (!nvmlStatus().ok) return least
  const { free } = gpuUse(describeDevice(device).uuid).memory
  const both = `${least}, and ${mebibytes(free)} is free`
  if (needed <= free) return both
  const largest = needs.reduce((most, need) => (need.bytes > most.bytes ? need : most))
  throw new Error(
    `${both}; ${largest.name} alone takes ${mebibytes(largest.bytes)}: lower the batch size (-b), ` +
      'num_clips_population, num_shared_tensors, or the number of replicas on this GPU',
  )
}

/** Whether a pipeline file could run here as it is, and if not, why. */
export async function pipelineFindings(flags: PipelineFlags): Promise<Finding[]> {
  const what = `pipeline ${flags.config_file_path}`
  let prepared: Prepared | undefined
  const planned = await attemptLater(what, async () => {
    const all = {
      ...{
        mean_interval_ms: 3,
        max_batch_delay_ms: 5,
        videos: 1,
        queue_size: 500,
        seed: 0,
        warmup: 0,
        top: 5,
      },
      ...{ per_gpu_queue: false, check: true, on_error: 'skip', on_full: 'abort', quiet: true },
      ...flags,
    }
    prepared = await prepare(checkRunFlags(all), ['none'])
    requireLibraries(prepared.plan)
    const { instances, notes } = prepared.plan
    return [`can run here: ${instances.map(({ name }) => name).join('; ')}`, ...notes].join('; ')
  })
  if (!prepared || !planned.ok) return [planned]
  const ready = prepared
  return [
    planned,
    await attemptLater('its videos', () => videosText(ready, flags)),
    ...gpusOf(ready.plan.instances).map(device =>
      attempt(`its memory on gpu ${device}`, () => memoryText(ready, device)),
    ),
  ]
}
