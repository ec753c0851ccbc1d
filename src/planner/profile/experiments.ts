import type { GroupInput, StepInput } from '../../pipeline/schema.ts'
import { CPU } from '../../steps/step.ts'
import { drawsSeveral } from '../clips.ts'
import type { Arrangement, PipelineFile } from '../types.ts'
import { branchesOf } from './branches.ts'

/** A run that measures steps. */
export interface Experiment {
  /** Of its folder. */
  name: string
  arrangement: Arrangement
  /** Requests in flight. */
  concurrency: number
  /** Whether no two calls of the steps that it is for run at once: then they take as long as they take. */
  isolates: boolean
  /** Of one whose calls, one at a time, go round many threads: how much longer they then take is what it tells. */
  spreads?: boolean
  /** Steps of its pipeline for which that holds, by their places; all without it. */
  only?: readonly number[]
  /** For how long requests come. */
  seconds: number
  /** Those of a lower rank come first: without them, the others say little. */
  rank: number
}

export interface Sizes {
  /** Videos in a batch. */
  batches: readonly number[]
  /** Requests in flight at once, to see what they cost each other. */
  crowds: readonly number[]
  /** The most threads that may decode on the host for a GPU, beside the GPU's own decoders: 0, and that is not measured. */
  hostDecoders?: number
  /** GPUs that plans may use: what decodes on all of them at once shares the host. Without it, the file's first one. */
  gpus?: readonly number[]
  /** CPU threads that a network on the host may have, beside all of the host's. */
  threads?: readonly number[]
}

/** Of a crowd on a GPU: each of its threads compiles its code anew, and is slower for the first second. */
const GPU_CROWD_S = 4

/**
 * Requests in flight for each thread that loads on a GPU: with one, it would be idle while the network has it, and what so many of
 * them do to each other would be told by fewer.
 */
const KEEPS_BUSY = 2

/** Threads for one request at a time to go round: with more, each would still be compiling when it ends. */
const MOST_SPREAD = 16

/** A batch waits for its last video, however long that takes to load. */
const UNTIL_FULL_MS = 10_000
const QUEUE = 4096

/** The file with some keys of its first step, and of all its groups, set; and slots for what is in flight. */
function changed(file: PipelineFile, first: Partial<StepInput>, inFlight: number): PipelineFile {
  const roomy = ({ num_shared_tensors: slots = 0, ...step }: StepInput): StepInput => {
    const groups = step.queue_groups.map(({ num_shared_tensors: _, ...group }) => group)
    const passesOn = groups.some(({ out_queues: queues }) => queues !== undefined)
    const enough = { num_shared_tensors: Math.max(slots, 2 * inFlight + 2) }
    return { ...step, queue_groups: groups, ...(passesOn && enough) }
  }
  return {
    ...file,
    pipeline: file.pipeline.map((step, s) => ({ ...roomy(step), ...(s === 0 && first) })),
  }
}

/** One instance of each step: the first group's, on its first device. */
function smallest(file: PipelineFile): PipelineFile {
  const only = (group: GroupInput): GroupInput => ({
    ...group,
    gpus: group.gpus!.slice(0, 1),
    ...(group.in_queue !== undefined && { in_queue: 0 }),
    ...(group.out_queues !== undefined && { out_queues: [0] }),
  })
  return {
    ...file,
    pipeline: file.pipeline.map(({ gpus, in_queue, out_queues, queue_groups, ...step }) => ({
      ...step,
      queue_groups: [
        only({
          ...(gpus && { gpus }),
          ...(in_queue !== undefined && { in_queue }),
          ...(out_queues && { out_queues }),
          ...queue_groups[0]!,
        }),
      ],
    })),
  }
}

const runsOnGpu = ({ queue_groups: [group] }: StepInput): boolean => (group?.gpus?.[0] ?? CPU) !== CPU

const LOADERS = new Set(['loader', 'models.r2p1d.model.R2P1DLoader', 'R2P1DLoader'])

/** Names of steps that run a network with threads of their own. */
const NETWORKS = new Set(['network', 'models.r2p1d.model.R2P1DRunner', 'R2P1DRunner'])

/** With so many threads for each network. */
const withThreads = (arrangement: Arrangement, threads: number): Arrangement => ({
  ...arrangement,
  config: {
    ...arrangement.config,
    pipeline: arrangement.config.pipeline.map(step =>
      NETWORKS.has(step.model) ? { ...step, threads } : step,
    ),
  },
})

/**
 * Runs that measure the steps of a pipeline: each call by itself, in batches of each size; and crowds, which show what
 * calls that run at once cost each other.
 * @param name tells the files of a profile from each other
 */
export function experimentsOf(
  name: string,
  given: PipelineFile,
  { batches, crowds, hostDecoders = 0, gpus = [], threads = [] }: Sizes,
): Experiment[] {
  const whole = smallest(given)
  const branches = branchesOf(whole)
  const ways = branches.flatMap(({ file, only }, at) => {
    const way = branches.length === 1 ? name : `${name}-way-${at + 1}`
    return isolatedOf(way, file, { batches, hostDecoders, threads }).map(experiment => ({
      ...experiment,
      ...(only && { only }),
    }))
  })
  return [...ways, ...crowdsOf(name, whole, { crowds, hostDecoders, gpus })]
}

/** Arrangements of a pipeline with so many requests in flight, and options of its first step. */
function arrangementsOf(file: PipelineFile) {
  const [first] = file.pipeline
  const threads = LOADERS.has(first!.model) || first!.model === 'synthetic-loader'
  const { in_flight: _, cpu_decoders: __, share_clips: ___, ...one } = first!
  const base = (inFlight: number, batch: number, more: Partial<StepInput> = {}): Arrangement => ({
    config: changed({ ...file, pipeline: [one, ...file.pipeline.slice(1)] }, more, inFlight),
    batch,
    maxBatchDelayMs: UNTIL_FULL_MS,
    perGpuQueue: false,
    queueSize: QUEUE,
  })
  const loading = (inFlight: number) => (threads ? { in_flight: inFlight } : {})
  return { base, loading }
}

/** Runs with one call at a time of each step. */
function isolatedOf(
  name: string,
  file: PipelineFile,
  { batches, hostDecoders, threads: counts }: Required<Omit<Sizes, 'crowds' | 'gpus'>>,
): Experiment[] {
  const { base, loading } = arrangementsOf(file)
  const isolated = batches.map(
    (batch): Experiment => ({
      name: `${name}-batch-${batch}`,
      arrangement: base(batch, batch, loading(1)),
      concurrency: batch,
      isolates: true,
      seconds: batch === 1 ? 6 : 2,
      rank: batch === 1 ? 0 : 3,
    }),
  )
  const decoding: Experiment[] =
    decodesOnGpu(file) && hostDecoders > 0
      ? [
          {
            name: `${name}-decoders-on-host`,
            arrangement: base(2, 1, { ...loading(1), cpu_decoders: 1 }),
            // One for each: of two threads that wait, the same one might take all.
            concurrency: 2,
            isolates: true,
            only: [0],
            seconds: 4,
            // What may decode for a GPU belongs to what has to be known of it.
            rank: 0.5,
          },
        ]
      : []
  const networkOnHost = file.pipeline.some(step => NETWORKS.has(step.model) && !runsOnGpu(step))
  const threaded = (networkOnHost ? counts : []).map(
    (count): Experiment => ({
      name: `${name}-threads-${count}`,
      arrangement: withThreads(base(1, 1, loading(1)), count),
      concurrency: 1,
      isolates: true,
      seconds: 2,
      rank: 2,
    }),
  )
  return [...isolated, ...decoding, ...threaded]
}

/** Whether the first step decodes with a GPU's engines. */
const decodesOnGpu = ({ pipeline: [first] }: PipelineFile): boolean =>
  LOADERS.has(first!.model) && runsOnGpu(first!)

/** Whether a run, by its name, is of many threads on a GPU's engines and many decoders on the host at once. */
export const isOfBothEngines = (name: string): boolean => /-crowd-\d+-and-\d+-on-host$/.test(name)

/** The file with what runs on a GPU on each of several. */
const onAll = (file: PipelineFile, gpus: readonly number[]): PipelineFile => ({
  ...file,
  pipeline: file.pipeline.map(step =>
    runsOnGpu(step)
      ? { ...step, queue_groups: step.queue_groups.map(group => ({ ...group, gpus: [...gpus] })) }
      : step,
  ),
})

/** Runs with many requests in flight, and one with as many threads for one request at a time. */
function crowdsOf(
  name: string,
  file: PipelineFile,
  { crowds, hostDecoders, gpus }: Required<Pick<Sizes, 'crowds' | 'hostDecoders' | 'gpus'>>,
): Experiment[] {
  const { base, loading } = arrangementsOf(file)
  const crowded = crowds.map(
    (crowd): Experiment => ({
      name: `${name}-crowd-${crowd}`,
      arrangement: base(crowd, 1, loading(crowd)),
      concurrency: decodesOnGpu(file) ? KEEPS_BUSY * crowd : crowd,
      isolates: false,
      seconds: decodesOnGpu(file) ? GPU_CROWD_S : 3,
      rank: 1,
    }),
  )
  const most = Math.max(1, ...crowds)
  if (most === 1 || !decodesOnGpu(file)) return crowded
  // Few threads: each compiles its code anew.
  const few = Math.max(2, Math.min(...crowds))
  const sharing: Experiment = {
    name: `${name}-sharing-${few}`,
    arrangement: base(few, 1, { ...loading(few), share_clips: true }),
    concurrency: 1,
    isolates: false,
    seconds: 4,
    rank: 1,
  }
  const shared = drawsSeveral(file.pipeline[0]!) ? [sharing] : []
  const wide = Math.min(most, MOST_SPREAD)
  const spread: Experiment = {
    name: `${name}-spread-${wide}`,
    arrangement: base(wide, 1, loading(wide)),
    concurrency: 1,
    isolates: false,
    spreads: true,
    seconds: 4,
    rank: 2,
  }
  if (hostDecoders === 0) return [...crowded, ...shared, spread]
  const loaders = Math.max(1, gpus.length)
  const inFlight = Math.ceil(most / 2)
  const beside = Math.ceil(hostDecoders / loaders)
  const threads = loaders * (inFlight + beside)
  const arrangement = base(threads, 1, { ...loading(inFlight), cpu_decoders: beside })
  const both: Experiment = {
    name: `${name}-crowd-${loaders * inFlight}-and-${loaders * beside}-on-host`,
    arrangement: loaders > 1 ? { ...arrangement, config: onAll(arrangement.config, gpus) } : arrangement,
    concurrency: KEEPS_BUSY * threads,
    isolates: false,
    // So many threads compile for longer, on the same cores.
    seconds: 12,
    rank: 1,
  }
  return [...crowded, both, ...shared, spread]
}

/** What an experiment tells: names of steps in their sizes, or of what disturbs what. */
export type Telling = (experiment: Experiment) => readonly string[]

/**
 * Leaves out experiments that tell nothing which others do not tell, and puts the rest into the order in which they
 * are worth their time.
 */
export function worthwhile(experiments: readonly Experiment[], telling: Telling): Experiment[] {
  const told = new Set<string>()
  return experiments
    .toSorted((a, b) => a.rank - b.rank)
    .filter(experiment => {
      const own = telling(experiment)
      if (own.every(name => told.has(name))) return false
      for (const name of own) told.add(name)
      return true
    })
}
