import type { ReportRun, Wait } from '../run.ts'
import { axis, type Chart, frame, rounded } from './chart.ts'

const SLICES = 200

/**
 * The most that waited at once in each slice of time, from when each began and ended to wait.
 * @param end - of the last slice, in the waits' unit
 */
export function depthsOf(waits: readonly Wait[], end: number, slices = SLICES): number[] {
  const events = waits.flatMap(({ from, to }) =>
    to > from
      ? [
          { at: from, change: 1 },
          { at: to, change: -1 },
        ]
      : [],
  )
  // One that leaves makes room for one that comes at the same time.
  events.sort((a, b) => a.at - b.at || a.change - b.change)
  const most = new Array<number>(slices).fill(0)
  let depth = 0
  let next = 0
  for (let slice = 0; slice < slices; slice++) {
    const from = (slice * end) / slices
    const until = ((slice + 1) * end) / slices
    while (next < events.length && events[next]!.at <= from) depth += events[next++]!.change
    most[slice] = depth
    while (next < events.length && events[next]!.at < until) {
      depth += events[next++]!.change
      most[slice] = Math.max(most[slice]!, depth)
    }
  }
  return most
}

/** Completed requests that waited before each step, of the run that comes first. */
export function queueDepths(runs: readonly ReportRun[]): Chart | undefined {
  const run = runs.find(({ waits }) => waits.length > 0)
  if (!run) return undefined
  const end = run.waits.reduce((most, { waits }) => waits.reduce((m, { to }) => Math.max(m, to), most), 0)
  return {
    id: 'depths',
    title: runs.length === 1 ? 'Waiting before each step' : `Waiting before each step: ${run.name}`,
    caption:
      'Requests, or parts of them, that waited before each step: the most in each slice of time. Only those that were completed count.',
    option: {
      ...frame(true),
      tooltip: { trigger: 'axis' },
      xAxis: axis('s after the start'),
      yAxis: { ...axis('waiting'), minInterval: 1 },
      series: run.waits.map(({ name, waits }) => ({
        name,
        type: 'line' as const,
        step: 'end' as const,
        showSymbol: false,
        data: depthsOf(waits, end).map((depth, i) => [rounded((i * end) / SLICES), depth]),
      })),
    },
  }
}
