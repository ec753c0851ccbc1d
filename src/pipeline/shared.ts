import type { Network } from '../../models/network.ts'
import type { ClosedLoop } from '../client/client.ts'
import type { Overload } from '../client/overload.ts'
import type { BarrierHandle } from '../queue/barrier.ts'
import type { ControlHandle } from '../queue/control.ts'
import type { RingHandle } from '../queue/ring.ts'
import type { SlotPoolHandle } from '../queue/slots.ts'
import type { TensorSpec } from '../queue/tensor.ts'
import type { LedgerHandle } from '../results/ledger.ts'
import type { CopyCountsHandle } from '../results/traffic.ts'
import type { RunSettings } from '../steps/step.ts'
import type { TrackHandle } from '../tracing/buffer.ts'
import type { GraphFacts } from '../tracing/gpu/facts.ts'
import type { DecoderPoolHandle } from '../video/nvdec/pool.ts'
import type { DevicePool } from './gpu-memory.ts'
import type { Instance, Plan } from './plan.ts'
import type { TeamHandle } from './team.ts'

/** Output slots of one tensor of one instance. */
export interface SharedPool {
  instance: number
  output: number
  spec: TensorSpec
  slots: SlotPoolHandle
  /** Host memory of each slot; its pages are taken from the system when they are first written. */
  memory: SharedArrayBuffer[]
  /** In place of host memory, where the tensor stays on a GPU. */
  gpu?: DevicePool
}

/** Everything that the threads of a run share: plain data and shared memory, sent once to each worker. */
export interface SharedRun {
  plan: Plan
  settings: RunSettings
  /** By their numbers in the plan, those that the worker runs; weights are in shared memory. */
  networks: readonly (Network | undefined)[]
  overload: Overload
  closedLoop?: ClosedLoop
  control: ControlHandle
  /** Threads of instances arrive with their step created: what one measures there, no other's warm-up disturbs. */
  created: BarrierHandle
  /** All workers arrive after their warm-up; the main thread then starts the clock. */
  ready: BarrierHandle
  /** By queue number: 0 is the filename queue. */
  queues: RingHandle[]
  /** Numbers of requests that are done, for the main thread. */
  results: RingHandle
  pools: SharedPool[]
  /** By instance: of those whose threads do pieces of each other's work. */
  teams: Record<number, TeamHandle>
  /** Decoders by GPU. */
  decoders: Record<number, DecoderPoolHandle>
  /** By GPU: its one slot is held by the thread that measures there. */
  tuning: Record<number, SlotPoolHandle>
  /** What GPUs do is recorded: by whom it was asked for, too. */
  recorded: boolean
  /** What each thread of an instance moved to, from and between GPUs. */
  copies: CopyCountsHandle
  /** Since when each thread of an instance has been in which call of its step, if that is watched. */
  calls?: SharedArrayBuffer
  ledger: LedgerHandle
  /** Intended arrival of each request, float64 ns after the start. */
  schedule: SharedArrayBuffer
  /** Video of each request, uint32 index into `videos`. */
  requestVideo: SharedArrayBuffer
  videos: string[]
}

interface Role<R extends string> {
  role: R
  /** As in messages, and on its track. */
  name: string
  shared: SharedRun
  /** Where it notes what it does, if the run is traced. */
  track?: TrackHandle
}

export type ClientData = Role<'client'>
export interface RunnerData extends Role<'runner'> {
  instance: Instance
  worker: number
}
/**
 * What a worker is sent of a run: without the networks that its step does not run. Each thread's garbage collector
 * takes the shared memory that it can reach for its own, and lets as much garbage gather before it begins.
 */
export const sharedWith = (shared: SharedRun, instance?: Pick<Instance, 'step'>): SharedRun => {
  const own = instance && shared.plan.steps[instance.step]!.network
  return { ...shared, networks: shared.networks.map((network, i) => (i === own ? network : undefined)) }
}

export type WorkerData = ClientData | RunnerData

/** What workers say to the main thread apart from the hot path. */
export type WorkerMessage =
  /** A request failed; the run goes on. */
  | { type: 'failure'; request: number; step: number; code: string; message: string }
  /** A queue was full: the placement cannot carry the load. */
  | { type: 'full'; queue: number; request: number }
  /** Wrong use that only the worker could see (a checkpoint that changed, say): exit status 2. */
  | { type: 'usage'; message: string }
  /** This host lacks a library that the worker needs; the message says what to install. */
  | { type: 'missing'; message: string }
  /** What a graph consists of, which the worker will launch on a GPU. */
  | { type: 'graph'; facts: GraphFacts }
  /** Something that the summary should say. */
  | { type: 'note'; message: string }
  /** A warning for people and the summary. */
  | { type: 'warning'; message: string }
  /** The last word of a worker that ends as it should. */
  | { type: 'finished' }

/** Why a run was stopped early: values of `Control.stop`. */
export const STOP = { finished: 1, failed: 2, queueFull: 3, interrupted: 4, usage: 5 } as const
