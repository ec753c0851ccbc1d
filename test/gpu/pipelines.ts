import { cudaDriver } from '../../ffi/cuda/driver.ts'
import { cudnnStatus } from '../../ffi/cudnn/library.ts'
import { buildFakeGpu, type FakeGpu } from '../compute/fake-gpu.ts'
import { demo, file, type Options, type Outcome, rnb } from '../e2e/rnb.ts'

const real = cudaDriver()?.devices.length ?? 0
let fake: FakeGpu | undefined
/** Made when it is first needed, and again by the next file of tests. */
function standIn(): FakeGpu {
  fake ??= buildFakeGpu('pipelines on GPUs, with a stand-in')!
  return fake
}
const canStandIn = real === 0 && Bun.which('gcc') !== null
if (real === 0 && !canStandIn)
  console.warn('skipped: pipelines on GPUs: no GPU, and no gcc to make a stand-in')

/** Every file of tests calls it at its end. */
export function releaseGpus(): void {
  fake?.remove()
  fake = undefined
}

const cudnn = cudnnStatus()
if (real > 0 && !cudnn.ok) console.warn(`skipped: pipelines on GPUs: ${cudnn.problem}`)

/** Whether the GPUs are real; if not, a stand-in takes their place, which decodes on the CPU. */
export const onRealGpus = real > 0
/** GPUs to run on: those that are there, or two that are not; 0 if neither can be. */
export const GPUS = real > 0 ? (cudnn.ok ? real : 0) : canStandIn ? 2 : 0

/** What a process needs in its environment to find these GPUs. */
export const gpuEnv = (): Record<string, string> =>
  canStandIn
    ? { ...standIn().env, FAKE_GPUS: String(GPUS), FAKE_QUICK: '1' }
    : // Set but empty, it has the driver searched for.
      { RNB_CUDA_DRIVER: process.env.RNB_CUDA_DRIVER ?? '' }

/** A run on GPUs with all results on standard output, and nothing for people. */
export function runOnGpus(
  config: string,
  args: readonly string[] = [],
  env: Options['env'] = {},
): Promise<Outcome> {
  const all = ['run', '-c', config, '--device', 'cuda', '--share-gpu', '--results', '-', '--quiet', ...args]
  return rnb(all, { env: { ...gpuEnv(), ...env } })
}

export interface Group {
  gpus: number[]
  [key: string]: unknown
}
export interface Step {
  model: string
  queue_groups: Group[]
  [key: string]: unknown
}

const withoutQueues = ({ in_queue: _, out_queues: __, ...group }: Group): string => JSON.stringify(group)

/** Groups for `count` GPUs where others may be named: each GPU once a group, and of groups that come to the same one. */
function fewerGroups(groups: readonly Group[], count: number): Group[] {
  const fewer = groups.map(group => ({
    ...group,
    gpus: [...new Set(group.gpus.map(gpu => (gpu < 0 ? gpu : gpu % count)))],
  }))
  return fewer.filter(
    (group, i) => fewer.findIndex(other => withoutQueues(other) === withoutQueues(group)) === i,
  )
}

/** Of few clips, two are many. */
const withThreshold = (group: Group): Group =>
  String(group.queue_selector).includes('LargeSmall') ? { ...group, clip_threshold: 2 } : group

/** What the demo's network was trained with. */
export const PREPROCESSING = {
  preprocessing: 'rnb',
  mean: [0.43216, 0.394666, 0.37645],
  std: [0.22803, 0.22145, 0.216989],
}

/** Few clips a video: a stand-in is slow, and a GPU measures for each number of clips before it starts. */
const FEW = { num_clips_population: [1, 2], num_clips_weights: [1, 1] }

const decodes = ({ model }: Step): boolean => /[Ll]oader|[Ss]ingle/.test(model)
const loads = ({ model }: Step): boolean => /[Ll]oader/.test(model)

/** A pipeline on the demo's videos and network, for the GPUs at hand. Returns its file. */
export function forTheseGpus(steps: readonly Step[]): string {
  const pipeline = steps.map(step => ({
    ...(decodes(step) && FEW),
    ...step,
    ...(decodes(step) && PREPROCESSING),
    ...(loads(step) && { in_flight: onRealGpus ? 4 : 1 }),
    queue_groups: fewerGroups(step.queue_groups, GPUS).map(withThreshold),
  }))
  const { videos: video_root, weights, labels } = demo
  return file('gpus.json', JSON.stringify({ video_root, weights, labels, pipeline }))
}
