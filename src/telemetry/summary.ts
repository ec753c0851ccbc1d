import type { GpuReading } from '../../ffi/nvml-sensors.ts'
import type { TelemetrySummary } from '../results/schema.ts'
import { mean } from '../results/statistics.ts'
import type { Sample } from './sample.ts'

const rounded = (value: number): number => Number(value.toPrecision(6))

/** Mean and highest value of what was read; null if nothing was. */
function range(values: readonly (number | null)[]): { mean: number; max: number } | null {
  const known = values.filter(value => value !== null)
  if (known.length === 0) return null
  return { mean: rounded(mean(known)), max: rounded(Math.max(...known)) }
}

/** How far a counter came; null without two readings. */
function growth(values: readonly (number | null)[]): number | null {
  const known = values.filter(value => value !== null)
  return known.length < 2 ? null : rounded(known.at(-1)! - known[0]!)
}

/**
 * What sensors said of a run.
 * @param samples - those between its start and its end, in order
 * @param videos - results, for the energy of one
 */
export function summariseTelemetry(
  samples: readonly Sample[],
  periodMs: number,
  videos: number,
): TelemetrySummary {
  const gpus = [...new Set(samples.flatMap(({ gpus }) => Object.keys(gpus)))]
    .map(Number)
    .sort((a, b) => a - b)
  const energies: (number | null)[] = []
  const byGpu = gpus.map(gpu => {
    const readings = samples.map(sample => sample.gpus[gpu]).filter(reading => reading !== undefined)
    const of = (key: keyof GpuReading) => readings.map(reading => reading[key] as number | null)
    const energy = growth(of('energyJ'))
    energies.push(energy)
    return {
      device: `cuda:${gpu}`,
      sm: range(of('sm')),
      memory: range(of('memory')),
      decoder: range(of('decoder')),
      memory_used_bytes: range(of('memoryUsedBytes')),
      power_w: range(of('powerW')),
      energy_j: energy,
      temperature_c: range(of('temperatureC')),
      sm_mhz: range(of('smMHz')),
      memory_mhz: range(of('memoryMHz')),
      throttled: [...new Set(readings.flatMap(({ throttled }) => throttled))].sort(),
      pcie_tx_bytes_per_s: range(of('pcieTx')),
      pcie_rx_bytes_per_s: range(of('pcieRx')),
      nvlink_tx_bytes: growth(of('nvlinkTxBytes')),
      nvlink_rx_bytes: growth(of('nvlinkRxBytes')),
    }
  })
  const host = (key: keyof Sample['host']) => range(samples.map(sample => sample.host[key]))
  const known = energies.filter(energy => energy !== null)
  return {
    period_ms: periodMs,
    samples: samples.length,
    host: {
      cpu: host('cpu'),
      process_cores: host('processCores'),
      resident_bytes: host('residentBytes'),
    },
    gpus: byGpu,
    energy_j_per_video:
      known.length > 0 && known.length === energies.length && videos > 0
        ? rounded(known.reduce((sum, energy) => sum + energy, 0) / videos)
        : null,
  }
}
