import * as v from 'valibot'
import { ModuleError } from './fault.ts'
import { jsonFault } from './json.ts'

/** Keys that mean something to the pipeline itself wherever they stand. */
const TAKEN: ReadonlySet<string> = new Set([
  'model',
  'queue_groups',
  'name',
  'gpus',
  'inputs',
  'in_queue',
  'out_queues',
  'queue_selector',
  'clip_threshold',
  'num_shared_tensors',
  'num_segments',
  'aggregate',
])

/** Takes what is of the default's type. */
function schemaOf(value: unknown): v.GenericSchema {
  if (typeof value === 'number') return v.pipe(v.number(), v.finite())
  if (typeof value === 'string') return v.string()
  if (typeof value === 'boolean') return v.boolean()
  if (Array.isArray(value)) return v.array(v.unknown())
  if (value === null) return v.unknown()
  return v.record(v.string(), v.unknown())
}

/**
 * The schema of the keys that a class says it takes: their defaults stand in for absent ones.
 * @throws {ModuleError} if these are no options
 */
export function optionsSchema(file: string, options: unknown = {}) {
  const fault = jsonFault(options, 'options')
  if (fault || typeof options !== 'object' || options === null || Array.isArray(options))
    throw new ModuleError(
      `${file}: static options must be an object of JSON values, the defaults${fault ? `; ${fault}` : ''}`,
    )
  const taken = Object.keys(options).find(key => TAKEN.has(key))
  if (taken !== undefined)
    throw new ModuleError(
      `${file}: static options has ${taken}, which means something to every step; rename it`,
    )
  return v.strictObject(
    Object.fromEntries(
      Object.entries(options).map(([key, value]) => [key, v.optional(schemaOf(value), value as never)]),
    ),
  )
}
