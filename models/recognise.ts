import { UsageError } from '../src/errors.ts'
import {
  type Architecture,
  architectureName,
  type Layout,
  makeArchitecture,
  R2PLUS1D_18,
} from './architecture.ts'
import type { Tensor } from './checkpoint/tensor.ts'
import { describe, tensorShapes } from './description.ts'

/** What a checkpoint turned out to hold. */
export interface Recognised {
  readonly architecture: Architecture
  /** What stands before every name in the checkpoint: `module.`, or nothing. */
  readonly prefix: string
  /** Name in the checkpoint of each tensor that the architecture needs. */
  readonly rename: ReadonlyMap<string, string>
}

type Shapes = ReadonlyMap<string, Pick<Tensor, 'shape'>>

const LAYOUTS: readonly Layout[] = ['torchvision', 'r2plus1d-pytorch']
const SHOWN = 5

/** Counters that batch norms keep while they are trained. */
const IGNORED = /(^|\.)num_batches_tracked$/

/** Where each layout keeps what its sizes can be read from. */
const stemOf = (layout: Layout) => describe(makeArchitecture({ layout }))[0]!.convolutions

/**
 * The layout whose first tensor is there, and what stands before its name: `module.`, as DataParallel leaves it, or
 * whatever else the network was wrapped in.
 */
function findLayout(names: Iterable<string>): { layout: Layout; prefix: string } | undefined {
  const known = LAYOUTS.map(layout => ({ layout, marker: `${stemOf(layout)[0]!.tensor}.weight` }))
  for (const name of names) {
    for (const { layout, marker } of known) {
      const prefix = name.slice(0, name.length - marker.length)
      if (name.endsWith(marker) && (prefix === '' || prefix.endsWith('.'))) return { layout, prefix }
    }
  }
  return undefined
}

/** Sizes as the tensors have them, the usual ones where they say nothing: `differences` tells the rest. */
function measure(layout: Layout, shapeOf: (name: string) => readonly number[] | undefined): Architecture {
  const sizes = (name: string, rank: number): readonly number[] | undefined => {
    const shape = shapeOf(name)
    return shape?.length === rank && shape.every(n => n > 0) ? shape : undefined
  }
  const [spatial, temporal] = stemOf(layout)
  const usual = makeArchitecture({ layout })
  const first = sizes(`${spatial!.tensor}.weight`, 5)
  const width = (stage: number) => {
    const layer = describe(usual)[stage + 1]!
    const last = layer.convolutions.findLast(c => c.name === `stage${stage + 1}.0.conv1.temporal`)!
    return sizes(`${last.tensor}.weight`, 5)?.[0] ?? usual.widths[stage]!
  }
  const blocks = (stage: number) => {
    let count = 0
    const tensor = (block: number) => {
      const counts = usual.blocks.map((n, i) =>
        i === stage ? block + 1 : n,
      ) as unknown as Architecture['blocks']
      const name = `stage${stage + 1}.${block}.conv1.spatial`
      const layers = describe(makeArchitecture({ layout, blocks: counts }))
      return layers[stage + 1]!.convolutions.find(c => c.name === name)!.tensor
    }
    while (shapeOf(`${tensor(count)}.weight`)) count++
    return count || usual.blocks[stage]!
  }
  const linear = describe(usual).at(-1)!.linear!
  const stemWidth = sizes(`${temporal!.tensor}.weight`, 5)?.[0] ?? usual.widths[0]
  return makeArchitecture({
    layout,
    blocks: [blocks(0), blocks(1), blocks(2), blocks(3)],
    widths: [stemWidth, width(1), width(2), width(3)],
    stemMid: first?.[0],
    inputChannels: first?.[1],
    classes: sizes(`${linear.tensor}.weight`, 2)?.[0],
  })
}

const text = (shape: readonly number[]): string => `[${shape.join(', ')}]`

/** What keeps these tensors from being an architecture's, one sentence each. */
function differences(architecture: Architecture, tensors: Shapes, prefix: string): string[] {
  const expected = tensorShapes(architecture)
  const missing: string[] = []
  const wrong: string[] = []
  for (const [name, shape] of expected) {
    const found = tensors.get(prefix + name)?.shape
    if (!found) missing.push(`missing ${prefix}${name} ${text(shape)}`)
    else if (found.join() !== shape.join())
      wrong.push(`${prefix}${name} is ${text(found)}, not ${text(shape)}`)
  }
  const unexpected = [...tensors]
    .filter(([name]) => !IGNORED.test(name))
    .filter(([name]) => !(name.startsWith(prefix) && expected.has(name.slice(prefix.length))))
    .map(([name, { shape }]) => `unexpected ${name} ${text(shape)}`)
  // A few of each kind first: they say different things of what the file is.
  const kinds = [wrong, missing, unexpected]
  const first = kinds.flatMap(list => list.slice(0, 2))
  return [...first, ...kinds.flatMap(list => list.slice(2))]
}

/**
 * Finds the layout, depth, widths and classes of a checkpoint's tensors.
 * @throws {UsageError} naming the first differences if they are no R(2+1)D in one of the two layouts
 */
export function recognise(checkpoint: { path: string; tensors: ReadonlyMap<string, Tensor> }): Recognised {
  const { path, tensors } = checkpoint
  const found = findLayout(tensors.keys())
  const prefix = found?.prefix ?? ''
  const architecture = found ? measure(found.layout, name => tensors.get(prefix + name)?.shape) : R2PLUS1D_18
  const list = differences(architecture, tensors, prefix)
  if (list.length > 0) {
    const rest = list.length > SHOWN ? `; and ${list.length - SHOWN} more` : ''
    const what = found
      ? `not a whole ${architectureName(architecture)}`
      : `no R(2+1)D network in the layout of torchvision or R2Plus1D-PyTorch (compared with ${architectureName(architecture)})`
    throw new UsageError(`weights ${path}: ${what}: ${list.slice(0, SHOWN).join('; ')}${rest}`)
  }
  const names = [...tensorShapes(architecture).keys()]
  return { architecture, prefix, rename: new Map(names.map(name => [name, prefix + name])) }
}
