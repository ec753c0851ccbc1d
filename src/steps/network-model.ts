import { architectureName } from '../../models/architecture.ts'
import { cutShape } from '../../models/shapes.ts'
import { createCpuExecutor } from '../compute/cpu.ts'
import type { NetworkExecutor } from '../compute/executor.ts'
import { UsageError } from '../errors.ts'
import type { TensorSpec } from '../queue/tensor.ts'
import type { NetworkOptions } from './network.ts'
import type { RunSettings, StepContext } from './step.ts'

/**
 * What layers `start_index..end_index` make of their input: the shape of one clip's output, and the most clips
 * in one call.
 * @throws {UsageError} if the input is not what the first of these layers takes
 */
export function describeNetwork(
  options: NetworkOptions,
  inputs: readonly TensorSpec[],
  settings: RunSettings,
): { output: number[]; maxClips: number } {
  const { architecture } = settings
  if (!architecture) throw new UsageError('no network is known for this pipeline')
  const { frames, size } = settings.clip
  const clip = { frames, height: size, width: size }
  const expected = cutShape(architecture, options.start_index - 1, clip)
  const [input, ...others] = inputs
  if (!input || others.length > 0)
    throw new UsageError(`a network takes one tensor, and ${inputs.length} arrive`)
  const arriving = input.shape.slice(1)
  if (arriving.join() !== expected.join())
    throw new UsageError(
      `layer ${options.start_index} of ${architectureName(architecture)} takes clips of ${expected.join(' x ')}, ` +
        `and clips of ${arriving.join(' x ')} arrive; check start_index here and end_index of the step before`,
    )
  return {
    output: cutShape(architecture, options.end_index, clip),
    maxClips: input.shape[0]! * settings.batch,
  }
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
