import { cudaDriver } from '../../ffi/cuda/driver.ts'
import type { Host } from './devices.ts'

/** What this host offers to a plan. A driver that is there and does not work is an error, not a CPU. */
export function detectHost(): Host {
  const driver = cudaDriver()
  return { driver: driver !== undefined, gpus: driver?.devices.length ?? 0 }
}
