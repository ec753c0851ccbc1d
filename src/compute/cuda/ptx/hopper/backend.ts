import { fillBytes, upload } from '../../../../../ffi/cuda/memory.ts'
import { Owner } from '../../../../../ffi/cuda/owner.ts'
import { type DevicePointer, offset } from '../../../../../ffi/cuda/types.ts'
import { NativeError } from '../../../../../ffi/error.ts'
import { packStemWeights, packWeights } from '../../../../../kernels/hopper/weights.ts'
import { planArena } from '../../arena.ts'
import type { BackendContext, ConvolutionBackend, LastLaunch, Launch, Launches } from '../../backend.ts'
import { CommonLaunches } from '../../common-launches.ts'
import { paddedChannels } from '../../layout.ts'
import { type ConvolutionOperation, lifetimes, type PickOperation, type Program } from '../../program.ts'
import { packLinear } from '../../weights.ts'
import { KernelUnfit } from '../self-test.ts'
import { chooseHopper, type HopperChoice, type HopperProblem, hopperName } from './choose.ts'
import { HopperKernels } from './kernels.ts'
import { hopperChannels, type Lying, lyingOf, pitchOf } from './places.ts'
import { type Held, paddingIsZero, sampledError } from './self-test.ts'

/** What a right kernel stays under: rounding to float16, twice where something is added. */
const TOLERANCE = 2e-3

/** The shapes, or the device, are not ones for these kernels; others can do it. */
export class HopperUnsuited extends Error {
  override readonly name = 'HopperUnsuited'
}

/** A convolution, with the pick before it if there is one. */
interface Step {
  readonly operation: ConvolutionOperation
  readonly input: string
  readonly problem: HopperProblem
}

/** Pairs of operations, a pick and the convolution that takes what it makes: `[index of the pick, of the convolution]`. */
const picks = ({ operations }: Program): [number, number][] =>
  operations.flatMap((operation, i) => (operation.kind === 'pick' ? [[i, i + 1] as [number, number]] : []))

/** A program's values as they lie between kernels. */
export function lyings({ values, input, output }: Program): Map<string, Lying> {
  return new Map(
    [...values].map(([name, layout]) => [name, lyingOf(layout, name === input || name === output ? 0 : 1)]),
  )
}

export function stepsOf(program: Program, lying: ReadonlyMap<string, Lying>): Step[] {
  let pick: PickOperation | undefined
  return program.operations.flatMap(operation => {
    if (operation.kind === 'pick') {
      pick = operation
      return []
    }
    const { convolution, residual } = operation
    const before = pick?.output === operation.input ? pick : undefined
    const input = before?.input ?? operation.input
    const problem: HopperProblem = {
      convolution,
      stride: before?.step ?? convolution.stride,
      from: lying.get(input)!,
      to: lying.get(operation.output)!,
      residual: residual === undefined ? undefined : lying.get(residual)!,
    }
    return [{ operation, input, problem }]
  })
}

/** A network on a device, by the kernels of kernels/hopper. */
class HopperNetwork {
  readonly #common: CommonLaunches
  readonly #kernels: HopperKernels
  readonly #lyings: ReadonlyMap<string, Lying>
  readonly #steps: readonly Step[]
  /** Where values between the input and the output lie. */
  readonly #offsets: ReadonlyMap<string, number>
  readonly #memory: DevicePointer
  /** Packed weights and biases, by convolution and how they are packed. */
  readonly #weights = new Map<string, DevicePointer>()
  readonly #tested = new Set<string>()

  constructor(
    readonly on: BackendContext,
    multiprocessors: number,
    owner: Owner,
  ) {
    const { program, stream } = on
    this.#common = owner.own(new CommonLaunches(on), common => common.close())
    this.#kernels = owner.own(new HopperKernels(stream, multiprocessors), kernels => kernels.close())
    this.#lyings = lyings(program)
    this.#steps = stepsOf(program, this.#lyings)
    const inner = [...program.values].filter(([name]) => name !== program.input && name !== program.output)
    const padded = inner.map(
      ([name, layout]) => [name, { ...layout, ...pitchOf(this.#lyings.get(name)!) }] as const,
    )
    const values = new Map(padded)
    const joined = picks(program)
    const clips = on.counts.at(-1)!
    const arena = planArena(lifetimes({ ...program, values, linear: undefined }, clips, joined))
    const bytes = Math.max(256, arena.bytes)
    this.#offsets = arena.offsets
    this.#memory = on.reserve(bytes, `activations of ${clips} clips`)
    fillBytes(this.#memory, 0xff, bytes, stream)
  }

  #at(value: string): DevicePointer {
    const at = this.#offsets.get(value)
    return at === undefined ? this.on.at(value) : offset(this.#memory, at)
  }

  #held(value: string): Held {
    return { lying: this.#lyings.get(value)!, at: this.#at(value) }
  }

  #put(data: Float16Array | Float32Array, what: string): DevicePointer {
    const memory = this.on.reserve(data.byteLength, what)
    // Memory that is not page-locked has been read once a copy from it returns.
    upload(memory, data, data.byteLength, this.on.stream)
    return memory
  }

  /** Packs what a choice needs, once for all that need the same. */
  #weightsOf({ operation: { convolution } }: Step, { plan, taps }: HopperChoice): DevicePointer {
    const key = `${convolution.name} ${plan.kernel.columns}`
    let weights = this.#weights.get(key)
    if (weights === undefined) {
      const [kt, kh, kw] = convolution.kernel
      const filter = { ...convolution, taps: kt * kh * kw }
      const stem = plan.kernel.load.mode === 'stem'
      weights = this.#put(stem ? packStemWeights(plan, filter) : packWeights(plan, filter, taps), 'weights')
      this.#weights.set(key, weights)
    }
    return weights
  }

  #biasOf({ operation: { convolution }, problem }: Step): DevicePointer {
    const key = `${convolution.name} bias`
    let bias = this.#weights.get(key)
    if (bias === undefined) {
      const padded = new Float32Array(new ArrayBuffer(4 * problem.to.padded))
      padded.set(convolution.bias)
      bias = this.#put(padded, 'biases')
      this.#weights.set(key, bias)
    }
    return bias
  }

  #choose(step: Step, clips: number): HopperChoice {
    const choice = chooseHopper(step.problem, clips, plan => this.#kernels.has(plan))
    if (!choice) throw new HopperUnsuited(`${step.operation.convolution.name} has no kernel of this shape`)
    return choice
  }

  #launch(step: Step, clips: number): LastLaunch {
    const { operation, problem, input } = step
    const choice = this.#choose(step, clips)
    const residual = operation.residual === undefined ? {} : { residual: this.#at(operation.residual) }
    const memory = {
      input: this.#at(input),
      weights: this.#weightsOf(step, choice),
      bias: this.#biasOf(step),
      ...residual,
    }
    let run: (output: DevicePointer) => void
    try {
      run = this.#kernels.bind(choice, problem, clips, memory)
    } catch (error) {
      if (!(error instanceof NativeError)) throw error
      throw new KernelUnfit(
        `the driver does not take a kernel for ${operation.convolution.name}: ${error.message}`,
      )
    }
    return { name: operation.convolution.name, how: hopperName(choice), run }
  }

  /** Runs what has not been tested yet, in order, and compares some of the outputs with their definition. */
  #test(clips: number, launches: readonly LastLaunch[]): void {
    for (const [i, step] of this.#steps.entries()) {
      const { operation, problem, input } = step
      const { name, how, run } = launches[i]!
      run(this.#at(operation.output))
      const key = JSON.stringify([
        how,
        problem.from,
        problem.to,
        problem.stride,
        problem.residual,
        operation.convolution.relu,
      ])
      if (this.#tested.has(key)) continue
      const values = {
        input: this.#held(input),
        output: this.#held(operation.output),
        residual: operation.residual === undefined ? undefined : this.#held(operation.residual),
      }
      const unfit = (what: string) =>
        new KernelUnfit(`kernel ${how} is wrong for ${name} on this GPU: ${what}`)
      const error = sampledError(problem, operation.convolution, clips, values, this.on.stream)
      if (!(error < TOLERANCE)) throw unfit(`its relative error is ${error.toPrecision(2)}`)
      // What the stem leaves there only factors along time read, which keep places apart.
      if (
        problem.to.pad === 1 &&
        !how.includes(' stem') &&
        !paddingIsZero(values.output, clips, this.on.stream)
      )
        throw unfit('it leaves padding that is not zero')
      this.#tested.add(key)
    }
  }

  /** All launches for so many clips, tested. */
  prepare(clips: number): Launches {
    const { linear } = this.on.program
    const launches = this.#steps.map(step => this.#launch(step, clips))
    this.#test(clips, launches)
    const inner = launches.map(
      (launch, i): Launch => ({
        ...launch,
        run: () => launch.run(this.#at(this.#steps[i]!.operation.output)),
      }),
    )
    if (!linear) return { inner: inner.slice(0, -1), last: launches.at(-1)! }
    const weights = this.#linear(linear)
    return { inner: [...inner, this.#common.pool(clips)], last: this.#common.linear(weights, clips) }
  }

  #linear(linear: NonNullable<Program['linear']>): { weight: DevicePointer; bias: DevicePointer } {
    const one = (key: string, data: () => Float32Array): DevicePointer => {
      const made = this.#weights.get(key) ?? this.#put(data(), 'weights')
      this.#weights.set(key, made)
      return made
    }
    return {
      weight: one('linear', () => packLinear(linear) as Float32Array),
      bias: one('linear bias', () => Float32Array.from(linear.bias)),
    }
  }
}

/** Convolutions by the kernels for compute capability 9.0: float16, operands by TMA, products by wgmma. */
export class HopperBackend implements ConvolutionBackend {
  readonly name = 'ptx'
  readonly keepsValues = true
  readonly #owner = new Owner()

  /** @param multiprocessors - of the device: so many blocks run at once */
  constructor(readonly multiprocessors: number) {}

  paddedChannels(channels: number): number {
    return Math.max(hopperChannels(channels), paddedChannels(channels))
  }

  joined(program: Program): [number, number][] {
    return picks(program)
  }

  /**
   * @throws {HopperUnsuited} if a shape is not one for these kernels
   * @throws {KernelUnfit} if a kernel is not taken by the driver, or wrong
   */
  prepare(on: BackendContext): ReadonlyMap<number, Launches> {
    const network = new HopperNetwork(on, this.multiprocessors, this.#owner)
    return new Map(on.counts.map(count => [count, network.prepare(count)]))
  }

  close(): void {
    this.#owner.close()
  }
}
