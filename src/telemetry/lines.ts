import * as v from 'valibot'
import type { Sample } from './sample.ts'

const reading = v.nullable(v.number())

/** A line of telemetry.jsonl: shares are 0..1, `pcie_*` bytes per second, `nvlink_*` and `energy_j` grow from the driver's start. */
export const telemetryLineSchema = v.object({
  /** Seconds after the start of the run. */
  s: v.number(),
  host: v.object({
    cpu: reading,
    process_cores: reading,
    resident_bytes: v.number(),
    available_bytes: v.number(),
  }),
  gpus: v.record(
    v.string(),
    v.object({
      sm: reading,
      memory: reading,
      decoder: reading,
      memory_used_bytes: reading,
      power_w: reading,
      energy_j: reading,
      temperature_c: reading,
      sm_mhz: reading,
      memory_mhz: reading,
      throttled: v.array(v.string()),
      pcie_tx_bytes_per_s: reading,
      pcie_rx_bytes_per_s: reading,
      nvlink_tx_bytes: reading,
      nvlink_rx_bytes: reading,
    }),
  ),
})
export type TelemetryLine = v.InferOutput<typeof telemetryLineSchema>

/** Samples as JSON Lines. */
export function telemetryLines(samples: readonly Sample[], startNs: number): string {
  return samples.map(sample => `${JSON.stringify(lineOf(sample, startNs))}\n`).join('')
}

function lineOf({ ns, host, gpus }: Sample, startNs: number): TelemetryLine {
  return {
    s: Math.round((ns - startNs) / 1e3) / 1e6,
    host: {
      cpu: host.cpu,
      process_cores: host.processCores,
      resident_bytes: host.residentBytes,
      available_bytes: host.availableBytes,
    },
    gpus: Object.fromEntries(
      Object.entries(gpus).map(([gpu, r]) => [
        `cuda:${gpu}`,
        {
          sm: r.sm,
          memory: r.memory,
          decoder: r.decoder,
          memory_used_bytes: r.memoryUsedBytes,
          power_w: r.powerW,
          energy_j: r.energyJ,
          temperature_c: r.temperatureC,
          sm_mhz: r.smMHz,
          memory_mhz: r.memoryMHz,
          throttled: r.throttled,
          pcie_tx_bytes_per_s: r.pcieTx,
          pcie_rx_bytes_per_s: r.pcieRx,
          nvlink_tx_bytes: r.nvlinkTxBytes,
          nvlink_rx_bytes: r.nvlinkRxBytes,
        },
      ]),
    ),
  }
}
