import { type Architecture, architectureName, CLIP_FRAMES, CLIP_SIZE } from '../../models/architecture.ts'
import { type CheckpointFormat, loadCheckpoint } from '../../models/checkpoint/load.ts'
import { writeSafetensors } from '../../models/checkpoint/safetensors.ts'
import {
  type DType,
  elementCount,
  type Tensor,
  toFloat32,
  withFloats,
} from '../../models/checkpoint/tensor.ts'
import { writeWhole } from '../../models/checkpoint/whole-file.ts'
import { loadNetwork, type NetworkSource } from '../../models/load.ts'
import { writeOnnx } from '../../models/onnx/write.ts'
import { recognise } from '../../models/recognise.ts'
import { cutShape } from '../../models/shapes.ts'
import { createCpuExecutor } from '../compute/cpu.ts'
import { UsageError } from '../errors.ts'

/** What a checkpoint holds. `problem` instead of an architecture if it is none that rnb runs. */
export interface Inspection {
  file: string
  format: CheckpointFormat
  architecture?: Architecture
  name?: string
  problem?: string
  parameters: number
  tensors: { name: string; dtype: DType; shape: readonly number[] }[]
}

/** Reads what a checkpoint is, without its weights. @throws {UsageError} if it cannot be read */
export function inspectWeights(file: string): Inspection {
  const checkpoint = loadCheckpoint(file)
  try {
    const tensors = [...checkpoint.tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }))
    const parameters = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0)
    const facts = { file, format: checkpoint.format }
    try {
      const { architecture } = recognise(checkpoint)
      return { ...facts, architecture, name: architectureName(architecture), parameters, tensors }
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      return { ...facts, problem: error.message, parameters, tensors }
    }
  } finally {
    checkpoint.close()
  }
}

const shapeText = (shape: readonly number[]): string => (shape.length > 0 ? shape.join(' x ') : 'scalar')

/** Rows of cells as lines, each column as wide as its widest cell. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map(row => row[i]!.length)))
  return rows.map(row =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd(),
  )
}

export function inspectionText(inspection: Inspection): string {
  const { file, format, name, problem, parameters, tensors } = inspection
  const rows = tensors.map(tensor => [`  ${tensor.name}`, tensor.dtype, shapeText(tensor.shape)])
  return [
    `${file}: ${format}, ${tensors.length} tensors, ${parameters} numbers`,
    name ?? `not a network that rnb runs: ${problem}`,
    ...columns(rows),
  ].join('\n')
}

export interface Conversion {
  file: string
  output: string
  dtype: 'float32' | 'float16'
  name: string
  tensors: number
}

/**
 * Writes a checkpoint's network as safetensors, by the names of its layout, floats as `dtype`.
 * @throws {UsageError} if it is no network that rnb runs
 */
export function convertWeights(
  file: string,
  output: string,
  dtype: Conversion['dtype'] = 'float32',
): Conversion {
  const checkpoint = loadCheckpoint(file)
  try {
    const { architecture, prefix } = recognise(checkpoint)
    const entries = [...checkpoint.tensors].map(([name, tensor]): [string, Tensor] => [
      name.slice(prefix.length),
      withFloats(tensor, dtype),
    ])
    const name = architectureName(architecture)
    writeSafetensors(output, new Map(entries), { format: 'pt', network: name })
    return { file, output, dtype, name, tensors: entries.length }
  } finally {
    checkpoint.close()
  }
}

export const conversionText = ({ file, output, dtype, name, tensors }: Conversion): string =>
  `${file} -> ${output}: ${name}, ${tensors} tensors, ${dtype}`

export interface Verification {
  file: string
  name: string
  clips: number
  /** |logits - expected| / |expected| of each clip, by Euclidean norms. */
  errors: number[]
  /** The largest of them. */
  relativeError: number
  tolerance: number
  ok: boolean
}

/** The one tensor of a safetensors file, as 32-bit floats. */
function onlyTensor(
  path: string,
  rank: number,
  what: string,
): { shape: readonly number[]; values: Float32Array } {
  const checkpoint = loadCheckpoint(path)
  try {
    const [first, ...others] = checkpoint.tensors
    if (!first || others.length > 0) {
      throw new UsageError(`${path}: ${what} are one tensor; the file holds ${checkpoint.tensors.size}`)
    }
    const [name, tensor] = first
    const values = toFloat32(tensor)
    if (!values || tensor.shape.length !== rank) {
      throw new UsageError(
        `${path}: tensor ${name} is ${tensor.dtype} ${shapeText(tensor.shape)}, where ${what} are floats in ${rank} dimensions`,
      )
    }
    return { shape: tensor.shape, values }
  } finally {
    checkpoint.close()
  }
}

/** |a - b| / |b|; how far off from nothing, if b is nothing. */
function relativeError(a: Float32Array, b: Float32Array): number {
  let difference = 0
  let norm = 0
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2
    norm += b[i]! ** 2
  }
  return Math.sqrt(difference) / (Math.sqrt(norm) || 1)
}

/**
 * Runs a checkpoint's network on the CPU over given clips, and compares with the logits expected of them.
 * @param inputs - a safetensors file with one tensor, [clips, channels, frames, height, width], as layer 1 takes it
 * @param expected - one with [clips, classes]
 * @param tolerance - the largest relative error of a clip's logits that passes
 * @throws {UsageError} if the files do not fit the network, or each other
 */
export function verifyWeights(
  file: string,
  inputs: string,
  expected: string,
  tolerance = 1e-4,
  threads = 1,
): Verification {
  const given = onlyTensor(inputs, 5, 'inputs [clips, channels, frames, height, width]')
  const wanted = onlyTensor(expected, 2, 'expected logits [clips, classes]')
  const network = loadNetwork({ weights: file, seed: 0 })
  const { architecture } = network
  const [clips, channels, frames, height, width] = given.shape as [number, number, number, number, number]
  if (channels !== architecture.inputChannels || height !== width || clips < 1) {
    throw new UsageError(
      `${inputs}: ${shapeText(given.shape)} is not clips of ${architecture.inputChannels} channels and square frames`,
    )
  }
  if (wanted.shape[0] !== clips || wanted.shape[1] !== architecture.classes) {
    throw new UsageError(
      `${expected}: ${shapeText(wanted.shape)}, where ${clips} clips give ${clips} x ${architecture.classes}`,
    )
  }
  const executor = createCpuExecutor({
    network,
    startIndex: 1,
    endIndex: 5,
    frames,
    size: height,
    maxClips: 1,
    threads,
  })
  const row = given.values.length / clips
  const logits = new Float32Array(architecture.classes)
  const errors = Array.from({ length: clips }, (_, i) => {
    executor.run(given.values.subarray(i * row, (i + 1) * row), 1, logits)
    return relativeError(logits, wanted.values.subarray(i * logits.length, (i + 1) * logits.length))
  })
  executor.close()
  const worst = errors.some(Number.isNaN) ? Number.NaN : Math.max(...errors)
  const name = architectureName(architecture)
  return { file, name, clips, errors, relativeError: worst, tolerance, ok: worst <= tolerance }
}

export const verificationText = (v: Verification): string =>
  `${v.file}: ${v.name}: ${v.clips} clips, logits within ${v.relativeError.toExponential(2)} ` +
  `of those expected; ${v.ok ? 'passes' : 'FAILS'} at ${v.tolerance}`

export interface OnnxExport {
  output: string
  name: string
  /** A file, or `random:SEED`. */
  weights: string
  layers: [number, number]
  /** With the open number of clips first. */
  inputShape: (string | number)[]
  outputShape: (string | number)[]
  bytes: number
}

/**
 * Writes layers of a network as an ONNX file, weights inside, for any number of clips of one size.
 * @throws {UsageError} if the weights, the layers or the size cannot be
 */
export function exportOnnx(
  source: NetworkSource,
  output: string,
  options: { startIndex?: number; endIndex?: number; frames?: number; size?: number } = {},
): OnnxExport {
  const { startIndex = 1, endIndex = 5, frames = CLIP_FRAMES, size = CLIP_SIZE } = options
  const network = loadNetwork(source, startIndex, endIndex)
  const clip = { frames, height: size, width: size }
  const { model } = writeOnnx(network, { startIndex, endIndex, clip, weights: 'inside' })
  writeWhole(output, model.pieces)
  return {
    output,
    name: architectureName(network.architecture),
    weights: network.weights,
    layers: [startIndex, endIndex],
    inputShape: ['clips', ...cutShape(network.architecture, startIndex - 1, clip)],
    outputShape: ['clips', ...cutShape(network.architecture, endIndex, clip)],
    bytes: model.bytes,
  }
}

export const exportText = (e: OnnxExport): string =>
  `${e.output}: layers ${e.layers.join(' to ')} of ${e.name}, weights ${e.weights}, ` +
  `${e.inputShape.join(' x ')} -> ${e.outputShape.join(' x ')}, ${e.bytes} bytes`
