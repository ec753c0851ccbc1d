import { Owner } from '../../../../ffi/cuda/owner.ts'
import type { DevicePointer } from '../../../../ffi/cuda/types.ts'
import {
  BoundMemory,
  type ConvolutionMemory,
  createCudnn,
  destroyCudnn,
} from '../../../../ffi/cudnn/graph.ts'
import type { BackendContext, ConvolutionBackend, LastLaunch, Launch, Launches } from '../backend.ts'
import { CommonLaunches } from '../common-launches.ts'
import { elementType, paddedChannels } from '../layout.ts'
import type { ConvolutionOperation } from '../program.ts'
import { type DeviceWeights, uploadWeights } from '../weights.ts'
import { type TunedConvolution, Tuner } from './tune.ts'

/**
 * Bytes of memory that an engine may take to work in. In float16 the fast ones need next to none; in float32 many turn
 * the whole tensor first.
 */
const WORKSPACE_BYTES = { f16: 64 * 2 ** 20, f32: 512 * 2 ** 20 }

/** How to run each convolution, by name. */
type Chosen = ReadonlyMap<string, TunedConvolution>

/** A network on a device, with cuDNN open. */
class CudnnNetwork {
  readonly #common: CommonLaunches
  readonly #weights: DeviceWeights
  /** The last convolution's memory, by its output. */
  readonly #outputs = new Map<DevicePointer, BoundMemory>()

  constructor(
    readonly on: BackendContext,
    readonly owner: Owner,
  ) {
    this.#common = owner.own(new CommonLaunches(on), common => common.close())
    this.#weights = uploadWeights(on.program, on.stream, bytes => on.reserve(bytes, 'weights'))
  }

  prepare(): Map<number, Launches> {
    const { on } = this
    const handle = this.owner.own(createCudnn(on.stream), destroyCudnn)
    const workspaceBytes = WORKSPACE_BYTES[elementType(on.precision)]
    const scratch = new Owner()
    try {
      const tuner = this.#own(
        new Tuner({
          handle,
          stream: on.stream,
          workspace: on.reserve(workspaceBytes, 'workspace to choose in', scratch),
          workspaceBytes,
          tensorCores: on.precision !== 'fp32',
          tries: on.tries,
        }),
      )
      const chosen = on.counts.map(count => this.#choose(tuner, count))
      const workspace = on.reserve(Math.max(256, tuner.workspaceBytes), 'workspace')
      return new Map(on.counts.map((count, i) => [count, this.#launches(count, chosen[i]!, workspace)]))
    } finally {
      scratch.close()
    }
  }

  #own<T extends { close(): void }>(made: T): T {
    return this.owner.own(made, m => m.close())
  }

  #memoryOf({ convolution, input, output, residual }: ConvolutionOperation): ConvolutionMemory {
    const { filter, bias } = this.#weights.convolutions.get(convolution.name)!
    const z = residual === undefined ? {} : { residual: this.on.at(residual) }
    return { input: this.on.at(input), filter, bias, output: this.on.at(output), ...z }
  }

  /** Chooses how to run every convolution for so many clips, each on what those before it make. */
  #choose(tuner: Tuner, clips: number): Chosen {
    const chosen = new Map<string, TunedConvolution>()
    for (const operation of this.on.program.operations) {
      if (operation.kind === 'pick') this.#common.pick(operation, clips).run()
      else {
        const { name } = operation.convolution
        chosen.set(name, tuner.choose(name, operation.problem(clips), this.#memoryOf(operation)))
      }
    }
    return chosen
  }

  #launches(clips: number, chosen: Chosen, workspace: DevicePointer): Launches {
    const { operations, linear } = this.on.program
    // The last of a range of layers is a convolution, whatever the range.
    const last = operations.at(-1) as ConvolutionOperation
    const inner = (linear ? operations : operations.slice(0, -1)).map((operation): Launch => {
      if (operation.kind === 'pick') return this.#common.pick(operation, clips)
      const { plan, ...report } = this.#report(operation, chosen)
      const bound = this.#own(new BoundMemory(this.#memoryOf(operation), workspace))
      return { ...report, run: () => plan.execute(bound) }
    })
    if (linear)
      return {
        inner: [...inner, this.#common.pool(clips)],
        last: this.#common.linear(this.#weights.linear!, clips),
      }
    return { inner, last: this.#last(last, chosen, workspace) }
  }

  #report({ convolution: { name } }: ConvolutionOperation, chosen: Chosen) {
    const { plan, ms } = chosen.get(name)!
    return { plan, name, how: `engine ${plan.engine.index}`, us: 1000 * ms }
  }

  #last(operation: ConvolutionOperation, chosen: Chosen, workspace: DevicePointer): LastLaunch {
    const { plan, ...report } = this.#report(operation, chosen)
    return {
      ...report,
      run: output => {
        // One for each slot that an output goes to.
        let bound = this.#outputs.get(output)
        if (!bound) {
          bound = this.#own(new BoundMemory({ ...this.#memoryOf(operation), output }, workspace))
          this.#outputs.set(output, bound)
        }
        plan.execute(bound)
      },
    }
  }
}

/** Convolutions by cuDNN, each by the engine that measured fastest. */
export class CudnnBackend implements ConvolutionBackend {
  readonly name = 'cudnn'
  readonly #owner = new Owner()

  paddedChannels(channels: number): number {
    return paddedChannels(channels)
  }

  /** One engine does one convolution. */
  joined(): [] {
    return []
  }

  /** @throws {LibraryError} without cuDNN */
  prepare(on: BackendContext): ReadonlyMap<number, Launches> {
    return new CudnnNetwork(on, this.#owner).prepare()
  }

  close(): void {
    this.#owner.close()
  }
}
