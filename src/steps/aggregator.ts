import * as v from 'valibot'
import { UsageError } from '../errors.ts'
import type { Item, Share } from '../queue/item.ts'
import type { Emit, StepContext, StepInstance, StepKind } from './step.ts'

const aggregatorOptions = v.strictObject({
  /** The most parts of one video. */
  aggregate: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1, 'aggregate must be at least 1')), 1),
})

/** What has come of a request so far. */
interface Partial {
  sum: Float64Array
  rows: number
  /** How much of it that is: 1 for all that one of the steps gives that this one reads from. */
  share: number
}

/** Of sums of shares; far below the smallest share that there can be. */
const ROUNDING = 1e-9
/** Requests of which parts are there, before it looks for those that have failed. */
const MANY = 64

class Aggregator implements StepInstance {
  readonly #partial = new Map<number, Partial>()
  /** At so many it looks again. */
  #sweepAt = MANY

  constructor(readonly context: StepContext) {}

  run(items: readonly Item[], emit: Emit): void {
    for (const item of items) {
      const logits = this.context.view(item, 0)
      const classes = item.tensors[0]!.shape[1]!
      let row = 0
      for (const share of item.shares) {
        this.#add(share, logits.subarray(row * classes, (row + share.clips) * classes), classes, emit)
        row += share.clips
      }
    }
  }

  #add({ request, parts, clips }: Share, rows: Float32Array, classes: number, emit: Emit): void {
    const seen = this.#partial.get(request) ?? { sum: new Float64Array(classes), rows: 0, share: 0 }
    for (let i = 0; i < rows.length; i++) seen.sum[i % classes]! += rows[i]!
    seen.rows += clips
    seen.share += 1 / parts
    if (seen.share < this.context.sources - ROUNDING) {
      this.#partial.set(request, seen)
      if (this.#partial.size >= this.#sweepAt) this.#sweep()
      return
    }
    this.#partial.delete(request)
    const out: Item = {
      shares: [{ request, part: 0, parts: 1, clips: 1 }],
      ...this.context.allocate(1),
      values: [],
    }
    this.context.view(out, 0).set(seen.sum.map(value => value / seen.rows))
    emit(out)
  }

  /** Forgets requests that have failed: their other parts never come. */
  #sweep(): void {
    for (const request of this.#partial.keys())
      if (!this.context.awaits(request)) this.#partial.delete(request)
    this.#sweepAt = Math.max(MANY, 2 * this.#partial.size)
  }
}

/**
 * Waits for all parts of a video, from all steps that it reads from, and gives the mean of all clips' logits, as one row.
 */
export const aggregator: StepKind = {
  joins: true,
  names: ['aggregator', 'models.r2p1d.model.R2P1DAggregator', 'R2P1DAggregator'],
  options: aggregatorOptions,
  shape(_options, inputs) {
    const [logits, ...others] = inputs
    if (logits?.shape.length !== 2 || others.length > 0)
      throw new UsageError('an aggregator takes logits; the step before must end with layer 5 of a network')
    return { outputs: [{ shape: [1, logits.shape[1]!], type: logits.type }] }
  },
  create: context => new Aggregator(context),
}
