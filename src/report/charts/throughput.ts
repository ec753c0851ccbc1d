import type { ReportRun } from '../run.ts'
import { axis, type Chart, frame, rounded } from './chart.ts'

/** Results per second against arrivals per second: where a line leaves the diagonal, the configuration is full. */
export function throughputAgainstLoad(runs: readonly ReportRun[]): Chart | undefined {
  const shown = runs.flatMap(({ configuration, offeredPerS, videosPerS }) =>
    offeredPerS === null || videosPerS === null ? [] : [{ configuration, offeredPerS, videosPerS }],
  )
  if (shown.length < 2) return undefined
  const most = Math.max(...shown.map(({ offeredPerS }) => offeredPerS))
  const configurations = [...new Set(shown.map(({ configuration }) => configuration))]
  return {
    id: 'throughput',
    title: 'Throughput against offered load',
    caption: 'On the dashed line all that arrives is done. Where a configuration falls below it, it is full.',
    option: {
      ...frame(true),
      tooltip: { trigger: 'item' },
      xAxis: axis('offered, videos/s'),
      yAxis: axis('done, videos/s'),
      series: [
        ...configurations.map(name => ({
          name,
          type: 'line' as const,
          data: shown
            .filter(({ configuration }) => configuration === name)
            .map(run => [rounded(run.offeredPerS), rounded(run.videosPerS)])
            .sort((a, b) => a[0]! - b[0]!),
        })),
        {
          name: 'all of the load',
          type: 'line' as const,
          showSymbol: false,
          lineStyle: { type: 'dashed' as const, color: '#999999' },
          itemStyle: { color: '#999999' },
          data: [
            [0, 0],
            [rounded(most), rounded(most)],
          ],
        },
      ],
    },
  }
}
