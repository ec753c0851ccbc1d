import type { DistributionValues, SummaryLine } from './schema.ts'
import { textTable } from './table.ts'
import { type Column, pathTo, type TimeCards } from './time-card.ts'
import type { UnixClock } from './unix-clock.ts'

/** RnB printed figures as Python's %f. */
const DECIMALS = 6

export const startLine = (clock: UnixClock, startNs: number): string =>
  `START! ${clock.seconds(startNs).toFixed(DECIMALS)}`

/** RnB's lines at the end of a job. `finished` is the number of videos that it waited for, if all came. */
export function endLines(clock: UnixClock, startNs: number, endNs: number, finished?: number): string[] {
  return [
    ...(finished === undefined ? [] : [`Finished processing ${finished} videos`]),
    `FINISH! ${clock.seconds(endNs).toFixed(DECIMALS)}`,
    `That took ${((endNs - startNs) / 1e9).toFixed(DECIMALS)} seconds`,
  ]
}

/**
 * RnB's lines of mean times between neighbouring columns of its log.
 * @param measured completed requests after the warm-up
 * @param records completed requests, the warm-up's included
 */
export function averageLines(cards: TimeCards, measured: Uint32Array, records: number): string[] {
  if (measured.length === 0) return [`Not enough log entries (${records} records) to print summary!`]
  const lines = cards.leaves.flatMap(leaf => {
    const columns = cards.columns(pathTo(cards.steps, leaf))
    return columns.slice(1).map((column, i) => averageLine(cards, measured, columns[i]!, column))
  })
  // Steps that several results come through are said once.
  return [...new Set(lines)]
}

function averageLine(cards: TimeCards, requests: Uint32Array, before: Column, column: Column): string {
  let sum = 0
  let count = 0
  for (const request of requests) {
    const elapsed = cards.time(request, column) - cards.time(request, before)
    if (Number.isNaN(elapsed)) continue
    sum += elapsed
    count++
  }
  const average = count === 0 ? 'nan' : (sum / count / 1e6).toFixed(DECIMALS)
  return `Average time between ${before.name} and ${column.name}: ${average} ms`
}

const PERCENTILES: [string, (values: DistributionValues) => number][] = [
  ['mean', values => values.mean],
  ['p50', values => values.p50],
  ['p90', values => values.p90],
  ['p95', values => values.p95],
  ['p99', values => values.p99],
  ['p99.9', values => values.p99_9],
  ['max', values => values.max],
]

/** A table of percentiles, a row a stage, in milliseconds. */
export function percentileTable(summary: SummaryLine): string {
  const stages: [string, DistributionValues | null][] = [
    ...summary.steps.flatMap(({ step, kind, name = kind, queue_ms, wait_ms, run_ms }): typeof stages => [
      [`step ${step} (${name}) queue`, queue_ms],
      [`step ${step} (${name}) wait`, wait_ms],
      [`step ${step} (${name}) run`, run_ms],
    ]),
    ...(summary.branches ?? []).map(({ step, name, latency_ms }): (typeof stages)[number] => [
      `latency of step ${step} (${name})`,
      latency_ms,
    ]),
    ['latency', summary.latency_ms],
    ['latency from actual arrival', summary.latency_actual_ms],
  ]
  return textTable([
    ['ms', ...PERCENTILES.map(([name]) => name)],
    ...stages.map(([name, values]) => [
      name,
      ...PERCENTILES.map(([, of]) => (values ? of(values).toFixed(3) : '-')),
    ]),
  ])
}

const perSecond = (value: number | null): string =>
  value === null ? '-' : `${Number(value.toPrecision(4))}/s`

/** What the run came to, in lines for people. */
export function closingLines(summary: SummaryLine): string[] {
  const { requests, throughput, rate, goodput, failures } = summary
  const failed = Object.entries(failures).map(([code, count]) => `${count} ${code}`)
  return [
    `${requests.completed} results, ${requests.failed} errors${failed.length > 0 ? ` (${failed.join(', ')})` : ''}` +
      `${requests.unfinished > 0 ? `, ${requests.unfinished} unfinished` : ''} of ${requests.asked} videos`,
    `throughput ${perSecond(throughput.videos_per_s)} videos, ${perSecond(throughput.clips_per_s)} clips; ` +
      `offered ${perSecond(rate.offered_per_s)}, sent ${perSecond(rate.sent_per_s)}`,
    ...(summary.branches ?? []).map(
      ({ step, name, completed, failed }) => `step ${step} (${name}): ${completed} results, ${failed} errors`,
    ),
    ...(goodput
      ? [
          `goodput ${perSecond(goodput.per_s)}: ${goodput.within} of ${requests.measured} within ${goodput.slo_ms} ms`,
        ]
      : []),
    ...summary.notes.map(note => `note: ${note}`),
    ...summary.warnings.map(warning => `warning: ${warning}`),
    ...(summary.log_dir === undefined ? [] : [`logs are in ${summary.log_dir}`]),
  ]
}
