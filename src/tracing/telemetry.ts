import type { Sample } from '../telemetry/sample.ts'
import type { Counter } from './events.ts'

type Reading = number | null | undefined

const HOST: readonly [string, (sample: Sample) => Reading][] = [
  ['host: cores of this process', ({ host }) => host.processCores],
  ['host: share of cores busy', ({ host }) => host.cpu],
  ['host: resident MiB', ({ host }) => host.residentBytes / 2 ** 20],
]

const GPU: readonly [string, (gpu: Sample['gpus'][number]) => Reading][] = [
  ['SM use', gpu => gpu.sm],
  ['decoder use', gpu => gpu.decoder],
  ['memory use', gpu => gpu.memory],
  ['power in W', gpu => gpu.powerW],
  ['SM clock in MHz', gpu => gpu.smMHz],
]

/** What sensors read, as counters of a trace; readings that there were not are left out. */
export function countersOf(samples: readonly Sample[]): Counter[] {
  const gpus = [...new Set(samples.flatMap(sample => Object.keys(sample.gpus).map(Number)))]
  const counter = (name: string, read: (sample: Sample) => Reading): Counter => ({
    name,
    points: samples.flatMap(sample => {
      const value = read(sample)
      return value === null || value === undefined ? [] : [[sample.ns, value] as const]
    }),
  })
  return [
    ...HOST.map(([name, read]) => counter(name, read)),
    ...gpus.flatMap(gpu =>
      GPU.map(([name, read]) =>
        counter(`cuda:${gpu}: ${name}`, ({ gpus: all }) => (all[gpu] ? read(all[gpu]) : undefined)),
      ),
    ),
  ]
}
