import type { ReportRun } from '../run.ts'
import type { Chart, MakeChart } from './chart.ts'
import { queueDepths } from './depths.ts'
import { latencyHistogram } from './histogram.ts'
import { latencyOverTime } from './over-time.ts'
import { paretoChart } from './pareto.ts'
import { percentilePlot } from './percentiles.ts'
import { stageShares } from './stages.ts'
import { throughputAgainstLoad } from './throughput.ts'
import { hardwareUse } from './use.ts'

/** In the order of a report. */
const CHARTS: readonly MakeChart[] = [
  latencyHistogram,
  percentilePlot,
  latencyOverTime,
  stageShares,
  throughputAgainstLoad,
  paretoChart,
  queueDepths,
  hardwareUse,
]

/** The charts that these runs have something to show in. */
export const makeCharts = (runs: readonly ReportRun[]): Chart[] =>
  CHARTS.map(make => make(runs)).filter(chart => chart !== undefined)
