import { ptr } from 'bun:ffi'
import { type CapturedGraph, captureGraph, destroyGraph, launchGraph } from '../../../ffi/cuda/graph.ts'
import { allocate, copy, fillBytes, free, upload } from '../../../ffi/cuda/memory.ts'
import { Owner } from '../../../ffi/cuda/owner.ts'
import { synchronizeStream } from '../../../ffi/cuda/stream.ts'
import { type CUstream, type DevicePointer, offset } from '../../../ffi/cuda/types.ts'
import {
  BoundMemory,
  type ConvolutionMemory,
  createCudnn,
  destroyCudnn,
  type ElementType,
} from '../../../ffi/cudnn/graph.ts'
import type { Linear } from '../../../models/network.ts'
import type { ExecutorOptions } from '../executor.ts'
import { type Arena, planArena } from './arena.ts'
import { clipCounts, roundUp } from './clip-counts.ts'
import { NetworkKernels } from './kernels.ts'
import { type ClipLayout, clipBytes, elementType, type Precision, type Strides } from './layout.ts'
import { type ConvolutionOperation, lifetimes, makeProgram, type Operation, type Program } from './program.ts'
import { type TunedConvolution, Tuner } from './tune.ts'
import { type DeviceWeights, uploadWeights } from './weights.ts'

export interface CudaExecutorOptions extends Omit<ExecutorOptions, 'threads'> {
  /** Of the device whose context is this thread's; everything is put on it. */
  readonly stream: CUstream
  readonly precision: Precision
  /** Numbers of clips to make graphs for, ascending, the last of them `maxClips`; by default a few of all sizes. */
  readonly counts?: readonly number[]
  /** Ways to measure for each convolution and number of clips: fewer are sooner measured. By default all. */
  readonly tries?: number
}

/** What was chosen and captured for one number of clips. */
export interface GraphReport {
  readonly clips: number
  /** Kernels, copies and fills of its graph. */
  readonly nodes: number
  readonly convolutions: readonly { readonly name: string; readonly ms: number; readonly engine: number }[]
}

/** Logits: [clips, classes] in float32. */
export interface LogitsLayout {
  readonly classes: number
}

/**
 * Runs layers of a network on one GPU, all on one stream and in its order. A batch is first put together in the
 * executor's own input, then launched; the host waits for nothing.
 */
export interface CudaExecutor {
  /** How a clip of the input lies in memory. */
  readonly input: ClipLayout
  /** How a clip of the output does: features, or logits after layer 5. */
  readonly output: ClipLayout | LogitsLayout
  readonly outputBytes: number
  /** Clips that fit into the output's memory must be as many as the graph makes: this many, for so many clips. */
  padded(clips: number): number
  readonly graphs: readonly GraphReport[]
  /** Copies clips of the input's layout to the next batch, from clip `at` of it on. @throws {NativeError} */
  gather(from: DevicePointer, clips: number, at: number): void
  /** The same for clips in another order of axes, or of another type: no more copies than `gather`. */
  arrange(from: DevicePointer, type: ElementType, strides: Strides, clips: number, at: number): void
  /**
   * Runs the batch. Writes `padded(clips)` clips of output, of which the first `clips` mean something.
   * @param output - aligned to 16 bytes
   * @throws {RangeError} for clips out of range. @throws {NativeError}
   */
  launch(clips: number, output: DevicePointer): void
  close(): void
}

/**
 * Bytes of memory that an engine may take to work in. In float16 the fast ones need next to none; in float32 many turn
 * the whole tensor first.
 */
const WORKSPACE_BYTES = { f16: 64 * 2 ** 20, f32: 512 * 2 ** 20 }

const POOLED = 'pooled'

class Executor implements CudaExecutor {
  readonly #owner = new Owner()
  readonly #program: Program
  readonly #kernels: NetworkKernels
  readonly #weights: DeviceWeights
  readonly #arena: Arena
  readonly #memory: DevicePointer
  readonly #workspace: DevicePointer
  readonly #tuner: Tuner
  readonly #counts: readonly number[]
  /** By number of clips: all operations but the last. */
  readonly #graphs = new Map<number, CapturedGraph>()
  /** How to run each convolution, by number of clips and by name. */
  readonly #chosen = new Map<number, ReadonlyMap<string, TunedConvolution>>()
  /** The last convolution's memory, by its output. */
  readonly #outputs = new Map<DevicePointer, BoundMemory>()
  readonly graphs: GraphReport[] = []
  readonly input: ClipLayout
  readonly output: ClipLayout | LogitsLayout
  readonly outputBytes: number

  constructor(readonly options: CudaExecutorOptions) {
    const { network, startIndex, endIndex, frames, size, precision, maxClips, stream } = options
    const clip = { frames, height: size, width: size }
    this.#program = makeProgram(network, startIndex, endIndex, clip, precision)
    const { values, input, output, linear } = this.#program
    this.input = values.get(input)!
    this.output = linear ? { classes: linear.classes } : values.get(output)!
    this.outputBytes = linear ? 4 * linear.classes : clipBytes(values.get(output)!)
    this.#counts = options.counts ?? clipCounts(maxClips)
    try {
      this.#kernels = this.#owner.own(new NetworkKernels(), kernels => kernels.close())
      this.#weights = uploadWeights(this.#program, stream, bytes => this.#allocate(bytes, 'weights'))
      this.#arena = this.#plan()
      this.#memory = this.#allocate(this.#arena.bytes, `activations of ${maxClips} clips`)
      // NaN in either type: if something were read that nothing wrote, it would show.
      fillBytes(this.#memory, 0xff, this.#arena.bytes, stream)
      const handle = this.#owner.own(createCudnn(stream), destroyCudnn)
      this.#fillInput()
      const workspaceBytes = WORKSPACE_BYTES[elementType(precision)]
      const scratch = new Owner()
      try {
        this.#tuner = this.#own(
          new Tuner({
            handle,
            stream,
            workspace: scratch.own(this.#reserve(workspaceBytes, 'workspace to choose in'), free),
            workspaceBytes,
            tensorCores: precision !== 'fp32',
            tries: options.tries ?? Number.POSITIVE_INFINITY,
          }),
        )
        for (const count of this.#counts) this.#choose(count)
      } finally {
        scratch.close()
      }
      this.#workspace = this.#allocate(Math.max(256, this.#tuner.workspaceBytes), 'workspace')
      for (const count of this.#counts) this.#capture(count)
      synchronizeStream(stream)
    } catch (error) {
      this.#owner.close()
      throw error
    }
  }

  #reserve(bytes: number, what: string): DevicePointer {
    const { startIndex, endIndex } = this.options
    return allocate(bytes, {
      what: `the network's ${what} (layers ${startIndex} to ${endIndex})`,
      lower: 'the batch size (-b), the clips of a video, or the number of network replicas on this GPU',
    })
  }

  #allocate(bytes: number, what: string): DevicePointer {
    return this.#owner.own(this.#reserve(bytes, what), free)
  }

  /** Places of all values for the most clips; fewer use the front of each. */
  #plan(): Arena {
    const { operations, values, output, linear } = this.#program
    const { maxClips } = this.options
    const lives = lifetimes(this.#program, maxClips)
    const end = operations.length
    if (linear) {
      const bytes = 4 * maxClips * values.get(output)!.padded
      lives.push({ name: POOLED, bytes, first: end, last: end })
    }
    return planArena(lives)
  }

  #at(value: string): DevicePointer {
    return offset(this.#memory, this.#arena.offsets.get(value)!)
  }

  /** Something like clips, so that the values that are measured with are like those of work. */
  #fillInput(): void {
    const { input, options } = this
    const bytes = clipBytes(input)
    const buffer = new ArrayBuffer(bytes)
    const data = input.type === 'f16' ? new Float16Array(buffer) : new Float32Array(buffer)
    for (let i = 0; i < data.length; i++)
      data[i] = i % input.padded < input.channels ? 2 * Math.sin(i * i) : 0
    for (let clip = 0; clip < options.maxClips; clip++)
      upload(offset(this.#at(this.#program.input), clip * bytes), ptr(data), bytes, options.stream)
  }

  #memoryOf({ convolution, input, output, residual }: ConvolutionOperation): ConvolutionMemory {
    const { filter, bias } = this.#weights.convolutions.get(convolution.name)!
    const z = residual === undefined ? {} : { residual: this.#at(residual) }
    return { input: this.#at(input), filter, bias, output: this.#at(output), ...z }
  }

  /** Chooses how to run every convolution for so many clips, each on what those before it make. */
  #choose(clips: number): void {
    const chosen = new Map<string, TunedConvolution>()
    for (const operation of this.#program.operations) {
      if (operation.kind === 'pick') this.#pick(operation, clips)
      else {
        const { name } = operation.convolution
        chosen.set(name, this.#tuner.choose(name, operation.problem(clips), this.#memoryOf(operation)))
      }
    }
    this.#chosen.set(clips, chosen)
  }

  /** Captures all operations but the last, whose output is elsewhere each time. */
  #capture(clips: number): void {
    const { operations, linear, output, values } = this.#program
    const { stream } = this.options
    const chosen = this.#chosen.get(clips)!
    const runs = operations.map(operation => {
      if (operation.kind === 'pick') return () => this.#pick(operation, clips)
      const bound = this.#own(new BoundMemory(this.#memoryOf(operation), this.#workspace))
      const { plan } = chosen.get(operation.convolution.name)!
      return () => plan.execute(bound)
    })
    if (linear)
      runs.push(() =>
        this.#kernels.pool(this.#at(output), values.get(output)!, this.#at(POOLED), clips, stream),
      )
    else runs.pop()
    const graph = captureGraph(stream, () => {
      for (const run of runs) run()
    })
    this.#graphs.set(clips, this.#owner.own(graph, destroyGraph))
    const convolutions = [...chosen].map(([name, { ms, plan }]) => ({ name, ms, engine: plan.engine.index }))
    this.graphs.push({ clips, nodes: graph.nodes, convolutions })
  }

  #own<T extends { close(): void }>(made: T): T {
    return this.#owner.own(made, m => m.close())
  }

  #pick(operation: Exclude<Operation, ConvolutionOperation>, clips: number): void {
    const { values } = this.#program
    this.#kernels.pick(
      this.#at(operation.input),
      values.get(operation.input)!,
      operation.step,
      this.#at(operation.output),
      values.get(operation.output)!,
      clips,
      this.options.stream,
    )
  }

  padded(clips: number): number {
    return roundUp(clips, this.#counts)
  }

  #check(clips: number, at: number): void {
    if (clips < 1 || at < 0 || at + clips > this.options.maxClips)
      throw new RangeError(
        `network: clips ${at} to ${at + clips} of a batch of at most ${this.options.maxClips}`,
      )
  }

  #place(at: number): DevicePointer {
    return offset(this.#at(this.#program.input), at * clipBytes(this.input))
  }

  gather(from: DevicePointer, clips: number, at: number): void {
    this.#check(clips, at)
    copy(this.#place(at), from, clips * clipBytes(this.input), this.options.stream)
  }

  arrange(from: DevicePointer, type: ElementType, strides: Strides, clips: number, at: number): void {
    this.#check(clips, at)
    this.#kernels.arrange(from, type, strides, this.#place(at), this.input, clips, this.options.stream)
  }

  launch(clips: number, output: DevicePointer): void {
    this.#check(clips, 0)
    const count = this.padded(clips)
    const { linear, operations } = this.#program
    launchGraph(this.#graphs.get(count)!, this.options.stream)
    if (linear) {
      this.#launchLinear(linear, clips, output)
      return
    }
    // The last of a range of layers is a convolution, whatever the range.
    const last = operations.at(-1) as ConvolutionOperation
    this.#chosen.get(count)!.get(last.convolution.name)!.plan.execute(this.#boundTo(output, last))
  }

  #launchLinear({ classes }: Linear, clips: number, output: DevicePointer): void {
    const { weight, bias } = this.#weights.linear!
    const { padded } = this.#program.values.get(this.#program.output)!
    const { stream } = this.options
    this.#kernels.linear(this.#at(POOLED), padded, weight, bias, output, classes, clips, stream)
  }

  /** The last convolution's memory with this output, of which there are as many as slots. */
  #boundTo(output: DevicePointer, last: ConvolutionOperation): BoundMemory {
    let bound = this.#outputs.get(output)
    if (!bound) {
      bound = this.#own(new BoundMemory({ ...this.#memoryOf(last), output }, this.#workspace))
      this.#outputs.set(output, bound)
    }
    return bound
  }

  close(): void {
    try {
      synchronizeStream(this.options.stream)
    } finally {
      this.#owner.close()
    }
  }
}

/**
 * Makes layers of a network ready on this thread's GPU: weights in its memory, every convolution in the way that
 * measured fastest, a graph for each of a few numbers of clips. That takes seconds; nothing is chosen later.
 * @throws {UsageError} for layers that the network does not have, or clips too small for them
 * @throws {LibraryError} without cuDNN
 * @throws {NativeError} such as of memory that is short
 */
export const createCudaExecutor = (options: CudaExecutorOptions): CudaExecutor => new Executor(options)
