// What steps, queue selectors and video path iterators of your own see of rnb: `rnb types > rnb.d.ts` writes this
// page beside your module, which then says `import type { Step } from 'rnb'`. Nothing but types: there is no package.

/** What JSON can hold. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/** Keys of a step in the pipeline file that are its own. */
export type Options = { readonly [key: string]: Json }

/** -1 is the CPU; 0 and up are GPUs, as numbered under CUDA_VISIBLE_DEVICES. */
export type Device = number

/** An address in a GPU's memory. */
export type DevicePointer = number

/** What a tensor is. The first dimension counts clips; in a plan it is the most that there can be. */
export interface TensorSpec {
  readonly shape: readonly number[]
  readonly type: 'f32' | 'f16'
  /** `device`: on the GPU of the instance that made it. */
  readonly memory: 'host' | 'device'
}

/** A tensor in the host's memory. Other threads see the same bytes: nothing is copied. */
export interface HostTensor {
  readonly memory: 'host'
  readonly type: 'f32'
  readonly shape: readonly number[]
  /** Row after row, without gaps. An input is read only, and no longer there once `run` has ended. */
  readonly data: Float32Array
}

/** A tensor on this instance's GPU. Work that is put on the instance's stream finds it filled. */
export interface DeviceTensor {
  readonly memory: 'device'
  readonly type: 'f32' | 'f16'
  readonly shape: readonly number[]
  readonly pointer: DevicePointer
}

export type Tensor = HostTensor | DeviceTensor

/** The default export of a module that `"model": "./my-step.ts"` names: a class. */
export interface StepClass<O extends Options = Options> {
  /** Keys that the step takes in the pipeline file, with their defaults. Other keys are errors, other types too. */
  readonly options?: O
  /**
   * What comes out of a step that these tensors go into; without it, nothing. Called before anything starts, and by
   * `rnb config check`. Throw if the inputs or the options are not what the step can take: the message is shown.
   */
  shape?(plan: StepPlan<O>): StepShape
  /** Called in the thread of each instance. */
  new (context: StepContext<O>): Step
}

/** What is known before anything starts. */
export interface StepPlan<O extends Options = Options> {
  /** Tensors that arrive with an item, at their largest; none for the first step. */
  readonly inputs: readonly TensorSpec[]
  readonly options: O
  readonly device: Device
}

/** What a step puts out. */
export interface StepShape {
  /** Tensors of an item that leaves, at their largest; `f32` in the host's memory where they do not say. */
  readonly outputs?: readonly { shape: readonly number[]; type?: 'f32' | 'f16'; memory?: 'host' | 'device' }[]
  /** The most bytes that the values of one video take as JSON (1024). */
  readonly values?: number
}

/** What an instance may use as long as it lives. */
export interface StepContext<O extends Options = Options> {
  /** As in messages: `step 1 (./my-step.ts) on cpu, replica 0`. */
  readonly name: string
  readonly options: O
  readonly device: Device
  /** Of the run. */
  readonly seed: number
  readonly inputs: readonly TensorSpec[]
  readonly outputs: readonly TensorSpec[]
  /** Set where the instance runs on a GPU. */
  readonly gpu?: Gpu
}

/** One instance of a step, in a thread of its own: `run` may block, nothing else waits there. */
export interface Step {
  /** Before the clock starts: load, compile, try. */
  warmUp?(): void | Promise<void>
  /**
   * Takes an item: one video's tensors, or those of several where a batcher joined them.
   * A step with outputs calls `card.allocate` and fills what that gave.
   * @throws what `card.refuse` gave to fail these videos; anything else ends the run, naming the line
   */
  run(inputs: readonly Tensor[], card: TimeCard): Outcome | undefined | Promise<Outcome | undefined>
  /** After the last item. */
  close?(): void
}

/** What `run` says of the videos beside its tensors. */
export interface Outcome {
  /** One for each of `card.requests`: `values` of this step in the video's result line. */
  readonly values?: readonly Json[]
}

/** What goes with an item through the pipeline. */
export interface TimeCard {
  /** Whose clips these are, in the order of the rows. */
  readonly requests: readonly RequestPart[]
  /**
   * A free slot for each output, for so many clips; waits while there is none. The first step of a pipeline chooses
   * how many, and so does any other for an item of one request; those of several requests stay as many as they are.
   */
  allocate(clips: number): readonly Tensor[]
  /** An error to throw, which fails these requests and no others. */
  refuse(message: string): Error
}

/** A request, or a part of one where `num_segments` split it. */
export interface RequestPart {
  /** From 0 on, in order of arrival. */
  readonly id: number
  /** Path of the video. */
  readonly video: string
  /** Which part of the request: its place among the most that there could be. */
  readonly part: number
  /** The item is one in so many of the request; over all its parts, 1 / `parts` comes to 1. */
  readonly parts: number
  /** How many rows of the tensors are its; 0 before the first step. */
  readonly clips: number
  /** Milliseconds from the intended arrival until `run` was called. */
  readonly ageMs: number
}

/** The GPU of an instance. Its thread has the device's primary context. */
export interface Gpu {
  readonly device: Device
  /** The driver's CUstream: all work of the instance is put on it, in order. */
  readonly stream: number
  /** Compiles PTX for this device. @throws with the compiler's words */
  load(ptx: string): GpuModule
  /** Memory of the device, freed after `close`. */
  allocate(bytes: number): DevicePointer
  /** Sets bytes to 0, in the order of the stream. */
  clear(to: DevicePointer, bytes: number): void
  /** Copies to the device in the order of the stream; `from` has been read when it returns. */
  upload(to: DevicePointer, from: ArrayBufferView): void
  /** Waits for the stream and copies to the host. */
  download(from: DevicePointer, into: ArrayBufferView): void
  /** Waits until the device has done all that was asked of it. */
  synchronize(): void
}

export interface GpuModule {
  /** @throws if the module has no entry of that name */
  kernel<const P extends readonly KernelParameter[]>(name: string, parameters: P): GpuKernel<P>
}

/** Type of a kernel's parameter. */
export type KernelParameter = 'pointer' | 'u32' | 's32' | 'f32'

export interface GpuKernel<P extends readonly KernelParameter[]> {
  /** Puts a launch on the instance's stream. */
  launch(grid: Grid, ...args: { [K in keyof P]: number }): void
}

/** Blocks, and threads of a block: in x alone, or in x, y and z. */
export interface Grid {
  readonly blocks: number | readonly [x: number, y: number, z: number]
  readonly threads: number | readonly [x: number, y: number, z: number]
  /** Dynamic shared memory of a block. */
  readonly sharedBytes?: number
}

/** The default export of a module that `"queue_selector": "./my-selector.ts"` names: a class. */
export interface SelectorClass {
  new (context: SelectorContext): Selector
}

export interface SelectorContext {
  /** Number of output queues of the group. */
  readonly queues: number
  /** Items in output queue `index` (0 to `queues` - 1) now. */
  depth(index: number): number
  /** Whether it has no room. */
  full(index: number): boolean
  /** Whether an instance on this one's device takes from it. */
  near(index: number): boolean
}

/** Of one instance, in its thread. */
export interface Selector {
  /** The output queue for an item: an index into the group's `out_queues`. */
  select(item: ItemFacts): number
}

export interface ItemFacts {
  /** Of all its requests. */
  readonly clips: number
  readonly requests: readonly { id: number; part: number; parts: number; clips: number }[]
  /** Shape of each tensor. */
  readonly shapes: readonly (readonly number[])[]
}

/** The default export of a module that `"video_path_iterator": "./my-videos.ts"` names: a class. */
export interface VideoPathIteratorClass {
  new (context: VideoPathContext): Iterable<string | ClassifiedVideo>
}

export interface VideoPathContext {
  /** `--video-root`, or the file's `video_root` as a full path. */
  readonly root?: string
  /** Where relative paths that it yields start: the folder of the pipeline file. */
  readonly folder: string
  /** Of the run: the same seed must give the same order. */
  readonly seed: number
}

export interface ClassifiedVideo {
  readonly path: string
  /** What is to be seen in it, for the result line. */
  readonly class?: string
}
