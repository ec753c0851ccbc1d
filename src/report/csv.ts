import { type Figures, figuresOf } from './figures.ts'
import type { ReportRun } from './run.ts'

/** A field as RFC 4180 has it. */
const field = (value: string | number | null): string => {
  const text = value === null ? '' : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

const table = (header: readonly string[], rows: readonly (readonly (string | number | null)[])[]): string =>
  [header, ...rows].map(row => `${row.map(field).join(',')}\r\n`).join('')

/** Tables of a report as CSV (RFC 4180), by file name: `runs.csv`, `stages.csv`, `latencies.csv`. */
export function csvFiles(runs: readonly ReportRun[]): Record<string, string> {
  const figures = runs.map(figuresOf)
  const columns = Object.keys(figures[0] ?? {}) as (keyof Figures)[]
  return {
    'runs.csv': table(
      columns,
      figures.map(row => columns.map(column => row[column])),
    ),
    'stages.csv': table(
      ['run', 'stage', 'mean_ms'],
      runs.flatMap(run => run.stages.map(({ name, ms }) => [run.name, name, ms])),
    ),
    'latencies.csv': table(
      ['run', 'arrival_s', 'latency_ms'],
      runs.flatMap(run => Array.from(run.latencyMs, (ms, i) => [run.name, run.arrivalS[i]!, ms])),
    ),
  }
}
