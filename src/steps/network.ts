import * as v from 'valibot'
import type { NetworkExecutor } from '../compute/executor.ts'
import type { Item } from '../queue/item.ts'
import { elements } from '../queue/tensor.ts'
import { GpuNetwork } from './gpu-network.ts'
import { createExecutor, describeNetwork } from './network-model.ts'
import type { Emit, StepContext, StepInstance, StepKind } from './step.ts'

const cut = (what: string) =>
  v.pipe(
    v.number(),
    v.integer(),
    v.minValue(1, `${what} counts from 1`),
    v.maxValue(5, `${what} is at most 5`),
  )

/** Keys of a step that runs layers of a network. */
export const networkEntries = {
  /** Checkpoint and class names of this step's network, relative to the file, where the run's are not meant. */
  weights: v.optional(v.pipe(v.string(), v.minLength(1))),
  labels: v.optional(v.pipe(v.string(), v.minLength(1))),
  /** First and last layer, of five: the stem and four stages; pool and linear belong to the fifth. */
  start_index: v.optional(cut('start_index'), 1),
  end_index: v.optional(cut('end_index'), 5),
  /** Number of classes and blocks in each stage, where there is no checkpoint to say so. */
  num_classes: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
  layer_sizes: v.optional(v.pipe(v.array(v.pipe(v.number(), v.integer(), v.minValue(1))), v.length(4))),
  /** How exactly a GPU computes: float16 with sums in float32, TF32, or float32. */
  precision: v.optional(v.picklist(['fp16', 'tf32', 'fp32']), 'fp16'),
  /**
   * What computes convolutions on a GPU: by default this program's own kernels in float16 on compute capability 9.0,
   * elsewhere cuDNN where it is installed, else own kernels.
   */
  kernels: v.optional(v.picklist(['cudnn', 'ptx'])),
  /** CPU threads of one instance; the host's cores shared evenly by default. */
  threads: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
}

/** The first layer is not after the last. */
export const ordered = <T extends { start_index: number; end_index: number }>() =>
  v.check<T, string>(o => o.start_index <= o.end_index, 'start_index must not be after end_index')

export const networkOptions = v.pipe(v.strictObject(networkEntries), ordered())
export type NetworkOptions = v.InferOutput<typeof networkOptions>

class Network implements StepInstance {
  readonly #executor: NetworkExecutor
  #gathered = new Float32Array(0)

  constructor(readonly context: StepContext) {
    this.#executor = createExecutor(context)
  }

  warmUp(): void {
    const [input] = this.context.inputs
    const row = elements(input!.shape.slice(1))
    this.#executor.run(new Float32Array(row), 1, new Float32Array(elements(this.#executor.outputShape(1))))
  }

  run(items: readonly Item[], emit: Emit): void {
    const shares = items.flatMap(item => item.shares)
    const clips = shares.reduce((sum, share) => sum + share.clips, 0)
    const out: Item = { shares, ...this.context.allocate(clips), values: items.flatMap(item => item.values) }
    const input = this.#contiguous(items)
    this.context.timed('compute', () => this.#executor.run(input, clips, this.context.view(out, 0)))
    emit(out)
  }

  /** One tensor that holds the rows of all items: theirs if there is one, else a copy. */
  #contiguous(items: readonly Item[]): Float32Array {
    if (items.length === 1) return this.context.view(items[0]!, 0)
    return this.context.timed('copy', () => this.#gather(items))
  }

  #gather(items: readonly Item[]): Float32Array {
    const parts = items.map(item => this.context.view(item, 0))
    const length = parts.reduce((sum, part) => sum + part.length, 0)
    if (this.#gathered.length < length) this.#gathered = new Float32Array(length)
    let offset = 0
    for (const part of parts) {
      this.#gathered.set(part, offset)
      offset += part.length
    }
    return this.#gathered.subarray(0, length)
  }

  close(): void {
    this.#executor.close()
  }
}

/** Clip tensors (or an earlier layer's features) -> features, or logits [clips, classes] after layer 5. */
export const network: StepKind = {
  names: ['network', 'models.r2p1d.model.R2P1DRunner', 'R2P1DRunner'],
  options: networkOptions,
  shape(options, inputs, settings, place) {
    const output = describeNetwork(options as NetworkOptions, inputs, settings, place)
    return { outputs: [output], batch: settings.batch }
  },
  create: context => (context.gpu ? new GpuNetwork(context) : new Network(context)),
}
