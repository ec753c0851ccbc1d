import { arch, availableParallelism, cpus, release, totalmem, type } from 'node:os'
import type { SummaryLine } from './schema.ts'

/** What figures of this host depend on. */
export function hostFacts(): SummaryLine['host'] {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memory_bytes: totalmem(),
    kernel: `${type()} ${release()}`,
    arch: arch(),
  }
}
