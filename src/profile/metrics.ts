import type { Counters } from './schema.ts'

/** Names of the metrics, as Nsight Compute has them; all are percentages, but for the time in ns. */
export const METRICS = {
  occupancy: 'sm__warps_active.avg.pct_of_peak_sustained_active',
  tensor: 'sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active',
  dram: 'dram__throughput.avg.pct_of_peak_sustained_elapsed',
  ns: 'gpu__time_duration.sum',
} as const

/** A launch's counters, as `rnb profile-counters` says them. */
export interface LaunchCounters {
  name: string
  how: string
  counters: Counters
}

/** What one launch comes to, of the metrics' values of each of its kernels: these weigh as much as they take. */
export function countersOfKernels(kernels: readonly (readonly number[])[]): Counters | undefined {
  const names = Object.keys(METRICS) as (keyof typeof METRICS)[]
  const at = (values: readonly number[], name: keyof typeof METRICS) => values[names.indexOf(name)]!
  const ns = kernels.reduce((sum, values) => sum + at(values, 'ns'), 0)
  if (!(ns > 0)) return undefined
  const mean = (name: keyof Counters) =>
    kernels.reduce((sum, values) => sum + at(values, name) * at(values, 'ns'), 0) / ns / 100
  return { occupancy: mean('occupancy'), tensor: mean('tensor'), dram: mean('dram') }
}
