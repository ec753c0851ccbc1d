import { Owner } from '../../../../ffi/cuda/owner.ts'
import type { DevicePointer } from '../../../../ffi/cuda/types.ts'
import type { ConvolutionProblem } from '../../../../kernels/convolution/launch.ts'
import type { Arithmetic } from '../../../../kernels/convolution/tile.ts'
import type { BackendContext, ConvolutionBackend, LastLaunch, Launch, Launches } from '../backend.ts'
import { CommonLaunches } from '../common-launches.ts'
import { type Precision, paddedChannels } from '../layout.ts'
import type { ConvolutionOperation } from '../program.ts'
import { type DeviceWeights, uploadWeights } from '../weights.ts'
import { type Choice, choose } from './choose.ts'
import { choiceName, PtxConvolutions, sumsBytes } from './convolutions.ts'
import { testKernels } from './self-test.ts'

const ARITHMETIC: Readonly<Record<Precision, Arithmetic>> = { fp16: 'f16', tf32: 'tf32', fp32: 'f32' }

/** A convolution for a number of clips, and how it is computed. */
interface Chosen {
  readonly operation: ConvolutionOperation
  readonly problem: ConvolutionProblem
  readonly choice: Choice
}

/** A network on a device, by the kernels of kernels/convolution. */
class PtxNetwork {
  readonly #common: CommonLaunches
  readonly #kernels: PtxConvolutions
  readonly #weights: DeviceWeights

  constructor(
    readonly on: BackendContext,
    readonly multiprocessors: number,
    owner: Owner,
  ) {
    this.#common = owner.own(new CommonLaunches(on), common => common.close())
    this.#kernels = owner.own(new PtxConvolutions(on.stream), kernels => kernels.close())
    this.#weights = uploadWeights(on.program, on.stream, bytes => on.reserve(bytes, 'weights'), 'f32')
  }

  prepare(): Map<number, Launches> {
    const { on } = this
    const chosen = new Map(on.counts.map(count => [count, this.#choose(count)]))
    const all = [...chosen.values()].flatMap(of => [...of.values()])
    testKernels(
      this.#kernels,
      all.map(({ choice }) => choice),
    )
    const bytes = Math.max(...all.map(({ problem, choice }) => sumsBytes(problem, choice)))
    const sums = bytes === 0 ? 0 : on.reserve(bytes, 'sums of parts')
    return new Map([...chosen].map(([count, of]) => [count, this.#launches(count, of, sums)]))
  }

  #choose(clips: number): Map<ConvolutionOperation, Chosen> {
    const arithmetic = ARITHMETIC[this.on.precision]
    const convolutions = this.on.program.operations.filter(operation => operation.kind === 'convolution')
    return new Map(
      convolutions.map(operation => {
        const problem = operation.problem(clips)
        return [operation, { operation, problem, choice: choose(problem, arithmetic, this.multiprocessors) }]
      }),
    )
  }

  #launch({ operation, problem, choice }: Chosen, sums: DevicePointer | 0): LastLaunch {
    const { input, residual, convolution } = operation
    const { name } = convolution
    const { filter, bias } = this.#weights.convolutions.get(name)!
    const z = residual === undefined ? {} : { residual: this.on.at(residual) }
    return {
      name,
      how: choiceName(choice),
      run: output =>
        this.#kernels.launch(problem, choice, { input: this.on.at(input), filter, bias, ...z, output }, sums),
    }
  }

  #launches(
    clips: number,
    chosen: ReadonlyMap<ConvolutionOperation, Chosen>,
    sums: DevicePointer | 0,
  ): Launches {
    const { operations, linear } = this.on.program
    const inner = (linear ? operations : operations.slice(0, -1)).map((operation): Launch => {
      if (operation.kind === 'pick') return this.#common.pick(operation, clips)
      const launch = this.#launch(chosen.get(operation)!, sums)
      return { ...launch, run: () => launch.run(this.on.at(operation.output)) }
    })
    if (linear)
      return {
        inner: [...inner, this.#common.pool(clips)],
        last: this.#common.linear(this.#weights.linear!, clips),
      }
    // The last of a range of layers is a convolution, whatever the range.
    return { inner, last: this.#launch(chosen.get(operations.at(-1) as ConvolutionOperation)!, sums) }
  }
}

/** Convolutions by hand-written kernels, one for each: for any GPU from compute capability 8.0, and any shape. */
export class PtxBackend implements ConvolutionBackend {
  readonly name = 'ptx'
  readonly #owner = new Owner()

  /** @param multiprocessors - of the device: how much must be under way at once */
  constructor(readonly multiprocessors: number) {}

  paddedChannels(channels: number): number {
    return paddedChannels(channels)
  }

  joined(): [] {
    return []
  }

  /** @throws {KernelUnfit} if a kernel is not taken by the driver, or wrong */
  prepare(on: BackendContext): ReadonlyMap<number, Launches> {
    return new PtxNetwork(on, this.multiprocessors, this.#owner).prepare()
  }

  close(): void {
    this.#owner.close()
  }
}
