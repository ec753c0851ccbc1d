import type { GpuReading } from '../../ffi/nvml-sensors.ts'

/** What the host does at one moment. */
export interface HostReading {
  /** Share of all cores' time that was busy since the reading before, 0..1; null at the first. */
  cpu: number | null
  /** Cores that this process kept busy since the reading before. */
  processCores: number | null
  /** Memory of this process in main memory. */
  residentBytes: number
  /** Memory that other programs could still have. */
  availableBytes: number
}

/** All readings of one moment. */
export interface Sample {
  /** Nanoseconds of the monotonic clock. */
  ns: number
  host: HostReading
  /** By the pipeline's numbers of GPUs. */
  gpus: Record<number, GpuReading>
}
