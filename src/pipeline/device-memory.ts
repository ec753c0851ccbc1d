import type { Network } from '../../models/network.ts'
import { networkBytes } from '../compute/cuda/memory-need.ts'
import { tensorBytes } from '../queue/tensor.ts'
import type { ClipOptions } from '../steps/clip-options.ts'
import { gpuClipShape } from '../steps/gpu-clips.ts'
import type { NetworkOptions } from '../steps/network.ts'
import type { RunSettings } from '../steps/step.ts'
import type { Instance, Plan } from './plan.ts'

/** Whether an instance runs layers of a network. */
export const computes = ({ steps }: Pick<Plan, 'steps'>, { step }: Instance): boolean =>
  ['network', 'single'].includes(steps[step]!.kind)

/** Bytes that an instance's output slots take of its device. */
export const slotBytesOf = ({ outputs, slots }: Instance): number =>
  outputs
    .filter(({ memory }) => memory === 'device')
    .reduce((sum, spec) => sum + slots * tensorBytes(spec), 0)

/** Bytes that the layers of an instance on a GPU take of it at the least, beside its slots: activations and weights. */
export function layerBytesOf(instance: Instance, network: Network, clip: RunSettings['clip']): number {
  const options = instance.options as NetworkOptions & ClipOptions
  const clips = instance.inputs[0]?.shape[0] ?? gpuClipShape(options)[0]!
  const { frames, size } = clip
  const { start_index: startIndex = 1, end_index: endIndex = 5, precision = 'fp16' } = options
  return networkBytes({
    network,
    startIndex,
    endIndex,
    frames,
    size,
    precision,
    maxClips: clips * instance.batch,
  })
}
