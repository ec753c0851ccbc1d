/** How far a plan may go: the values that it chooses from. */
export interface Limits {
  /** The GPUs that it may use, by their numbers. */
  gpus: readonly number[]
  /** Instances of a step on one GPU. */
  replicas: number
  /** Instances of a step on the CPU. */
  cpuReplicas: readonly number[]
  /** Videos that a loader on a GPU decodes at once, and threads beside them that decode on the host. */
  inFlight: readonly number[]
  cpuDecoders: readonly number[]
  /** Whether threads of a loader on a GPU may share a video's clips. */
  shareClips: readonly boolean[]
  /** Decoders on a GPU, and decoders on the host, of all loaders together: more were never seen at once. */
  mostInFlight?: number
  mostCpuDecoders?: number
  batches: readonly number[]
  delaysMs: readonly number[]
  /** Where loaders and networks may run, on a host with GPUs; other steps stay where the file has them. */
  loadersOn: readonly ('gpu' | 'cpu')[]
  networksOn: readonly ('gpu' | 'cpu')[]
  /** Steps that a network may be cut into. */
  pieces: number
  segments: readonly number[]
  selectors: readonly string[]
  /** Queues for each GPU with `--per_gpu_queue`. */
  perGpuQueues: boolean
  queueSize: number
}

const doubling = (most: number): number[] =>
  Array.from({ length: Math.floor(Math.log2(Math.max(1, most))) + 1 }, (_, i) => 2 ** i)

/** What is worth a look on a host with so many cores. */
export const usualLimits = (gpus: readonly number[], cores: number): Limits => ({
  gpus,
  replicas: gpus.length > 2 ? 2 : 3,
  cpuReplicas: [...new Set([1, 2, 3, ...doubling(cores), cores])]
    .filter(n => n <= cores)
    .sort((a, b) => a - b),
  inFlight: [8, 16, 32],
  cpuDecoders: [...new Set([0, cores >> 2, cores >> 1, cores - 2])].filter(n => n >= 0).sort((a, b) => a - b),
  shareClips: [false, true],
  mostInFlight: 32,
  mostCpuDecoders: cores,
  batches: [1, 2, 4, 8],
  delaysMs: [0, 2, 5, 20],
  loadersOn: ['gpu', 'cpu'],
  networksOn: ['gpu'],
  // Each way to cut is a network more to measure.
  pieces: 1,
  segments: [1, 2, 3],
  selectors: ['round-robin', 'shortest', 'same-gpu'],
  perGpuQueues: true,
  queueSize: 500,
})
