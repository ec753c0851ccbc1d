import { figuresOf, paretoFront } from '../figures.ts'
import type { ReportRun } from '../run.ts'
import { axis, type Chart, frame, rounded } from './chart.ts'

/** p99 against throughput of all runs, and those that no other beats in both. */
export function paretoChart(runs: readonly ReportRun[]): Chart | undefined {
  const points = runs.flatMap(run => {
    const { videos_per_s: videosPerS, p99_ms: p99Ms } = figuresOf(run)
    return videosPerS === null || p99Ms === null
      ? []
      : [{ name: run.name, configuration: run.configuration, videosPerS, p99Ms }]
  })
  if (points.length < 2) return undefined
  const configurations = [...new Set(points.map(({ configuration }) => configuration))]
  const at = ({ videosPerS, p99Ms }: (typeof points)[number]) => [rounded(videosPerS), rounded(p99Ms)]
  return {
    id: 'pareto',
    title: 'Throughput and p99',
    caption:
      'Right is more, below is sooner. The line joins the runs that no other beats in both: the Pareto front.',
    option: {
      ...frame(true),
      tooltip: { trigger: 'item', formatter: '{a}: {b}' },
      xAxis: axis('videos/s'),
      yAxis: axis('p99, ms'),
      series: [
        ...configurations.map(name => ({
          name,
          type: 'scatter' as const,
          data: points
            .filter(({ configuration }) => configuration === name)
            .map(p => ({ name: p.name, value: at(p) })),
        })),
        {
          name: 'front',
          type: 'line' as const,
          symbol: 'none',
          lineStyle: { color: '#333333' },
          itemStyle: { color: '#333333' },
          data: paretoFront(points).map(at),
        },
      ],
    },
  }
}
