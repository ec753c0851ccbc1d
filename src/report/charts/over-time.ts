import { percentile } from '../../results/statistics.ts'
import type { ReportRun } from '../run.ts'
import { axis, type Chart, frame, rounded } from './chart.ts'

/** Slices of a run's time. */
const SLICES = 120
/** Requests up to which each has a point of its own. */
const POINTS = 3000

/** Median and p99 of the requests that arrived in each slice of time. */
function slices({ arrivalS, latencyMs }: ReportRun) {
  const end = arrivalS.at(-1)! || 1
  const groups = Array.from({ length: SLICES }, (): number[] => [])
  latencyMs.forEach((ms, i) => {
    groups[Math.min(SLICES - 1, Math.max(0, Math.floor((SLICES * arrivalS[i]!) / end)))]!.push(ms)
  })
  return groups.flatMap((group, slice) => {
    if (group.length === 0) return []
    group.sort((a, b) => a - b)
    return [{ s: ((slice + 0.5) * end) / SLICES, p50: percentile(group, 0.5), p99: percentile(group, 0.99) }]
  })
}

/** Latency against the time of arrival: whether a run was steady. */
export function latencyOverTime(runs: readonly ReportRun[]): Chart | undefined {
  const shown = runs.filter(run => run.latencyMs.length > 1)
  if (shown.length === 0) return undefined
  const single = shown.length === 1 && shown[0]!.latencyMs.length <= POINTS ? shown[0] : undefined
  const lines = shown.flatMap(run => {
    const points = slices(run)
    const line = (name: string, key: 'p50' | 'p99') => ({
      name: shown.length === 1 ? name : `${run.name} ${name}`,
      type: 'line' as const,
      showSymbol: false,
      data: points.map(point => [rounded(point.s), rounded(point[key])]),
    })
    return [line('p50', 'p50'), line('p99', 'p99')]
  })
  return {
    id: 'over-time',
    title: 'Latency over time',
    caption:
      'Median and p99 of the requests that arrived in each slice of time. Lines that rise to the end show a load that the pipeline cannot carry.',
    option: {
      ...frame(true),
      tooltip: { trigger: 'axis' },
      xAxis: axis('intended arrival, s after the start'),
      yAxis: axis('latency, ms'),
      series: [
        ...(single
          ? [
              {
                name: 'a request',
                type: 'scatter' as const,
                symbolSize: 3,
                itemStyle: { opacity: 0.35 },
                data: Array.from(single.latencyMs, (ms, i) => [rounded(single.arrivalS[i]!), rounded(ms)]),
              },
            ]
          : []),
        ...lines,
      ],
    },
  }
}
