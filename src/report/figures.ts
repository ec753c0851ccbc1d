import { mean, percentile } from '../results/statistics.ts'
import type { ReportRun } from './run.ts'

/** The row of a run in a report's table. Times in ms; null without samples. */
export interface Figures {
  readonly run: string
  readonly configuration: string
  readonly offered_per_s: number | null
  readonly videos_per_s: number | null
  readonly clips_per_s: number | null
  readonly mean_ms: number | null
  readonly p50_ms: number | null
  readonly p90_ms: number | null
  readonly p99_ms: number | null
  readonly max_ms: number | null
  readonly completed: number
  readonly failed: number
  readonly end: string
}

/** Works out a run's row. */
export function figuresOf(run: ReportRun): Figures {
  const sorted = run.latencyMs.slice().sort()
  const at = (p: number): number | null => (sorted.length === 0 ? null : percentile(sorted, p))
  return {
    run: run.name,
    configuration: run.configuration,
    offered_per_s: run.offeredPerS,
    videos_per_s: run.videosPerS,
    clips_per_s: run.clipsPerS,
    mean_ms: sorted.length === 0 ? null : mean(run.latencyMs),
    p50_ms: at(0.5),
    p90_ms: at(0.9),
    p99_ms: at(0.99),
    max_ms: sorted.at(-1) ?? null,
    completed: run.completed,
    failed: run.failed,
    end: run.end,
  }
}

/** A point with a good and a bad side: more throughput, less latency. */
export interface Point {
  readonly videosPerS: number
  readonly p99Ms: number
}

/** The points that no other beats in throughput and latency both, by rising throughput. */
export function paretoFront<T extends Point>(points: readonly T[]): T[] {
  const front: T[] = []
  const order = [...points].sort((a, b) => b.videosPerS - a.videosPerS || a.p99Ms - b.p99Ms)
  let least = Number.POSITIVE_INFINITY
  for (const point of order) {
    if (point.p99Ms >= least) continue
    least = point.p99Ms
    front.push(point)
  }
  return front.reverse()
}
