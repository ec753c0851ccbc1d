import type { TelemetryLine } from '../../telemetry/lines.ts'
import type { ReportRun } from '../run.ts'
import { axis, type Chart, frame, rounded } from './chart.ts'

type Read = (line: TelemetryLine) => number | null | undefined

/** What is drawn of each GPU, in shares. */
const OF_GPU = [
  ['kernels', 'sm'],
  ['decoders', 'decoder'],
] as const

/** How busy the host's cores, the GPUs and their decoders were, of the first run that was watched. */
export function hardwareUse(runs: readonly ReportRun[]): Chart | undefined {
  const run = runs.find(({ telemetry }) => telemetry.length > 1)
  if (!run) return undefined
  const gpus = Object.keys(run.telemetry[0]!.gpus)
  const lines: [string, Read][] = [
    ['host cores', ({ host }) => host.cpu],
    ...gpus.flatMap(gpu =>
      OF_GPU.map(([name, key]): [string, Read] => [`${gpu} ${name}`, line => line.gpus[gpu]?.[key]]),
    ),
  ]
  const series = lines.flatMap(([name, read]) => {
    const data = run.telemetry.flatMap(line => {
      const share = read(line)
      return typeof share === 'number' ? [[rounded(line.s), rounded(100 * share)]] : []
    })
    return data.length === 0 ? [] : [{ name, type: 'line' as const, showSymbol: false, data }]
  })
  return {
    id: 'use',
    title: runs.length === 1 ? 'Load of the hardware' : `Load of the hardware: ${run.name}`,
    caption:
      'Share of the time in which each was busy. What is near 100 % all the time is what limits the run.',
    option: {
      ...frame(true),
      tooltip: { trigger: 'axis' },
      xAxis: axis('s after the start'),
      yAxis: { ...axis('busy, %'), min: 0, max: 100 },
      series,
    },
  }
}
