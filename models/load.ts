import { UsageError } from '../src/errors.ts'
import { type Architecture, architectureName, LAYERS, makeArchitecture } from './architecture.ts'
import { type Checkpoint, loadCheckpoint } from './checkpoint/load.ts'
import { toFloat32 } from './checkpoint/tensor.ts'
import { foldNetwork } from './fold.ts'
import type { Network } from './network.ts'
import { type Recognised, recognise } from './recognise.ts'
import { seededName, seededNetwork } from './seeded.ts'

/** Where a network comes from. */
export interface NetworkSource {
  /** Checkpoint file; without one the weights are drawn from the seed. */
  weights?: string
  seed: number
  /** What is asked of the network: without a checkpoint it is made so, with one it must be so. */
  architecture?: Partial<Pick<Architecture, 'layout' | 'blocks' | 'widths' | 'classes' | 'inputChannels'>>
}

function checkAsked(path: string, found: Architecture, asked: NetworkSource['architecture'] = {}): void {
  for (const key of ['layout', 'blocks', 'widths', 'classes', 'inputChannels'] as const) {
    const want = asked[key]
    if (want === undefined || String(want) === String(found[key])) continue
    throw new UsageError(
      `weights ${path}: holds ${architectureName(found)}, with ${key} ${found[key]}, where ${want} is asked for`,
    )
  }
}

/** The layers of a checkpoint's network, folded. @throws {UsageError} if a tensor is not of real numbers, or damaged */
export function checkpointNetwork(
  checkpoint: Checkpoint,
  { architecture, rename }: Recognised,
  startIndex = 1,
  endIndex = LAYERS,
): Network {
  const read = (name: string): Float32Array => {
    const inFile = rename.get(name)!
    const tensor = checkpoint.tensors.get(inFile)!
    const values = toFloat32(tensor)
    if (values) return values
    throw new UsageError(
      `weights ${checkpoint.path}: ${inFile} is of ${tensor.dtype}, where weights are floats`,
    )
  }
  return foldNetwork(architecture, checkpoint.path, read, startIndex, endIndex)
}

/**
 * What a network is, without reading its weights.
 * @throws {UsageError} if the checkpoint is none, or another network than asked for
 */
export function networkArchitecture(source: NetworkSource): { architecture: Architecture; weights: string } {
  const { weights, seed } = source
  if (weights === undefined)
    return { architecture: makeArchitecture(source.architecture), weights: seededName(seed) }
  const checkpoint = loadCheckpoint(weights)
  try {
    const { architecture } = recognise(checkpoint)
    checkAsked(weights, architecture, source.architecture)
    return { architecture, weights }
  } finally {
    checkpoint.close()
  }
}

/**
 * Layers `startIndex` to `endIndex` of a network, from a checkpoint or from the seed. Its weights are in shared memory:
 * sent to another thread, they are not copied.
 * @throws {UsageError} if the checkpoint is none, damaged, or another network than asked for
 */
export function loadNetwork(source: NetworkSource, startIndex = 1, endIndex = LAYERS): Network {
  const { weights, seed } = source
  if (weights === undefined) {
    return seededNetwork(makeArchitecture(source.architecture), seed, startIndex, endIndex)
  }
  const checkpoint = loadCheckpoint(weights)
  try {
    const recognised = recognise(checkpoint)
    checkAsked(weights, recognised.architecture, source.architecture)
    return checkpointNetwork(checkpoint, recognised, startIndex, endIndex)
  } finally {
    checkpoint.close()
  }
}
