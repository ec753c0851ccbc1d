import * as v from 'valibot'
import { UsageError } from '../../errors.ts'
import type { Item } from '../../queue/item.ts'
import type { Emit, StepContext, StepInstance, StepKind } from '../step.ts'
import { Service, type ServiceOptions, serviceEntries } from './service.ts'

const options = v.strictObject({
  /** Classes of the logits that it gives; without, it passes on what it takes. */
  num_classes: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1, 'num_classes must be at least 1'))),
  ...serviceEntries,
})
type Options = v.InferOutput<typeof options>

class SyntheticNetwork implements StepInstance {
  readonly #classes: number | undefined
  readonly #service: Service

  constructor(readonly context: StepContext) {
    const own = context.options as Options
    this.#classes = own.num_classes
    this.#service = new Service(own as ServiceOptions, context.settings.seed, context.step)
  }

  run(items: readonly Item[], emit: Emit): void {
    const shares = items.flatMap(item => item.shares)
    const rows = shares.reduce((sum, share) => sum + share.clips, 0)
    const out: Item = { shares, ...this.context.allocate(rows), values: items.flatMap(item => item.values) }
    const target = this.context.view(out, 0)
    let at = 0
    for (const item of items) {
      const source = this.context.view(item, 0)
      const made = this.#classes === undefined ? source : this.#logits(source, item)
      target.set(made, at)
      at += made.length
    }
    this.#service.take(shares[0]!.request, rows)
    emit(out)
  }

  /** For each row, 1 for the class that its first number comes to, and 0 for all others. */
  #logits(rows: Float32Array, item: Item): Float32Array {
    const width = item.tensors[0]!.shape[1]!
    const classes = this.#classes!
    const logits = new Float32Array((rows.length / width) * classes)
    for (let row = 0; row * width < rows.length; row++)
      logits[row * classes + (rows[row * width]! % classes)] = 1
    return logits
  }
}

/** Takes its time; gives rows as they came, or logits of which the class is the request's number modulo `num_classes`. */
export const syntheticNetwork: StepKind = {
  names: ['synthetic-network'],
  options,
  shape(given, inputs, settings) {
    const [input, ...others] = inputs
    if (input?.shape.length !== 2 || others.length > 0 || input.memory === 'device')
      throw new UsageError('a synthetic network takes what a synthetic loader makes')
    const { num_classes = input.shape[1]! } = given as Options
    return {
      outputs: [{ shape: [input.shape[0]! * settings.batch, num_classes], type: 'f32' }],
      batch: settings.batch,
    }
  },
  create: context => new SyntheticNetwork(context),
}
