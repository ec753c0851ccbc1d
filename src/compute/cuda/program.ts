import type { FusedConvolution, Quad } from '../../../ffi/cudnn/graph.ts'
import type { Convolution, Linear, Network } from '../../../models/network.ts'
import { type ClipSize, convolvedSize, cutShape, layerRange } from '../../../models/shapes.ts'
import type { Lifetime } from './arena.ts'
import {
  type ClipLayout,
  clipBytes,
  clipLayout,
  elementType,
  type Precision,
  paddedChannels,
} from './layout.ts'

/** A convolution, as one in two dimensions over a view of its input. */
export interface ConvolutionOperation {
  readonly kind: 'convolution'
  readonly convolution: Convolution
  readonly input: string
  readonly output: string
  readonly residual?: string
  /** What cuDNN is asked for, for so many clips. */
  problem(clips: number): FusedConvolution
}

/** Takes every `step`th place along frames, rows and columns. */
export interface PickOperation {
  readonly kind: 'pick'
  readonly input: string
  readonly output: string
  readonly step: readonly [number, number, number]
}

export type Operation = ConvolutionOperation | PickOperation

/** Channels that a value of so many is stored with. */
export type Padding = (channels: number) => number

/** Layers of a network as operations in order, and the values between them. */
export interface Program {
  readonly operations: readonly Operation[]
  /** How each value lies in memory, by name: `cut0`, `stem.spatial`... */
  readonly values: ReadonlyMap<string, ClipLayout>
  readonly input: string
  /** The last value that a convolution makes. */
  readonly output: string
  /** What follows the mean over places, after the fifth layer. */
  readonly linear?: Linear
}

/**
 * The convolution over a view of dense features: 1 x k x k over clips times frames, or k x 1 x 1 over frames and places.
 * @returns undefined for one that is neither, as it steps along time and space
 */
function viewOf(
  c: Convolution,
  input: ClipLayout,
  paddedOut: number,
): ((clips: number) => FusedConvolution) | undefined {
  const { frames, height, width, padded, type } = input
  const [kt, kh, kw] = c.kernel
  const [stepT, stepH, stepW] = c.stride
  const [padT, padH, padW] = c.padding
  const common = { type, bias: true, residual: c.residual !== undefined, relu: c.relu }
  const filter = (h: number, w: number): Quad => [paddedOut, padded, h, w]
  if (kt === 1 && stepT === 1)
    return clips => ({
      ...common,
      input: [clips * frames, padded, height, width],
      filter: filter(kh, kw),
      stride: [stepH, stepW],
      padding: [padH, padW],
    })
  if (kh === 1 && kw === 1 && stepH === 1 && stepW === 1)
    return clips => ({
      ...common,
      input: [clips, padded, frames, height * width],
      filter: filter(kt, 1),
      stride: [stepT, 1],
      padding: [padT, 0],
    })
  return undefined
}

/**
 * The operations of one convolution: one, or two where it steps along time and space (1 x 1 x 1, in torchvision's
 * shortcuts): the places that it takes are picked first. cuDNN could be given strides that skip the others, but takes
 * ten times as long then.
 */
function operationsOf(c: Convolution, values: Map<string, ClipLayout>, padding: Padding): Operation[] {
  const from = values.get(c.input)!
  const size = convolvedSize(c, [from.frames, from.height, from.width])
  const to = { ...clipLayout([c.channelsOut, ...size], from.type), padded: padding(c.channelsOut) }
  values.set(c.output, to)
  const { residual } = c
  const view = viewOf(c, from, to.padded)
  if (view)
    return [
      { kind: 'convolution', convolution: c, input: c.input, output: c.output, residual, problem: view },
    ]
  if (c.kernel.some(k => k !== 1))
    throw new Error(`network: ${c.name} has a kernel of ${c.kernel.join(' x ')}, which is not a factor`)
  const picked = `${c.name}.picked`
  values.set(picked, { ...from, frames: to.frames, height: to.height, width: to.width })
  const plain = viewOf({ ...c, stride: [1, 1, 1] }, values.get(picked)!, to.padded)!
  return [
    { kind: 'pick', input: c.input, output: picked, step: c.stride },
    { kind: 'convolution', convolution: c, input: picked, output: c.output, residual, problem: plain },
  ]
}

/**
 * Layers `startIndex` to `endIndex` as operations for clips of a size.
 * @param padding - of values that convolutions make and take; what other steps use too, and what is added to another
 *   value, always has `paddedChannels`
 * @throws {UsageError} for layers that the network does not have, or clips too small for them
 */
export function makeProgram(
  network: Network,
  startIndex: number,
  endIndex: number,
  clip: ClipSize,
  precision: Precision,
  padding: Padding = paddedChannels,
): Program {
  const layers = layerRange(network, startIndex, endIndex)
  const input = `cut${startIndex - 1}`
  const shape = cutShape(network.architecture, startIndex - 1, clip)
  const values = new Map([[input, clipLayout(shape, elementType(precision))]])
  const convolutions = layers.flatMap(layer => layer.convolutions)
  const output = convolutions.at(-1)!.output
  const common = new Set([output, ...convolutions.flatMap(c => (c.residual ? [c.residual, c.output] : []))])
  const operations = convolutions.flatMap(c =>
    operationsOf(c, values, common.has(c.output) ? paddedChannels : padding),
  )
  return { operations, values, input, output, linear: layers.at(-1)!.linear }
}

/** The means over places of the program's output, in float32, which the linear layer takes. */
export const POOLED = 'pooled'

/**
 * The memory that `clips` clips of all values need, and for which operations; of `pooled` too, if a linear layer follows.
 * The input's is its own throughout, so that it can be filled again while a batch is computed; the output's is needed to
 * the end.
 * @param joined - ranges of operations `[first, last]` that are done at once: what one of them uses or makes is needed
 *   for all of them
 */
export function lifetimes(
  { operations, values, input, output, linear }: Program,
  clips: number,
  joined: readonly (readonly [number, number])[] = [],
): Lifetime[] {
  const end = operations.length
  const rangeOf = (index: number) =>
    joined.find(([first, last]) => first <= index && index <= last) ?? [index, index]
  const lives = [...values].map(([name, layout]) => {
    const makes = operations.findIndex(operation => operation.output === name)
    const uses = operations.findLastIndex(
      operation =>
        operation.input === name || (operation.kind === 'convolution' && operation.residual === name),
    )
    return {
      name,
      bytes: clips * clipBytes(layout),
      first: name === input ? 0 : rangeOf(makes)[0],
      last: name === input || name === output ? end : rangeOf(uses)[1],
    }
  })
  if (linear) {
    const bytes = 4 * clips * values.get(output)!.padded
    // From the last operation on: a backend may compute the means along with it.
    lives.push({ name: POOLED, bytes, first: end - 1, last: end })
  }
  return lives
}
