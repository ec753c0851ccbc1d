import type { Arrangement, PipelineFile } from '../src/planner/types.ts'

/** What tells one case from another; all else is as in the others. */
export interface Case {
  name: string
  loaders?: number
  networks?: number
  inFlight?: number
  cpuDecoders?: number
  shareClips?: boolean
  batch?: number
  delayMs?: number
  slots?: number
}

/** A case that is compared: the file, and the flags that go with it. */
export interface CaseOptions {
  /** -1: the CPU. */
  device: number
  /** Of the loader and of the network. */
  loader: object
  network: object
  queueSize: number
}

/** A loader on the host: its threads and the network's share two cores, or more. */
const ON_CPU: readonly Case[] = [
  { name: '1 loader, 1 network' },
  { name: '2 loaders, 1 network', loaders: 2 },
  { name: '1 loader of 2, 1 network', inFlight: 2 },
  { name: '1 loader of 4, 1 network', inFlight: 4 },
  { name: '2 loaders, 2 networks', loaders: 2, networks: 2 },
  { name: '1 loader, 2 networks', networks: 2 },
  { name: '1 loader of 2, batches of 2', inFlight: 2, batch: 2 },
  { name: '1 loader of 2, batches of 4', inFlight: 2, batch: 4 },
  { name: '1 loader of 2, batches of 4 within 20 ms', inFlight: 2, batch: 4, delayMs: 20 },
  { name: '1 loader of 4, 2 networks, 4 slots', inFlight: 4, networks: 2, slots: 4 },
  { name: '3 loaders, 2 networks, batches of 2', loaders: 3, networks: 2, batch: 2 },
]

/** The most telling first: time on a GPU may end. */
const ON_GPU: readonly Case[] = [
  { name: '1 loader of 16, 1 network', inFlight: 16 },
  { name: '1 loader of 16, batches of 4', inFlight: 16, batch: 4 },
  { name: '1 loader of 16 that shares clips', inFlight: 16, shareClips: true },
  { name: '1 loader of 4, 1 network', inFlight: 4 },
  { name: '1 loader of 16 and 8 on the host', inFlight: 16, cpuDecoders: 8 },
  {
    name: '1 loader of 16 and 8 on the host that shares clips',
    inFlight: 16,
    cpuDecoders: 8,
    shareClips: true,
  },
  { name: '2 loaders of 8, 2 networks', loaders: 2, networks: 2, inFlight: 8 },
  { name: '1 loader of 8, 1 network', inFlight: 8 },
  { name: '1 loader of 16, batches of 8 within 20 ms', inFlight: 16, batch: 8, delayMs: 20 },
  { name: '1 loader of 2 and 12 on the host', inFlight: 2, cpuDecoders: 12 },
  { name: '1 loader of 21, 1 network', inFlight: 21 },
  { name: '2 loaders of 8, batches of 4', loaders: 2, inFlight: 8, batch: 4 },
  { name: '1 loader of 12 and 4 on the host, batches of 4', inFlight: 12, cpuDecoders: 4, batch: 4 },
]

export const casesFor = (device: number): readonly Case[] => (device < 0 ? ON_CPU : ON_GPU)

/** The pipeline of a case. */
export function pipelineOf(
  { loaders = 1, networks = 1, inFlight = 1, cpuDecoders, shareClips = false, slots = 64 }: Case,
  { device, loader, network }: CaseOptions,
): PipelineFile {
  return {
    pipeline: [
      {
        model: 'loader',
        queue_groups: [{ gpus: new Array<number>(loaders).fill(device), out_queues: [0] }],
        num_shared_tensors: slots,
        in_flight: inFlight,
        ...(cpuDecoders !== undefined && { cpu_decoders: cpuDecoders }),
        ...(shareClips && { share_clips: true }),
        ...loader,
      },
      {
        model: 'network',
        queue_groups: [{ gpus: new Array<number>(networks).fill(device), in_queue: 0 }],
        ...network,
      },
    ],
  }
}

export const arrangementOf = (of: Case, options: CaseOptions): Arrangement => ({
  config: pipelineOf(of, options),
  batch: of.batch ?? 1,
  maxBatchDelayMs: of.delayMs ?? 5,
  perGpuQueue: false,
  queueSize: options.queueSize,
})
