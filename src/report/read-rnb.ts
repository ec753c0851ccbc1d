import { basename } from 'node:path'
import { readLogs } from '../results/read-logs.ts'
import { type ReportRun, runName, type Stage } from './run.ts'

/** Requests at the start that RnB's summaries leave out. */
const SKIPPED = 10

const configurationOf = (file: unknown): string =>
  typeof file === 'string' ? basename(file, '.json') : 'RnB'

/**
 * Reads a log folder in RnB's format, which has times but no results. Latency counts from the first column, when the
 * client put the request on its queue: RnB did not note when it should have come.
 * @throws {UsageError} if it is no such folder
 */
export function readOldLogs(path: string): ReportRun {
  const logs = readLogs(path)
  const rows = logs.instances.flatMap(({ columns, times }) => times.map(times => ({ columns, times })))
  rows.sort((a, b) => a.times[0]! - b.times[0]!)
  const measured = rows.slice(SKIPPED)
  const last = (times: Float64Array): number => times.reduce((most, t) => (t > most ? t : most), -Infinity)
  const ends = measured.map(({ times }) => last(times))
  const seconds = ends.length === 0 ? 0 : last(Float64Array.from(ends)) - measured[0]!.times[0]!
  const interval = Number(logs.flags.mean_interval_ms ?? 0)
  const configuration = configurationOf(logs.flags.config_file_path)
  return {
    path,
    name: runName(path, configuration),
    configuration,
    host: '',
    flags: logs.flags,
    offeredPerS: interval > 0 ? 1000 / interval : null,
    videosPerS: seconds > 0 ? ends.length / seconds : null,
    clipsPerS: null,
    arrivalS: Float64Array.from(measured, ({ times }) => times[0]! - logs.start),
    latencyMs: Float64Array.from(measured, ({ times }, i) => 1000 * (ends[i]! - times[0]!)),
    stages: stagesOf(measured),
    waits: [],
    queues: [],
    telemetry: [],
    completed: rows.length,
    failed: 0,
    failures: {},
    end:
      logs.termination === undefined || logs.termination === 0 ? 'done' : `termination ${logs.termination}`,
    notes: logs.warnings,
  }
}

/** How far each column takes a request past all columns before it, on average: these add up to the latency. */
function stagesOf(rows: readonly { columns: readonly string[]; times: Float64Array }[]): Stage[] {
  const columns = rows[0]?.columns ?? []
  if (rows.some(row => row.columns.join() !== columns.join())) return []
  const sums = new Float64Array(columns.length)
  for (const { times } of rows) {
    let latest = times[0]!
    times.forEach((time, i) => {
      if (!(time > latest)) return
      sums[i]! += 1000 * (time - latest)
      latest = time
    })
  }
  return columns
    .map((name, i) => ({ name: `to ${name}`, ms: sums[i]! / rows.length }))
    .filter(({ ms }) => ms > 0)
}
