import type { GroupInput, StepInput } from '../../pipeline/schema.ts'
import { CPU } from '../../steps/step.ts'
import type { Arrangement, PipelineFile } from '../types.ts'
import type { Queues } from './choice.ts'
import type { Structure, StructureStep } from './structure.ts'

/** Everything that a plan decides. */
export interface Decided {
  structure: Structure
  /** By step: the device of each instance. */
  devices: readonly (readonly number[])[]
  inFlight?: number
  shareClips?: boolean
  cpuDecoders?: number
  batch: number
  delayMs: number
  queues: Queues
  queueSize: number
}

/** GPUs on which a step has instances, each once. */
const gpusOf = (devices: readonly number[]): number[] =>
  [...new Set(devices)].filter(device => device !== CPU).sort((a, b) => a - b)

/**
 * Output slots of an instance: for what its threads are making, and for two batches of each instance after it, so
 * that one may fill while the other runs.
 */
function slotsOf(
  { devices, batch, inFlight = 1, cpuDecoders = 0 }: Decided,
  step: number,
  readers: number[],
): number {
  const threads = step === 0 ? inFlight + cpuDecoders : 1
  const after = readers.reduce((sum, reader) => sum + devices[reader]!.length, 0)
  return threads + 2 * batch * Math.ceil(after / devices[step]!.length)
}

function stepOf(decided: Decided, index: number): StepInput {
  const { structure, devices, queues, inFlight, shareClips = false, cpuDecoders } = decided
  const step = structure.steps[index]!
  const { model, name, options, slots, segments } = step
  const readers = structure.steps.flatMap(({ sources }, reader) => (sources.includes(index) ? [reader] : []))
  const apart = (taker: number) => queues.kind === 'chosen' && gpusOf(devices[taker]!).length > 1
  const group: GroupInput =
    readers.length > 0 ? { gpus: [], out_queues: outQueues(decided, readers, apart) } : { gpus: [] }
  if (queues.kind === 'chosen' && group.out_queues && group.out_queues.length > 1)
    group.queue_selector = queues.selector
  const own = devices[index]!
  const sorting = structure.sorts && index < 2 ? sorted(decided, index, own) : undefined
  const groups: GroupInput[] =
    sorting ??
    (index === 0
      ? [{ ...group, gpus: [...own] }]
      : apart(index)
        ? gpusOf(own).map((gpu, queue) => ({ ...group, gpus: own.filter(d => d === gpu), in_queue: queue }))
        : [{ ...group, gpus: [...own], in_queue: 0 }])
  return {
    model,
    ...(name !== undefined && { name }),
    ...(inputsOf(step, index) && { inputs: inputsOf(step, index) }),
    queue_groups: groups,
    ...options,
    ...(index === 0 && inFlight !== undefined && { in_flight: inFlight }),
    ...(index === 0 && cpuDecoders !== undefined && { cpu_decoders: cpuDecoders }),
    ...(index === 0 && shareClips && { share_clips: true }),
    ...(readers.length > 0 && { num_shared_tensors: Math.max(slots ?? 0, slotsOf(decided, index, readers)) }),
    ...(segments > 1 && { num_segments: segments }),
  }
}

/** Clips from which on the selector large-small calls a video large, where the file does not say how many there are. */
const LARGE = 15

/** The first step sends small and large videos to different instances of the batcher, which join the small ones. */
function sorted({ structure, batch }: Decided, index: number, own: readonly number[]): GroupInput[] {
  const gpus = [...own]
  if (index === 1)
    return [
      { gpus, in_queue: 0, out_queues: [0], batch },
      { gpus, in_queue: 1, out_queues: [0] },
    ]
  const { num_clips_population: population } = structure.steps[0]!.options
  const most = Array.isArray(population) ? Math.max(...population.map(Number)) : LARGE
  return [{ gpus, out_queues: [0, 1], queue_selector: 'large-small', clip_threshold: most }]
}

/** Queues that a step's instances put into: what its readers take from, of which several take from as many. */
function outQueues(
  decided: Decided,
  readers: readonly number[],
  apart: (taker: number) => boolean,
): number[] {
  const counts = readers.map(reader => (apart(reader) ? gpusOf(decided.devices[reader]!).length : 1))
  return Array.from({ length: Math.max(...counts) }, (_, queue) => queue)
}

/** Said only where it is not the step before. */
const inputsOf = ({ sources }: StructureStep, index: number): number[] | undefined =>
  index === 0 || (sources.length === 1 && sources[0] === index - 1) ? undefined : [...sources]

/** Writes a plan as what the program runs. */
export function arrange(head: Omit<PipelineFile, 'pipeline'>, decided: Decided): Arrangement {
  const { structure, batch, delayMs, queues, queueSize } = decided
  return {
    config: { ...head, pipeline: structure.steps.map((_, step) => stepOf(decided, step)) },
    batch: structure.sorts ? 1 : batch,
    maxBatchDelayMs: delayMs,
    perGpuQueue: queues.kind === 'per-gpu',
    queueSize,
  }
}
