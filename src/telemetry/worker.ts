import { parentPort } from 'node:worker_threads'
import { monotonicNs } from '../../ffi/libc.ts'
import { GpuSensors } from '../../ffi/nvml-sensors.ts'
import { HostSensors } from './host.ts'
import type { Sample } from './sample.ts'

export interface TelemetryData {
  role: 'telemetry'
  periodMs: number
  /** UUID of each GPU, by the pipeline's numbers. */
  gpus: Record<number, string>
}

/** What the sampler says. */
export type TelemetryMessage = { type: 'sample'; sample: Sample } | { type: 'problem'; message: string }

/**
 * A thread that reads sensors until it is told to stop: reading some takes milliseconds, which neither the main thread
 * nor a runner has.
 */
export function runTelemetry({ periodMs, gpus }: TelemetryData): Promise<void> {
  const say = (message: TelemetryMessage) => parentPort!.postMessage(message)
  const host = new HostSensors()
  const sensors = Object.entries(gpus).flatMap(([gpu, uuid]) => {
    try {
      return [{ gpu, sensors: new GpuSensors(uuid) }]
    } catch (error) {
      say({
        type: 'problem',
        message: `gpu ${gpu}: ${error instanceof Error ? error.message : String(error)}`,
      })
      return []
    }
  })
  const read = () => {
    const readings = Object.fromEntries(sensors.map(({ gpu, sensors }) => [gpu, sensors.read()]))
    say({ type: 'sample', sample: { ns: monotonicNs(), host: host.read(), gpus: readings } })
  }
  return new Promise(resolve => {
    read()
    const timer = setInterval(read, periodMs)
    parentPort!.once('message', () => {
      clearInterval(timer)
      read()
      resolve()
    })
  })
}
