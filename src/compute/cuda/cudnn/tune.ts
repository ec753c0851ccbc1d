import { Owner } from '../../../../ffi/cuda/owner.ts'
import type { CUstream, DevicePointer } from '../../../../ffi/cuda/types.ts'
import type { CudnnHandle } from '../../../../ffi/cudnn/descriptor.ts'
import {
  BoundMemory,
  ConvolutionGraph,
  type ConvolutionMemory,
  ConvolutionPlan,
  type Engine,
  type FusedConvolution,
  usesTensorCores,
} from '../../../../ffi/cudnn/graph.ts'
import { NativeError } from '../../../../ffi/error.ts'
import { StreamTimer } from '../stream-timer.ts'

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

/** A way that takes so many times the best at its first try is not measured further. */
const HOPELESS = 1.5

/** What cuDNN refuses is undefined: another engine may do it. A device that has failed stays so, and is an error. */
function possible<T>(attempt: () => T): T | undefined {
  try {
    return attempt()
  } catch (error) {
    if (error instanceof NativeError && error.library === 'cuDNN') return undefined
    throw error
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
   * @throws {NativeError} if the device fails, and an Error if cuDNN has no way at all
   */
  choose(name: string, problem: FusedConvolution, memory: ConvolutionMemory): TunedConvolution {
    const key = JSON.stringify(problem)
    const known = this.#known.get(key)
    if (known) return known
    const tuned = this.#measure(name, problem, memory)
    this.#known.set(key, tuned)
    return tuned
  }

  /** Bytes that the ways chosen need to work in. */
  get workspaceBytes(): number {
    return Math.max(0, ...[...this.#known.values()].map(({ plan }) => plan.workspaceBytes))
  }

  #measure(name: string, problem: FusedConvolution, memory: ConvolutionMemory): TunedConvolution {
    const { handle, workspace, tensorCores } = this.options
    const graph = this.#owner.own(new ConvolutionGraph(problem, { handle }), made => made.close())
    const suits = (engine: Engine) => tensorCores || !usesTensorCores(engine)
    const bound = new BoundMemory(memory, workspace)
    try {
      // What just works is slow, or slow to make: only where nothing else does.
      for (const mode of ['A', 'FALLBACK'] as const) {
        const best = this.#fastest(graph, graph.engines(mode).filter(suits), bound)
        if (best) return { problem, ...best, plan: this.#owner.own(best.plan, plan => plan.close()) }
      }
    } finally {
      bound.close()
    }
    throw new Error(`cuDNN has no way to compute ${name} (${JSON.stringify(problem)})`)
  }

  /** The fastest of the engines that can do it in the workspace there is. */
  #fastest(
    graph: ConvolutionGraph,
    engines: readonly Engine[],
    bound: BoundMemory,
  ): { plan: ConvolutionPlan; ms: number; tried: number } | undefined {
    const { workspaceBytes, tries } = this.options
    let best: { plan: ConvolutionPlan; ms: number } | undefined
    let tried = 0
    try {
      for (const engine of engines) {
        if (tried >= tries) break
        const plan = possible(() => new ConvolutionPlan(graph, engine))
        if (!plan) continue
        const ms = plan.workspaceBytes > workspaceBytes ? undefined : this.#time(plan, bound, best?.ms)
        if (ms !== undefined) tried++
        if (ms === undefined || (best && ms >= best.ms)) {
          plan.close()
          continue
        }
        best?.plan.close()
        best = { plan, ms }
      }
    } catch (error) {
      best?.plan.close()
      throw error
    }
    return best && { ...best, tried }
  }

  /**
   * Milliseconds of one run; undefined if cuDNN cannot do it after all. @param bestMs what it has to compete with
   * @throws {NativeError} if the device fails: then the plan is closed
   */
  #time(plan: ConvolutionPlan, bound: BoundMemory, bestMs = Number.POSITIVE_INFINITY): number | undefined {
    try {
      return possible(() => this.#timer.time(() => plan.execute(bound), bestMs * HOPELESS))
    } catch (error) {
      plan.close()
      throw error
    }
  }

  close(): void {
    this.#owner.close()
  }
}
