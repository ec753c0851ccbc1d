import { UsageError } from '../errors.ts'
import { CPU, type Device } from '../steps/step.ts'
import type { Config } from './config.ts'

/** `auto`: the configuration's GPUs, or the CPU where there is no NVIDIA driver. */
export type DeviceChoice = 'cpu' | 'cuda' | 'auto'

/** What the host offers. */
export interface Host {
  /** CUDA devices that are visible. */
  gpus: number
  /** Whether an NVIDIA driver is installed. */
  driver: boolean
}

export const deviceName = (device: Device): string => (device === CPU ? 'cpu' : `gpu ${device}`)

export interface Placement {
  /** Where an entry of `gpus` runs. */
  place(gpu: Device): Device
  /** What people should hear of it. */
  note?: string
}

/**
 * Applies a choice of device to the GPUs that a configuration names.
 * @throws {UsageError} naming a GPU that is not there, and how many are
 */
export function placement(config: Config, choice: DeviceChoice, host: Host): Placement {
  const wanted = config.steps.flatMap((step, s) =>
    step.groups.flatMap((group, g) =>
      group.gpus.map((gpu, i) => ({ gpu, at: `pipeline[${s}].queue_groups[${g}].gpus[${i}]` })),
    ),
  )
  const named = wanted.filter(({ gpu }) => gpu !== CPU)
  const onCpu: Placement = { place: () => CPU }
  if (choice === 'cpu') return onCpu
  if (choice === 'auto' && !host.driver) {
    if (named.length === 0) return onCpu
    return { ...onCpu, note: 'no NVIDIA driver was found: everything runs on the CPU' }
  }
  if (choice === 'auto' && named.length === 0) return onCpu

  const have = host.gpus === 1 ? 'there is 1 GPU' : `there are ${host.gpus} GPUs`
  const instead = 'use --device cpu, or a configuration with other GPUs'
  if (!host.driver) throw new UsageError('no NVIDIA driver was found: install it, or use --device cpu')
  const missing = named.filter(({ gpu }) => gpu >= host.gpus)
  if (missing.length > 0) {
    const { at, gpu } = missing[0]!
    const list = [...new Set(missing.map(other => other.gpu))].sort((a, b) => a - b)
    const others = list.length > 1 ? ` (missing: ${list.join(', ')})` : ''
    throw new UsageError(`${config.file ?? config.name}: ${at} is ${gpu}, but ${have}${others}; ${instead}`)
  }
  // Asked for in so many words, a configuration that names the CPU alone moves as a whole.
  if (named.length > 0) return { place: gpu => gpu }
  if (host.gpus === 0) throw new UsageError(`--device cuda, but ${have}; ${instead}`)
  return { place: () => 0 }
}
