import {
  type CapturedGraph,
  captureGraph,
  countNodes,
  destroyGraph,
  launchGraph,
} from '../../../ffi/cuda/graph.ts'
import { allocate, copy, fillBytes, free, upload } from '../../../ffi/cuda/memory.ts'
import { Owner } from '../../../ffi/cuda/owner.ts'
import { synchronizeStream } from '../../../ffi/cuda/stream.ts'
import { type CUgraphExec, type CUstream, type DevicePointer, offset } from '../../../ffi/cuda/types.ts'
import type { ElementType } from '../../../ffi/cudnn/graph.ts'
import type { ExecutorOptions } from '../executor.ts'
import { type Arena, planArena } from './arena.ts'
import type { ConvolutionBackend, Kernels, Launch, Launches } from './backend.ts'
import { clipCounts, roundUp } from './clip-counts.ts'
import { NetworkKernels } from './kernels.ts'
import { type ClipLayout, clipBytes, type Precision, type Strides } from './layout.ts'
import { lifetimes, makeProgram, POOLED, type Program } from './program.ts'
import { StreamTimer } from './stream-timer.ts'
import { type LeastWork, workByName } from './work.ts'

/** What an executor is made for. */
export interface ExecutorPlan extends Omit<ExecutorOptions, 'threads'> {
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
  /** In order, the last of them not part of the graph. */
  readonly launches: readonly Omit<Launch, 'run'>[]
}

/** A launch, and the least that it has to do. */
export interface LaunchWork extends LeastWork {
  readonly name: string
  readonly how: string
  /** Which of the network's five layers it belongs to. */
  readonly layer: number
}

/** What a graph is made of, for who records what runs. */
export interface GraphParts {
  readonly exec: CUgraphExec
  readonly clips: number
  /** In order, with how many nodes of the graph each is. */
  readonly launches: readonly (LaunchWork & { readonly nodes: number })[]
  /** What follows the graph, by itself. */
  readonly last: LaunchWork
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
  /** What computes its convolutions. */
  readonly kernels: Kernels
  /** How a clip of the input lies in memory. */
  readonly input: ClipLayout
  /** How a clip of the output does: features, or logits after layer 5. */
  readonly output: ClipLayout | LogitsLayout
  readonly outputBytes: number
  /** Clips that fit into the output's memory must be as many as the graph makes: this many, for so many clips. */
  padded(clips: number): number
  readonly graphs: readonly GraphReport[]
  /** Measures each launch for so many clips (one of `graphs`), in order and on what those before it make. */
  profile(clips: number): Required<Omit<Launch, 'run'>>[]
  /** Does each launch for so many clips (one of `graphs`), as `visit` asks for it, in order. @throws {NativeError} */
  each(clips: number, visit: (launch: Omit<Launch, 'run'>, run: () => void) => void): void
  /** What each of `graphs` is made of. @throws {NativeError} */
  parts(): GraphParts[]
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

class Executor implements CudaExecutor {
  readonly #owner = new Owner()
  readonly #program: Program
  readonly #kernels: NetworkKernels
  readonly #arena: Arena
  readonly #memory: DevicePointer
  readonly #counts: readonly number[]
  /** By number of clips: the graph has all launches but the last. */
  readonly #ready = new Map<number, Launches & { graph: CapturedGraph }>()
  readonly kernels: Kernels
  readonly graphs: GraphReport[] = []
  readonly input: ClipLayout
  readonly output: ClipLayout | LogitsLayout
  readonly outputBytes: number

  constructor(
    readonly options: ExecutorPlan,
    backend: ConvolutionBackend,
  ) {
    const { network, startIndex, endIndex, frames, size, precision, maxClips, stream } = options
    this.kernels = backend.name
    const clip = { frames, height: size, width: size }
    const padding = (channels: number) => backend.paddedChannels(channels)
    this.#program = makeProgram(network, startIndex, endIndex, clip, precision, padding)
    const { values, input, output, linear } = this.#program
    this.input = values.get(input)!
    this.output = linear ? { classes: linear.classes } : values.get(output)!
    this.outputBytes = linear ? 4 * linear.classes : clipBytes(values.get(output)!)
    this.#counts = options.counts ?? clipCounts(maxClips)
    try {
      this.#kernels = this.#owner.own(new NetworkKernels(), kernels => kernels.close())
      const lives = lifetimes(this.#program, maxClips, backend.joined(this.#program))
      const outer = [input, output, POOLED]
      this.#arena = planArena(backend.keepsValues ? lives.filter(({ name }) => outer.includes(name)) : lives)
      this.#memory = this.#reserve(this.#arena.bytes, `activations of ${maxClips} clips`, this.#owner)
      // NaN in either type: if something were read that nothing wrote, it would show.
      fillBytes(this.#memory, 0xff, this.#arena.bytes, stream)
      this.#fillInput()
      // Memory that it reserves is freed after it.
      const reserved = this.#owner.own(new Owner(), owner => owner.close())
      this.#owner.own(backend, made => made.close())
      const launches = backend.prepare({
        program: this.#program,
        precision,
        stream,
        counts: this.#counts,
        tries: options.tries ?? Number.POSITIVE_INFINITY,
        at: value => this.#at(value),
        reserve: (bytes, what, owner = reserved) => this.#reserve(bytes, what, owner),
      })
      for (const count of this.#counts) this.#capture(count, launches.get(count)!)
      synchronizeStream(stream)
    } catch (error) {
      this.#owner.close()
      throw error
    }
  }

  #reserve(bytes: number, what: string, owner: Owner): DevicePointer {
    const { startIndex, endIndex } = this.options
    const memory = allocate(bytes, {
      what: `the network's ${what} (layers ${startIndex} to ${endIndex})`,
      lower: 'the batch size (-b), the clips of a video, or the number of network replicas on this GPU',
    })
    return owner.own(memory, free)
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
      upload(offset(this.#at(this.#program.input), clip * bytes), data, bytes, options.stream)
  }

  #capture(clips: number, { inner, last }: Launches): void {
    const captured = captureGraph(this.options.stream, () => {
      for (const launch of inner) launch.run()
    })
    const graph = this.#owner.own(captured, destroyGraph)
    this.#ready.set(clips, { graph, inner, last })
    const report = ({ name, how, us }: Omit<Launch, 'run'>) => ({ name, how, us })
    this.graphs.push({ clips, nodes: graph.nodes, launches: [...inner, last].map(report) })
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
    const { graph, last } = this.#ready.get(this.padded(clips))!
    launchGraph(graph, this.options.stream)
    last.run(output)
  }

  each(clips: number, visit: (launch: Omit<Launch, 'run'>, run: () => void) => void): void {
    const { inner, last } = this.#ready.get(clips)!
    const owner = new Owner()
    try {
      const output = this.#reserve(this.outputBytes * clips, 'output to measure with', owner)
      for (const launch of inner) visit(launch, () => launch.run())
      visit(last, () => last.run(output))
    } finally {
      owner.close()
    }
  }

  profile(clips: number): Required<Omit<Launch, 'run'>>[] {
    const owner = new Owner()
    try {
      const timer = owner.own(new StreamTimer(this.options.stream), made => made.close())
      const times: Required<Omit<Launch, 'run'>>[] = []
      this.each(clips, ({ name, how }, run) => {
        times.push({ name, how, us: 1000 * timer.time(run, Number.POSITIVE_INFINITY) })
      })
      return times
    } finally {
      owner.close()
    }
  }

  parts(): GraphParts[] {
    const { network, stream } = this.options
    const layers = new Map(
      network.layers.flatMap(({ index, convolutions }) => convolutions.map(({ name }) => [name, index])),
    )
    // What is no convolution's follows one: a pick is of the layer of the convolution that it is for.
    const layerOf = (name: string) =>
      layers.get(name.split(' + ')[0]!.replace(/\.picked$/, '')) ?? this.options.endIndex
    return [...this.#ready].map(([clips, { inner, last, graph }]) => {
      const work = workByName(this.#program, clips)
      const facts = ({ name, how }: Omit<Launch, 'run'>) => ({
        name,
        how,
        layer: layerOf(name),
        ...work(name),
      })
      return {
        exec: graph.exec,
        clips,
        launches: inner.map(launch => ({
          ...facts(launch),
          nodes: countNodes(stream, () => launch.run()),
        })),
        last: facts(last),
      }
    })
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
 * An executor whose convolutions a backend computes; it closes the backend, too.
 * @throws {UsageError} for layers that the network does not have, or clips too small for them
 * @throws {NativeError} such as of memory that is short, and whatever the backend throws
 */
export const makeExecutor = (plan: ExecutorPlan, backend: ConvolutionBackend): CudaExecutor =>
  new Executor(plan, backend)
