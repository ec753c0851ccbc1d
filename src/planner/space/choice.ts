/** What has been decided of a plan; what is missing is open. Numbers are places in the lists of `Space`. */
export interface Choice {
  structure: number
  /** Instances of the steps on the CPU, in their order. */
  cpu?: number
  /** By GPU, so far: instances of the steps on GPUs. They are alike, so these never rise. */
  roles: readonly number[]
  /** How many videos a loader on a GPU decodes at once, and whether its threads share their clips. */
  inFlight?: number
  cpuDecoders?: number
  batch?: number
  delay?: number
  queues?: number
}

/** How the queues before a step on GPUs are laid out. */
export type Queues = { kind: 'one' } | { kind: 'per-gpu' } | { kind: 'chosen'; selector: string }

/** Tells choices from each other. */
export const keyOf = ({
  structure,
  cpu,
  roles,
  inFlight,
  cpuDecoders,
  batch,
  delay,
  queues,
}: Choice): string => [structure, cpu, roles.join('.'), inFlight, cpuDecoders, batch, delay, queues].join('/')
