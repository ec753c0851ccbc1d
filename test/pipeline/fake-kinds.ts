import * as v from 'valibot'
import { UsageError } from '../../src/errors.ts'
import type { Registry } from '../../src/pipeline/registry.ts'
import type { StepKind } from '../../src/steps/step.ts'

const count = v.pipe(v.number(), v.integer(), v.minValue(1))

const create = () => {
  throw new Error('these steps are never run')
}

const loader: StepKind = {
  names: ['loader', 'models.r2p1d.model.R2P1DLoader'],
  options: v.strictObject({ clips: v.optional(count, 15), size: v.optional(count, 4) }),
  shape(options) {
    const { clips, size } = options as { clips: number; size: number }
    return { outputs: [{ shape: [clips, 3, size, size], type: 'f32' }] }
  },
  create,
}

const network: StepKind = {
  names: ['network', 'models.r2p1d.model.R2P1DRunner'],
  options: v.pipe(
    v.strictObject({
      start_index: v.optional(v.pipe(count, v.maxValue(5)), 1),
      end_index: v.optional(count, 5),
      layer_sizes: v.optional(v.array(count)),
      num_classes: v.optional(count, 400),
    }),
    v.check(o => o.start_index <= o.end_index, 'start_index must not be after end_index'),
  ),
  shape(options, inputs, settings) {
    const { num_classes } = options as { num_classes: number }
    if (inputs.length !== 1) throw new UsageError(`it takes one tensor, and ${inputs.length} arrive`)
    return {
      outputs: [{ shape: [inputs[0]!.shape[0]! * settings.batch, num_classes], type: 'f32' }],
      batch: settings.batch,
    }
  },
  create,
}

const single: StepKind = {
  names: ['single', 'models.r2p1d.model.R2P1DSingleStep'],
  options: v.strictObject({}),
  shape: () => ({ outputs: [{ shape: [15, 400], type: 'f32' }] }),
  create,
}

const batcher: StepKind = {
  names: ['batcher', 'batcher.Batcher'],
  options: v.strictObject({ batch: v.optional(count, 1) }),
  shape(options, inputs) {
    const { batch } = options as { batch: number }
    const outputs = inputs.map(({ shape, type }) => ({ shape: [shape[0]! * batch, ...shape.slice(1)], type }))
    return { outputs, batch }
  },
  create,
}

const aggregator: StepKind = {
  names: ['aggregator', 'models.r2p1d.model.R2P1DAggregator'],
  joins: true,
  options: v.strictObject({ aggregate: v.optional(count, 1) }),
  shape: () => ({ outputs: [] }),
  create,
}

/** A kind of step whose keys are its own affair. */
const open: StepKind = {
  names: ['open'],
  options: v.looseObject({ volume: v.optional(v.number()) }),
  shape: (_, inputs) => ({ outputs: inputs }),
  create,
}

/** Steps that only have names, keys and shapes. */
export const fakes: Registry = {
  kinds: [loader, network, single, batcher, aggregator, open],
  selectors: [
    ['round-robin', 'selector.RoundRobinSelector'],
    ['large-small', 'models.r2p1d.model.LargeSmallSelector'],
  ],
  iterators: [['videos', 'models.r2p1d.model.R2P1DVideoPathIterator']],
}
