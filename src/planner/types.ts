import type { StepInput } from '../pipeline/schema.ts'
import type { Device } from '../steps/step.ts'

/** What a pipeline file holds. Paths in it are absolute, so that it may be written anywhere. */
export interface PipelineFile {
  name?: string
  description?: string
  video_path_iterator?: string
  video_root?: string
  weights?: string
  labels?: string
  pipeline: StepInput[]
}

/** A way to run a pipeline: the file, and the flags that go with it. */
export interface Arrangement {
  config: PipelineFile
  /** Videos in a network batch. */
  batch: number
  maxBatchDelayMs: number
  perGpuQueue: boolean
  queueSize: number
}

/** What is asked of an arrangement. */
export interface Load {
  requests: number
  /** Of arrivals, videos, clips and whatever else is drawn. */
  seed: number
  /** Mean arrivals a second, Poisson; all at once without it. */
  ratePerS?: number
  /** Results at the start that figures leave out, as the program does; 0. Bounds are for none. */
  warmup?: number
}

/** What becomes of a load. */
export interface Prediction {
  /** Results over the time from the start to the last of them. */
  videosPerS: number
  /** Of the latency from the intended arrival. */
  p50Ms: number
  p99Ms: number
  /** Requests with a result. */
  completed: number
  /** Whether a queue was full, which ends a run. */
  aborted: boolean
  /** The share of the time, 0..1, for which each instance and each shared resource was at work, by name. */
  use: Record<string, number>
}

/**
 * What all calls in one place share, as so many servers by name. A GPU's are there once for each GPU and go by
 * `gpu N NAME` in `use`; the host's by `host NAME`.
 */
export interface Machine {
  gpus: number
  gpu: Readonly<Record<string, number>>
  host: Readonly<Record<string, number>>
  /** Cores of the host, where what they carry (`host.cores`) is known to be another number. */
  cores?: number
}

/** A step in one place, with all else about it open. */
export interface Placing {
  /** How the steps follow each other, with their options; groups name any devices. */
  config: PipelineFile
  step: number
  device: Device
  /** The most videos that a batch may have in any arrangement that this is asked for. */
  mostBatch: number
}

/**
 * The least that a step can cost in a place: a mean of the load's requests, over all batches that are allowed. Where
 * anything can cost less, a bound made of it would not hold.
 */
export interface Demand {
  /** Threads of an instance that take calls this way. */
  threads: number
  /** Milliseconds of a thread of the instance, for each request. */
  threadMs: number
  /** Milliseconds of one server of what its GPU shares, for each request; empty on the CPU. */
  gpu: Readonly<Record<string, number>>
  /** The same of what the host shares. */
  host: Readonly<Record<string, number>>
  /** By request: milliseconds from its arrival at the step until it leaves, if it never waits. */
  leastMs: Float64Array
}

/** A place with less memory than an arrangement needs there, in bytes. */
export interface Overflow {
  message: string
  /** For people: `a GPU`. */
  where: string
  needed: number
  most: number
}

/** Says what arrangements would do, from what is known of their steps. Equal arguments give equal answers. */
export interface Predictor {
  readonly machine: Machine
  /** @throws {UsageError} if the arrangement is none that the program would run */
  predict(arrangement: Arrangement, load: Load): Prediction
  /**
   * One way for each kind of threads that an instance has: those that keep a GPU's decoders busy and those that decode
   * on the host cost different things. Each call takes one of them.
   * @throws {UsageError} if such a step cannot stand there
   */
  demand(placing: Placing, load: Load): Demand[]
  /** The same steps on another machine: with more GPUs or cores. What it says has not been measured there. */
  on(machine: Machine): Predictor
  /** Why an arrangement does not fit the machine's memory; undefined if it does, or that is not known. */
  overflow?(arrangement: Arrangement): Overflow | undefined
}
