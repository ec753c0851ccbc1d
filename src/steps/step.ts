import type { GenericSchema } from 'valibot'
import type { DeviceContext } from '../../ffi/cuda/context.ts'
import type { CUevent, CUstream, DevicePointer } from '../../ffi/cuda/types.ts'
import type { Architecture } from '../../models/architecture.ts'
import type { Network } from '../../models/network.ts'
import type { GraphParts } from '../compute/cuda/executor.ts'
import type { Item } from '../queue/item.ts'
import type { TensorSpec } from '../queue/tensor.ts'
import type { CopyPath } from '../results/traffic.ts'
import type { DecoderPoolHandle } from '../video/nvdec/pool.ts'

/** -1 is the CPU; 0 and up are CUDA devices as numbered under CUDA_VISIBLE_DEVICES (RnB's rule). */
export type Device = number
export const CPU: Device = -1

/** Settings of a run that steps share; plain data, sent to every worker. */
export interface RunSettings {
  seed: number
  /** Items that a network step joins to one batch. */
  batch: number
  /** How long the first item of a partial batch waits for others, in milliseconds. */
  maxBatchDelayMs: number
  /** Classes in a result. */
  top: number
  /** CPU threads that one network instance may use. */
  threads: number
  /** What this step runs, if it is one that runs a network. Plans need no more than this. */
  architecture?: Architecture
  /** The same with its weights, in shared memory: needed once steps are created. */
  network?: Network
  /** Frames of a clip, and its height and width in pixels, as the first step makes them. */
  clip: { frames: number; size: number }
}

/** A step's keys in the pipeline file (the queue group's over the step's), checked by its schema. */
export type StepOptions = Readonly<Record<string, unknown>>

/** What a step says of itself before any worker starts. */
export interface StepShape {
  /** Output tensors at their largest; none if the step passes no tensor on. */
  outputs: TensorSpec[]
  /** The most items that one call of `run` takes; 1 unless the step batches. */
  batch?: number
  /** Threads that work for one instance, each with an object of its own from `create`; 1 unless the step says. */
  workers?: number
  /** Decoders of the GPU's engines that one instance keeps busy. */
  decoders?: number
  /** Its threads may do pieces of each other's work: `StepContext.team`, and `StepInstance.help`. */
  team?: boolean
  /** The most bytes, as JSON, of what it says of one part of a request with `keep`. */
  values?: number
}

/** Where an instance is to run, and where its outputs go. */
export interface StepPlace {
  device: Device
  /** All instances that may take its outputs run on GPUs, and so does it: tensors can stay in device memory. */
  resident: boolean
}

/** A tensor in a GPU's memory. */
export interface DeviceTensor {
  /** Its filled rows. */
  readonly pointer: DevicePointer
  /** Of the device that it lies on. */
  readonly context: DeviceContext
  /** Its producer has filled it. */
  readonly ready: CUevent
  /** It lies on this GPU, or on one whose memory this one reaches. */
  readonly direct: boolean
}

/** The GPU of an instance: its thread has the device's primary context, and one stream that all its work is put on. */
export interface StepGpu {
  readonly context: DeviceContext
  readonly stream: CUstream
  /** The device's decoders, which all threads of the run share; undefined if no step planned to use them. */
  readonly decoders?: DecoderPoolHandle
  /** Where a tensor of an item lies. */
  address(item: Pick<Item, 'tensors'>, tensor: number): DeviceTensor
  /** Counts bytes of tensors that were put on the stream to be moved. */
  copied(path: CopyPath, bytes: number): void
  /**
   * Runs what measures on this GPU while no other thread of the run does: they would disturb each other.
   * @throws {Stopped} if the run is stopped meanwhile
   */
  alone<T>(measure: () => T): T
  /** Told what graphs the instance will launch: there only where what GPUs do is recorded. */
  readonly graphs?: (graphs: readonly GraphParts[]) => void
}

/** Rows of an output that one thread fills: the first of them, and how many. */
export interface Piece {
  first: number
  count: number
}

/** What a thread says of a piece that it did. */
export type PieceFacts = Pick<RequestFacts, 'framesNeeded' | 'framesDecoded' | 'decoder'>

/** The threads of an instance, as one of them sees the others. */
export interface Team {
  /**
   * Fills an output piece by piece: this thread takes one after the other, and others that have nothing to do take theirs.
   * A piece that fails on another is done again here: what is wrong with it is said by this thread.
   * @param pieces the largest first
   * @returns what comes to all of them together, with the processor time of the others in microseconds
   * @throws whatever `work` throws, once nobody works at the output any more
   */
  share(
    out: Item,
    pieces: readonly Piece[],
    work: (piece: Piece) => Promise<PieceFacts>,
  ): Promise<PieceFacts & { othersUs: number }>
}

/** What an instance may use while it runs. */
export interface StepContext {
  /** As in messages: `step 1 (network) on cpu, replica 0`. */
  readonly name: string
  readonly step: number
  readonly device: Device
  /** Which of the instance's threads this is: 0 to `workers` - 1. */
  readonly worker: number
  /** Threads of the instance, from 0 on, that use the GPU's decoders. */
  readonly decoders: number
  readonly options: StepOptions
  readonly settings: RunSettings
  /** Specs of the tensors that arrive and leave, as planned. */
  readonly inputs: TensorSpec[]
  readonly outputs: TensorSpec[]
  /** The most items in one call of `run`. */
  readonly batch: number
  /** Number of steps that this one reads from; 1 for the client. */
  readonly sources: number
  /** How many requests there are, at most: they are numbered from 0. */
  readonly requests: number
  /** The video that a request names. */
  video(request: number): string
  /** When a request was to arrive, in ns of the monotonic clock. */
  arrived(request: number): number
  /** Set where the instance runs on a GPU. */
  readonly gpu?: StepGpu
  /** Set where the step's shape says so, and the instance has several threads. */
  readonly team?: Team
  /** Host memory of a tensor that arrived, or that `allocate` gave: the filled shape only. */
  view(item: Item, tensor: number): Float32Array
  /** Whether there is a free slot for each output tensor: `allocate` would not wait. */
  hasRoom(): boolean
  /** A free slot for each output tensor; waits while there is none. `clips` rows of it will be filled. */
  allocate(clips: number): Pick<Item, 'tensors'>
  /** Says something of this run in its summary, once, however many instances say it. */
  remark(message: string): void
  /** Warns people at once, and readers of the summary, of something that limits what this run means. */
  warn(message: string): void
  /** Whether a request still needs what this step makes of it: it has not failed, nor was it dropped. */
  awaits(request: number): boolean
  /** Notes facts of a request for its result. */
  note(request: number, facts: RequestFacts): void
  /** Does `work` under that name in the run's trace, if there is one. */
  timed<T>(what: string, work: () => T): T
  /** Puts JSON into the request's result line. @throws {RangeError} if it is longer than the step's shape said */
  keep(request: number, part: number, json: string): void
}

/** What the loader reports of a request. */
export interface RequestFacts {
  clips: number
  framesNeeded: number
  framesDecoded: number
  decoder: string
  /** Processor time of the thread that did it, in microseconds, where that is known. */
  cpuUs?: number
}

/** Hands an output item on: to the queue that the selector chooses, or to the results after the last step. */
export type Emit = (item: Item) => void

/** One instance of a step, inside its own worker. Blocking is fine; nothing else runs there. */
export interface StepInstance {
  /** Called once before the start barrier: load, compile, tune. */
  warmUp?(): void | Promise<void>
  /**
   * Takes 1..batch items and emits zero or more. The runner releases the inputs' slots afterwards.
   * @throws {VideoError} fails the requests of these items and no others; anything else ends the run.
   */
  run(items: readonly Item[], emit: Emit): void | Promise<void>
  /**
   * Does a piece of an output that another thread of the instance is filling.
   * @throws {VideoError} leaves it to that thread; anything else ends the run.
   */
  help?(out: Item, piece: Piece): Promise<PieceFacts>
  /** No item waits: finish and emit what earlier calls left under way. Called before the instance waits for more. */
  settle?(emit: Emit): void | Promise<void>
  /** After the last item: emit what was held back. */
  flush?(emit: Emit): void | Promise<void>
  close?(): void
}

/** A kind of step: one file in steps/, one line in the table of steps. */
export interface StepKind {
  /** This project's name, then the Python class names of RnB that mean it. */
  readonly names: readonly [string, ...string[]]
  /** The module that it comes from, an absolute path; undefined if it came with the program. */
  readonly module?: string
  /** Schema of the keys that it understands in a step or queue group. */
  readonly options: GenericSchema
  /** False if it takes requests from the client, and no videos: there need not be any. */
  readonly needsVideos?: boolean
  /** Whether it can read from several steps: it waits for what all of them give of a request. */
  readonly joins?: boolean
  /** Shapes for given options and input. @throws {UsageError} if it can't take that input. */
  shape(options: StepOptions, inputs: TensorSpec[], settings: RunSettings, place: StepPlace): StepShape
  create(context: StepContext): StepInstance | Promise<StepInstance>
}
