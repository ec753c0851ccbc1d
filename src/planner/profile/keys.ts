import { canonicalJson } from '../../pipeline/hash.ts'
import type { Instance, Plan } from '../../pipeline/plan.ts'
import { CPU, type RunSettings } from '../../steps/step.ts'

/** What does the work of a step: the host, a GPU, or the host for a GPU (decoders beside the GPU's own). */
export type Engine = 'cpu' | 'gpu' | 'gpu-host'

/** Keys that say how many there are of a step's threads, items or parts, or who does a call, and not what it does. */
const COUNTS = new Set([
  'in_flight',
  'cpu_decoders',
  'share_clips',
  'threads',
  'max_batch_delay_ms',
  'batch',
  'aggregate',
])

export const engineOf = ({ device, decoders }: Instance, worker: number): Engine =>
  device === CPU ? 'cpu' : decoders > 0 && worker >= decoders ? 'gpu-host' : 'gpu'

/** CPU threads of a call: those of a network on the host; all other steps have their own thread alone. */
export function threadsOf({ device, options }: Instance, kind: string, settings: RunSettings): number {
  if (device !== CPU || (kind !== 'network' && kind !== 'single')) return 1
  return typeof options.threads === 'number' ? options.threads : settings.threads
}

/** What a step is, whatever its numbers of instances and threads: equal for calls that take equally long. */
export function stepKey({ steps }: Pick<Plan, 'steps'>, { step, options }: Instance, engine: Engine): string {
  const { kind, module } = steps[step]!
  const own = Object.fromEntries(Object.entries(options).filter(([key]) => !COUNTS.has(key)))
  return `${module ?? kind} on ${engine} ${canonicalJson(own)}`
}
