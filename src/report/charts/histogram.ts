import { percentile } from '../../results/statistics.ts'
import type { ReportRun } from '../run.ts'
import { axis, type Chart, frame, rounded } from './chart.ts'

const BINS = 60
/** Latencies beyond this percentile share the last bin: a single one would else squeeze all others into the first. */
const SHOWN = 0.995

/** Shares of latencies in bins of one width for all runs. */
export function latencyHistogram(runs: readonly ReportRun[]): Chart | undefined {
  const shown = runs.filter(run => run.latencyMs.length > 0)
  if (shown.length === 0) return undefined
  const ends = shown.map(run => percentile(run.latencyMs.slice().sort(), SHOWN))
  const width = Math.max(...ends) / BINS || 1
  const shares = shown.map(run => {
    const counts = new Array<number>(BINS + 1).fill(0)
    for (const ms of run.latencyMs) counts[Math.min(BINS, Math.floor(ms / width))]!++
    return counts.map(count => (100 * count) / run.latencyMs.length)
  })
  const labels = Array.from({ length: BINS + 1 }, (_, bin) =>
    bin === BINS ? `over ${rounded(BINS * width, 3)}` : String(rounded((bin + 0.5) * width, 3)),
  )
  const many = shown.length > 1
  return {
    id: 'histogram',
    title: 'Latency',
    caption:
      'Share of the requests by latency, counted from their intended arrival. The last bar holds all that took longer.',
    option: {
      ...frame(many),
      tooltip: { trigger: 'axis' },
      xAxis: { ...axis('latency, ms', 'category'), data: labels },
      yAxis: axis('requests, %'),
      series: shown.map((run, i) => ({
        name: run.name,
        type: many ? ('line' as const) : ('bar' as const),
        ...(many && { step: 'middle' as const, showSymbol: false, areaStyle: { opacity: 0.15 } }),
        barCategoryGap: '8%',
        data: shares[i]!.map(share => rounded(share)),
      })),
    },
  }
}
