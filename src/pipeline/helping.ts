import type { Instance } from './plan.ts'

/** Whether a thread of an instance decodes on the host, while others use a GPU's engines. */
const onHost = ({ decoders }: Pick<Instance, 'decoders'>, worker: number): boolean =>
  decoders > 0 && worker >= decoders

/**
 * Whether a thread of an instance does pieces of another's work. Threads on a GPU's engines help all, decoders on the host only
 * their like: one of these would take longer for a piece than the engines for all of them.
 */
export const helps = (instance: Pick<Instance, 'decoders'>, worker: number, owner: number): boolean =>
  owner !== worker && (!onHost(instance, worker) || onHost(instance, owner))

/** From which end of a list of pieces, the largest first, a thread takes. */
export const endOf = (instance: Pick<Instance, 'decoders'>, worker: number): 'first' | 'last' =>
  onHost(instance, worker) ? 'last' : 'first'
