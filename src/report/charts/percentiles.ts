import { percentile } from '../../results/statistics.ts'
import type { ReportRun } from '../run.ts'
import { axis, type Chart, frame, rounded } from './chart.ts'

/** Points for each factor of ten along the tail. */
const PER_DECADE = 24

/** One in how many is slower, up to the number of samples. */
function tails(samples: number): number[] {
  const steps = Math.floor(PER_DECADE * Math.log10(samples))
  return [...Array.from({ length: steps + 1 }, (_, i) => 10 ** (i / PER_DECADE)), samples]
}

/** Percentiles over a scale that gives each further nine the same room, as HdrHistogram's plots do. */
export function percentilePlot(runs: readonly ReportRun[]): Chart | undefined {
  const shown = runs.filter(run => run.latencyMs.length > 1)
  if (shown.length === 0) return undefined
  return {
    id: 'percentiles',
    title: 'Percentiles of latency',
    caption:
      'How long the slowest one in so many requests took at least: at 100 stands p99, at 1000 p99.9. A line that climbs steeply has a long tail.',
    option: {
      ...frame(shown.length > 1),
      tooltip: { trigger: 'axis' },
      xAxis: { ...axis('all but one request in ...', 'log'), min: 1 },
      yAxis: axis('latency, ms'),
      series: shown.map(run => {
        const sorted = run.latencyMs.slice().sort()
        return {
          name: run.name,
          type: 'line' as const,
          showSymbol: false,
          data: tails(sorted.length).map(tail => [rounded(tail), rounded(percentile(sorted, 1 - 1 / tail))]),
        }
      }),
    },
  }
}
