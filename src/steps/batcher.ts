import * as v from 'valibot'
import { UsageError } from '../errors.ts'
import type { Item } from '../queue/item.ts'
import type { Emit, StepContext, StepInstance, StepKind } from './step.ts'

const batcherOptions = v.strictObject({
  /** Items that are joined to one. */
  batch: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1, 'batch must be at least 1')), 1),
  /** How long the first item of a partial batch waits, in milliseconds; the run's setting by default. */
  max_batch_delay_ms: v.optional(v.pipe(v.number(), v.minValue(0, 'a delay must be at least 0'))),
})
type BatcherOptions = v.InferOutput<typeof batcherOptions>

class Batcher implements StepInstance {
  constructor(readonly context: StepContext) {}

  run(items: readonly Item[], emit: Emit): void {
    const shares = items.flatMap(item => item.shares)
    const rows = shares.reduce((sum, share) => sum + share.clips, 0)
    const out: Item = { shares, ...this.context.allocate(rows), values: items.flatMap(item => item.values) }
    for (let tensor = 0; tensor < out.tensors.length; tensor++) {
      const target = this.context.view(out, tensor)
      let at = 0
      for (const item of items) {
        const part = this.context.view(item, tensor)
        target.set(part, at)
        at += part.length
      }
    }
    emit(out)
  }
}

/** Joins several videos' tensors to one item, whose result goes back to each of them. */
export const batcher: StepKind = {
  names: ['batcher', 'batcher.Batcher', 'Batcher'],
  options: batcherOptions,
  shape(options, inputs) {
    const { batch } = options as BatcherOptions
    if (inputs.length === 0) throw new UsageError('a batcher joins tensors, and none arrive')
    return {
      outputs: inputs.map(({ shape: [rows, ...rest], type }) => ({ shape: [rows! * batch, ...rest], type })),
      batch,
    }
  },
  create: context => new Batcher(context),
}
