import type { ReportRun } from '../run.ts'
import { axis, type Chart, frame, rounded } from './chart.ts'

/** How much was asked of a run. */
function loadOf({ offeredPerS, flags }: ReportRun): string {
  if (offeredPerS !== null) return `${rounded(offeredPerS, 3)}/s`
  return typeof flags.concurrency === 'number' ? `${flags.concurrency} in flight` : 'in bulk'
}

/** Where the latency goes: a bar a run, by rising load, of the stages' means. */
export function stageShares(runs: readonly ReportRun[]): Chart | undefined {
  const shown = runs
    .filter(run => run.stages.length > 0)
    .sort((a, b) => (a.offeredPerS ?? Number.POSITIVE_INFINITY) - (b.offeredPerS ?? Number.POSITIVE_INFINITY))
  if (shown.length === 0) return undefined
  const names = [...new Set(shown.flatMap(run => run.stages.map(({ name }) => name)))]
  const label = (run: ReportRun): string => {
    return shown.length === 1 ? loadOf(run) : `${run.name}\n${loadOf(run)}`
  }
  return {
    id: 'stages',
    title: 'Where the latency goes',
    caption:
      'Mean time of each stage of a request, by rising load: on queues, waiting for a batch, and at work.',
    option: {
      ...frame(true),
      tooltip: { trigger: 'axis', axisPointer: { type: 'shadow' } },
      xAxis: {
        ...axis('offered load', 'category'),
        data: shown.map(label),
        axisLabel: { interval: 0, lineHeight: 15 },
      },
      yAxis: axis('mean time, ms'),
      series: names.map(name => ({
        name,
        type: 'bar' as const,
        stack: 'latency',
        barMaxWidth: 90,
        data: shown.map(run => rounded(run.stages.find(stage => stage.name === name)?.ms ?? 0)),
      })),
    },
  }
}
