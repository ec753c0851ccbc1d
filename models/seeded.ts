import { type Architecture, LAYERS } from './architecture.ts'
import { tensorShapes } from './description.ts'
import { foldNetwork, type ReadTensor } from './fold.ts'
import { fillUniform, streamKey } from './hash-random.ts'
import type { Network } from './network.ts'

/**
 * He-initialised weights of an architecture: convolutions uniform with variance 2 / fan-in, the linear layer with
 * 1 / fan-in, biases 0, batch norms neutral. A tensor depends on its name and the seed alone: every range of layers,
 * on every machine, has the same.
 */
export function seededTensors(architecture: Architecture, seed: number): ReadTensor {
  const shapes = tensorShapes(architecture)
  return name => {
    const shape = shapes.get(name)!
    const values = new Float32Array(shape.reduce((product, n) => product * n, 1))
    if (shape.length > 1) {
      const fanIn = shape.slice(1).reduce((product, n) => product * n, 1)
      const bound = Math.sqrt((shape.length === 2 ? 3 : 6) / fanIn)
      return fillUniform(values, streamKey(name, seed), -bound, bound)
    }
    return /\.running_var$/.test(name) || isGamma(name, shapes) ? values.fill(1) : values
  }
}

/** A weight with one dimension is a batch norm's. */
const isGamma = (name: string, shapes: ReadonlyMap<string, readonly number[]>): boolean =>
  name.endsWith('.weight') && shapes.get(name)?.length === 1

/** What results call weights that were drawn from a seed. */
export const seededName = (seed: number): string => `random:${seed}`

/** A network, or a range of its layers, with weights drawn from a seed. */
export function seededNetwork(
  architecture: Architecture,
  seed: number,
  startIndex = 1,
  endIndex = LAYERS,
): Network {
  return foldNetwork(architecture, seededName(seed), seededTensors(architecture, seed), startIndex, endIndex)
}
