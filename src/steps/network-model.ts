import { architectureName, LAYERS } from '../../models/architecture.ts'
import { cutShape } from '../../models/shapes.ts'
import { createCpuExecutor } from '../compute/cpu.ts'
import { clipLayout } from '../compute/cuda/layout.ts'
import type { NetworkExecutor } from '../compute/executor.ts'
import { UsageError } from '../errors.ts'
import type { TensorSpec } from '../queue/tensor.ts'
import type { NetworkOptions } from './network.ts'
import { CPU, type RunSettings, type StepContext, type StepPlace } from './step.ts'

/** A cut's clips in a GPU's memory: [frames, height, width, channels], padded. */
function deviceShape(shape: readonly number[], type: 'f16' | 'f32'): number[] {
  const { frames, height, width, padded } = clipLayout(shape, type)
  return [frames, height, width, padded]
}

/**
 * What layers `start_index..end_index` make of their input, for the most clips of one call: logits in the host's
 * memory, or features, which stay on the GPU where the step has one.
 * @throws {UsageError} if the input is not what the first of these layers takes
 */
export function describeNetwork(
  options: NetworkOptions,
  inputs: readonly TensorSpec[],
  settings: RunSettings,
  { device, resident }: StepPlace,
): TensorSpec {
  const { architecture } = settings
  if (!architecture) throw new UsageError('no network is known for this pipeline')
  const { frames, size } = settings.clip
  const clip = { frames, height: size, width: size }
  const [input, ...others] = inputs
  if (!input || others.length > 0)
    throw new UsageError(`a network takes one tensor, and ${inputs.length} arrive`)
  const cut = cutShape(architecture, options.start_index - 1, clip)
  const expected = input.memory === 'device' ? deviceShape(cut, input.type) : cut
  const arriving = input.shape.slice(1)
  if (arriving.join() !== expected.join())
    throw new UsageError(
      `layer ${options.start_index} of ${architectureName(architecture)} takes clips of ${expected.join(' x ')}, ` +
        `and clips of ${arriving.join(' x ')} arrive; check start_index here and end_index of the step before`,
    )
  const maxClips = input.shape[0]! * settings.batch
  const output = cutShape(architecture, options.end_index, clip)
  if (device === CPU || options.end_index === LAYERS) return { shape: [maxClips, ...output], type: 'f32' }
  if (!resident)
    throw new UsageError(
      `features of layer ${options.end_index} stay on the GPU: the step after it must run on GPUs too`,
    )
  const type = options.precision === 'fp16' ? 'f16' : 'f32'
  return { shape: [maxClips, ...deviceShape(output, type)], type, memory: 'device' }
}

/** The executor of a network step's layers, for its planned input (or that of `inputs`). */
export function createExecutor(
  context: StepContext,
  inputs: readonly TensorSpec[] = context.inputs,
): NetworkExecutor {
  const options = context.options as NetworkOptions
  const { settings } = context
  if (!settings.network) throw new Error(`${context.name}: the run has no network`)
  return createCpuExecutor({
    network: settings.network,
    startIndex: options.start_index,
    endIndex: options.end_index,
    frames: settings.clip.frames,
    size: settings.clip.size,
    maxClips: inputs[0]!.shape[0]! * context.batch,
    threads: options.threads ?? settings.threads,
  })
}
