import type { ReportRun } from '../../src/report/run.ts'
import { Rng } from '../../src/rng.ts'

/** 200 requests with exponential latencies of a mean of 10 ms. */
export function fakeReportRun(more: Partial<ReportRun> = {}): ReportRun {
  const rng = Rng.of(1, 'report')
  const arrivalS = Float64Array.from({ length: 200 }, (_, i) => i / 20)
  return {
    path: 'logs/run',
    name: 'run',
    configuration: 'demo',
    host: 'a host',
    flags: { videos: 200 },
    offeredPerS: 20,
    videosPerS: 19.5,
    clipsPerS: 39,
    arrivalS,
    latencyMs: arrivalS.map(() => rng.exponential(10)),
    stages: [
      { name: '0: loader run', ms: 2 },
      { name: '1: network run', ms: 8 },
    ],
    waits: [{ name: '0: loader', waits: [{ from: 0, to: 1 }] }],
    queues: [{ name: 'filename', capacity: 500, highWater: 3 }],
    telemetry: [],
    completed: 200,
    failed: 0,
    failures: {},
    end: 'done',
    notes: [],
    ...more,
  }
}
