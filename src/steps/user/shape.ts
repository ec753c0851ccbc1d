import * as v from 'valibot'
import { UsageError } from '../../errors.ts'
import type { TensorSpec as Spec } from '../../queue/tensor.ts'
import { CPU, type StepShape as InnerShape, type StepKind } from '../step.ts'
import type { Options, StepClass, TensorSpec } from './api.ts'
import { moduleError } from './fault.ts'

const DEFAULT_VALUES_BYTES = 1024
/** Far above any use; each request takes as much. */
const MOST_VALUES_BYTES = 2 ** 20
/** Far above any use; a tensor of so many elements fits into no slot. */
const MOST_SIZE = 2 ** 31 - 1

const size = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MOST_SIZE))

const shapeSchema = v.strictObject({
  outputs: v.optional(
    v.array(
      v.strictObject({
        shape: v.pipe(v.array(size), v.minLength(1)),
        type: v.optional(v.picklist(['f32', 'f16']), 'f32'),
        memory: v.optional(v.picklist(['host', 'device']), 'host'),
      }),
    ),
    [],
  ),
  values: v.optional(
    v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MOST_VALUES_BYTES)),
    DEFAULT_VALUES_BYTES,
  ),
})

/** A spec as modules see it. */
export const told = (spec: Spec): TensorSpec => ({
  shape: [...spec.shape],
  type: spec.type,
  memory: spec.memory ?? 'host',
})

/** `outputs[0].shape[1]: Invalid type: ...` */
export function issueText(issue: v.BaseIssue<unknown>): string {
  const path = (issue.path ?? []).map(({ key }) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
  return `${path.join('').replace(/^\./, '')}${path.length > 0 ? ': ' : ''}${issue.message}`
}

/** What a class says of its outputs, checked. @throws {UsageError} */
export function shapeOf(
  file: string,
  Class: StepClass,
  ...[options, inputs, , place]: Parameters<StepKind['shape']>
): InnerShape {
  if (place.device === CPU && inputs.some(({ memory }) => memory === 'device'))
    throw new UsageError('tensors on GPUs arrive: this step must run there too')
  let shape: unknown
  try {
    const plan = { inputs: inputs.map(told), options: options as Options, device: place.device }
    shape = Class.shape ? Class.shape(plan) : {}
  } catch (error) {
    throw new UsageError(moduleError(file, 'shape()', error).message)
  }
  const parsed = v.safeParse(shapeSchema, shape)
  if (!parsed.success) throw new UsageError(`${file}: shape() gave no shape: ${issueText(parsed.issues[0])}`)
  const { outputs, values } = parsed.output
  const fail = (i: number, what: string) => new UsageError(`${file}: shape() gave outputs[${i}] ${what}`)
  const rows = outputs[0]?.shape[0]
  outputs.forEach(({ shape, type, memory }, i) => {
    if (shape[0] !== rows) throw fail(i, `of ${shape[0]} clips and outputs[0] of ${rows}; all have as many`)
    if (memory === 'host' && type === 'f16') throw fail(i, "of f16 in the host's memory; only f32 goes there")
    if (memory === 'device' && place.device === CPU) throw fail(i, 'in device memory, but it runs on the CPU')
    if (memory === 'device' && !place.resident)
      throw fail(i, 'in device memory: the step after it must run on GPUs too')
  })
  return {
    outputs: outputs.map(({ shape, type, memory }) => ({
      shape,
      type,
      ...(memory === 'device' && { memory }),
    })),
    values,
  }
}
