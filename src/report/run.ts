import { basename } from 'node:path'
import type { TelemetryLine } from '../telemetry/lines.ts'

/** Mean time of one stage of a pipeline, in ms. */
export interface Stage {
  /** `loader run`, `network queue`, ... */
  readonly name: string
  readonly ms: number
}

/** One instance of waiting on a queue: when it began and ended, in seconds after the start of the run. */
export interface Wait {
  readonly from: number
  readonly to: number
}

/** How many waited before a step over time. */
export interface StepWaits {
  readonly name: string
  readonly waits: readonly Wait[]
}

/** What a report knows of a run, wherever it was read from. */
export interface ReportRun {
  /** Folder or file. */
  readonly path: string
  /** What tells it from the other runs of a report. */
  readonly name: string
  /** Name of the pipeline: runs of one configuration are joined by a line. */
  readonly configuration: string
  readonly host: string
  /** Flags, by name. */
  readonly flags: Readonly<Record<string, unknown>>
  /** Arrivals per second as scheduled; null in bulk and in a closed loop. */
  readonly offeredPerS: number | null
  /** Results per second after the warm-up. */
  readonly videosPerS: number | null
  readonly clipsPerS: number | null
  /** Of requests that statistics count, in order of arrival: seconds after the start of the run. */
  readonly arrivalS: Float64Array
  /** The same requests' latencies in ms, from the intended arrival. */
  readonly latencyMs: Float64Array
  /** Where the latency went, in order. */
  readonly stages: readonly Stage[]
  readonly waits: readonly StepWaits[]
  readonly queues: readonly { readonly name: string; readonly capacity: number; readonly highWater: number }[]
  /** What sensors said, in order of time; empty without. */
  readonly telemetry: readonly TelemetryLine[]
  readonly completed: number
  readonly failed: number
  /** Number of failures by code. */
  readonly failures: Readonly<Record<string, number>>
  readonly end: string
  readonly notes: readonly string[]
}

/** What a log folder's name starts with: when the run began. */
const DATE = /^\d{6}_\d{6}-/

/** A run's name in a report: what its folder or file is called; the pipeline's name stands for a date. */
export const runName = (path: string, configuration: string): string => {
  const name = basename(path.replace(/\/+$/, '')) || path
  return DATE.test(name) ? `${configuration} ${name.replace(DATE, '')}` : name
}
