import { captureGraph, destroyGraph, launchGraph } from '../../../ffi/cuda/graph.ts'
import { Owner } from '../../../ffi/cuda/owner.ts'
import {
  createEvent,
  destroyEvent,
  elapsedMs,
  recordEvent,
  synchronizeEvent,
} from '../../../ffi/cuda/stream.ts'
import type { CUevent, CUstream, DevicePointer } from '../../../ffi/cuda/types.ts'
import type { CudnnHandle } from '../../../ffi/cudnn/descriptor.ts'
import {
  BoundMemory,
  ConvolutionGraph,
  type ConvolutionMemory,
  ConvolutionPlan,
  type Engine,
  type FusedConvolution,
  usesTensorCores,
} from '../../../ffi/cudnn/graph.ts'
import { NativeError } from '../../../ffi/error.ts'

/** A convolution, ready to run in the way that was the fastest of those tried. */
export interface TunedConvolution {
  readonly problem: FusedConvolution
  readonly plan: ConvolutionPlan
  /** Milliseconds of one run, measured. */
  readonly ms: number
  /** Ways that were measured. */
  readonly tried: number
}

export interface TunerOptions {
  readonly handle: CudnnHandle
  readonly stream: CUstream
  readonly workspace: DevicePointer
  readonly workspaceBytes: number
  /** Whether float32 may be multiplied in TF32. */
  readonly tensorCores: boolean
  /** The most ways to measure for a kind of convolution, of those that cuDNN thinks fast. */
  readonly tries: number
}

/** Runs shorter than this are measured in a graph: the time to launch them would hide theirs. */
const SHORT_MS = 0.2
/** A way that takes so many times the best at its first try is not measured further. */
const HOPELESS = 1.5

/** Measures what runs on a stream. */
class StreamTimer {
  readonly #owner = new Owner()
  readonly #start: CUevent
  readonly #end: CUevent

  constructor(readonly stream: CUstream) {
    this.#start = this.#owner.own(createEvent('time'), destroyEvent)
    this.#end = this.#owner.own(createEvent('time'), destroyEvent)
  }

  #once(work: () => void): number {
    recordEvent(this.#start, this.stream)
    work()
    recordEvent(this.#end, this.stream)
    synchronizeEvent(this.#end)
    return elapsedMs(this.#start, this.#end)
  }

  /** Milliseconds of `work`: of about its first run if that is above `limitMs`, else of several. */
  time(work: () => void, limitMs: number): number {
    // The first run also loads the kernels.
    this.#once(work)
    const first = this.#once(work)
    if (first > Math.max(limitMs, SHORT_MS)) return first
    if (first > SHORT_MS) {
      const times = [first, this.#once(work), this.#once(work)]
      return Math.min(...times)
    }
    const runs = Math.min(20, Math.max(4, Math.round(0.2 / first)))
    const graph = captureGraph(this.stream, () => {
      for (let i = 0; i < runs; i++) work()
    })
    try {
      launchGraph(graph, this.stream)
      return Math.min(...[0, 1].map(() => this.#once(() => launchGraph(graph, this.stream)))) / runs
    } finally {
      destroyGraph(graph)
    }
  }

  close(): void {
    this.#owner.close()
  }
}

/** Chooses among cuDNN's ways to compute convolutions by measuring them, each kind of problem once. */
export class Tuner {
  readonly #owner = new Owner()
  readonly #timer: StreamTimer
  readonly #known = new Map<string, TunedConvolution>()

  constructor(readonly options: TunerOptions) {
    this.#timer = this.#owner.own(new StreamTimer(options.stream), timer => timer.close())
  }

  /**
   * The fastest way. Writes the output, many times over.
   * @throws {NativeError} if there is no way at all
   */
  choose(name: string, problem: FusedConvolution, memory: ConvolutionMemory): TunedConvolution {
    const key = JSON.stringify(problem)
    const known = this.#known.get(key)
    if (known) return known
    const tuned = this.#measure(name, problem, memory)
    this.#known.set(key, tuned)
    return tuned
  }

  /** All ways that were chosen. */
  get chosen(): readonly TunedConvolution[] {
    return [...this.#known.values()]
  }

  #measure(name: string, problem: FusedConvolution, memory: ConvolutionMemory): TunedConvolution {
    const { handle, workspace, workspaceBytes, tensorCores, tries } = this.options
    const graph = this.#owner.own(new ConvolutionGraph(problem, { handle }), made => made.close())
    const bound = new BoundMemory(memory, workspace)
    let best: { plan: ConvolutionPlan; ms: number } | undefined
    let tried = 0
    let failure: unknown
    try {
      const suits = (engine: Engine) => tensorCores || !usesTensorCores(engine)
      const proposed = graph.engines('A').filter(suits)
      // What just works is slow, or slow to make: only where nothing else does.
      const engines = proposed.length > 0 ? proposed : graph.engines('FALLBACK').filter(suits)
      for (const engine of engines) {
        if (tried >= tries) break
        let plan: ConvolutionPlan | undefined
        try {
          plan = new ConvolutionPlan(graph, engine)
          if (plan.workspaceBytes > workspaceBytes)
            throw new RangeError('it takes more workspace than there is')
          const run = () => plan!.execute(bound)
          const ms = this.#timer.time(run, best ? best.ms * HOPELESS : Number.POSITIVE_INFINITY)
          tried++
          if (best && ms >= best.ms) plan.close()
          else {
            best?.plan.close()
            best = { plan, ms }
          }
        } catch (error) {
          plan?.close()
          // What an engine cannot do, another may; but a device that has failed stays so.
          if (!(error instanceof RangeError || (error instanceof NativeError && error.library === 'cuDNN')))
            throw error
          failure = error
        }
      }
    } finally {
      bound.close()
    }
    if (!best) throw failure ?? new Error(`cuDNN has no way to compute ${name}`)
    return { problem, ms: best.ms, tried, plan: this.#owner.own(best.plan, plan => plan.close()) }
  }

  close(): void {
    this.#owner.close()
  }
}
