import type { Ledger } from './ledger.ts'
import type { StepFlow } from './time-card.ts'

/** What results say of a planned run; a Plan is one. */
export interface RunPlan {
  name: string
  hash: string
  steps: readonly (StepFlow & { kind: string; name?: string })[]
  instances: readonly { name: string; step: number; device: number; replica: number }[]
  queues: readonly { name: string; capacity: number }[]
  notes: readonly string[]
}

/** What is known of a run when it starts. */
export interface RunFacts {
  plan: RunPlan
  ledger: Ledger
  /** Path of a request's video. */
  video(request: number): string
  /** What is to be seen in a request's video, if its folder or an iterator says so. */
  classOf?(request: number): string | undefined
  /** Names of the classes of each last step, in order; numbers stand for them where there are none. */
  labels?: readonly (readonly string[] | undefined)[]
  /** Requests at the start that statistics leave out. */
  warmup: number
  /** Latency goal. */
  sloMs?: number
  /** Requests come as a schedule says (open), or when others are done (closed). */
  load: { loop: 'open'; arrival: string } | { loop: 'closed'; concurrency: number }
  seed: number
  /** Checkpoint file, or random:SEED; several with commas between them. */
  weights: string
  /** Pipeline file, as given. */
  configFile?: string
  /** Flags, for the summary. */
  arguments: Record<string, unknown>
  /** Of rnb, Bun and the libraries. */
  versions: Record<string, string>
}
