import { planArena } from './arena.ts'
import { clipCounts } from './clip-counts.ts'
import type { ExecutorPlan } from './executor.ts'
import { BYTES, elementType } from './layout.ts'
import { lifetimes, makeProgram } from './program.ts'

/**
 * Device memory that layers of a network take at the least, whatever computes them: activations and weights.
 * @throws {UsageError} for layers that the network does not have, or clips too small for them
 */
export function networkBytes(
  plan: Pick<
    ExecutorPlan,
    'network' | 'startIndex' | 'endIndex' | 'frames' | 'size' | 'precision' | 'maxClips'
  >,
): number {
  const { network, startIndex, endIndex, frames, size, precision, maxClips } = plan
  const clip = { frames, height: size, width: size }
  const program = makeProgram(network, startIndex, endIndex, clip, precision)
  const activations = planArena(lifetimes(program, clipCounts(maxClips).at(-1)!)).bytes
  const element = BYTES[elementType(precision)]
  let weights = 0
  for (const operation of program.operations)
    if (operation.kind === 'convolution') weights += element * operation.convolution.weight.length
  return activations + weights
}
