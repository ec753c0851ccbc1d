import type { Architecture } from '../../models/architecture.ts'
import { tensorShapes } from '../../models/description.ts'
import { foldNetwork } from '../../models/fold.ts'
import type { Network } from '../../models/network.ts'
import { computes, layerBytesOf } from '../pipeline/device-memory.ts'
import type { Plan } from '../pipeline/plan.ts'
import { CPU, type Device } from '../steps/step.ts'
import type { Surroundings } from './plan-of.ts'
import type { PipelineFile } from './types.ts'

/** A network of the right sizes, with nothing in it. */
function hollow(architecture: Architecture): Network {
  const shapes = tensorShapes(architecture)
  const read = (name: string) => new Float32Array(shapes.get(name)!.reduce((product, n) => product * n, 1))
  return foldNetwork(architecture, 'none', read)
}

/**
 * Counts what the networks of plans take of each GPU at the least: activations and weights of each instance. What was counted
 * before is not counted again.
 */
export function networkMemory(
  networks: NonNullable<Surroundings['networks']>,
): (config: PipelineFile, plan: Plan) => Map<Device, number> {
  const made = new Map<string, Network>()
  const counted = new Map<string, number>()
  const networkOf = (architecture: Architecture): Network => {
    const text = JSON.stringify(architecture)
    if (!made.has(text)) made.set(text, hollow(architecture))
    return made.get(text)!
  }
  return (config, plan) => {
    const bytes = new Map<Device, number>()
    const onGpus = plan.instances.filter(instance => instance.device !== CPU && computes(plan, instance))
    if (onGpus.length === 0) return bytes
    const { networks: known, clip } = networks(config)
    for (const instance of onGpus) {
      const { device, step, inputs, options, batch } = instance
      const architecture = known?.architectures[plan.steps[step]!.network ?? -1]
      if (!architecture) continue
      const key = JSON.stringify([architecture, inputs[0]?.shape, options, batch, clip])
      if (!counted.has(key)) counted.set(key, layerBytesOf(instance, networkOf(architecture), clip))
      bytes.set(device, (bytes.get(device) ?? 0) + counted.get(key)!)
    }
    return bytes
  }
}
