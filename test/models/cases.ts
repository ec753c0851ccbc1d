import { type Architecture, makeArchitecture } from '../../models/architecture.ts'
import { tensorShapes } from '../../models/description.ts'
import type { ReadTensor } from '../../models/fold.ts'
import { fillUniform, streamKey } from '../../models/hash-random.ts'
import { elements } from '../../src/queue/tensor.ts'
import fixture from './fixtures/logits.fixture.json' with { type: 'json' }

/** Values that torch computed: every `step`th of a tensor. */
export interface Sampled {
  shape: number[]
  step: number
  values: number[]
}

/** A network and clips, made from a seed by both sides, and what torch computed (test/models/torch). */
export interface Case {
  name: string
  layout: Architecture['layout']
  blocks: Architecture['blocks']
  widths: Architecture['widths']
  classes: number
  clips: number
  frames: number
  size: number
  seed: number
  /** After layers 1 to 4. */
  features: Sampled[]
  logits: number[][]
}

export const VERSIONS = fixture.versions
export const CASES = fixture.cases as unknown as Case[]

export const caseNamed = (name: string): Case => CASES.find(c => c.name === name)!

export const architectureOf = ({ layout, blocks, widths, classes }: Case): Architecture =>
  makeArchitecture({ layout, blocks, widths, classes })

/** Between what a tensor's values lie; `bounds` of hash_random.py. */
function bounds(name: string, shape: readonly number[]): [number, number] {
  if (shape.length > 1) {
    const bound = Math.sqrt((shape.length === 2 ? 3 : 6) / elements(shape.slice(1)))
    return [-bound, bound]
  }
  if (name.endsWith('running_var') || name.endsWith('weight')) return [0.5, 1.5]
  return name.endsWith('running_mean') ? [-0.5, 0.5] : [-0.2, 0.2]
}

/** The tensors of a case, batch-norm statistics included. */
export function caseTensors({ seed, ...rest }: Case): ReadTensor {
  const shapes = tensorShapes(architectureOf({ seed, ...rest }))
  return name => {
    const shape = shapes.get(name)!
    return fillUniform(new Float32Array(elements(shape)), streamKey(name, seed), ...bounds(name, shape))
  }
}

export function caseClips({ clips, frames, size, seed }: Case): Float32Array {
  return fillUniform(new Float32Array(clips * 3 * frames * size * size), streamKey('input', seed), -2, 2)
}

/** |a - b| / |b|, by Euclidean norms. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0
  let norm = 0
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2
    norm += b[i]! ** 2
  }
  return a.length === b.length ? Math.sqrt(difference / norm) : Number.NaN
}
