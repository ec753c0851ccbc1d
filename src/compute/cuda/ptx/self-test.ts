import { allocate, download, fillBytes, free, upload } from '../../../../ffi/cuda/memory.ts'
import { Owner } from '../../../../ffi/cuda/owner.ts'
import { synchronizeStream } from '../../../../ffi/cuda/stream.ts'
import type { DevicePointer } from '../../../../ffi/cuda/types.ts'
import { NativeError } from '../../../../ffi/error.ts'
import { type ConvolutionProblem, measures } from '../../../../kernels/convolution/launch.ts'
import { type Arithmetic, elementBytes } from '../../../../kernels/convolution/tile.ts'
import { Rng } from '../../../rng.ts'
import type { Choice } from './choose.ts'
import { choiceName, type PtxConvolutions, sumsBytes } from './convolutions.ts'

/** What a right kernel stays under, against float64; a wrong one is off by 0.1 and more. */
const TOLERANCES: Readonly<Record<Arithmetic, number>> = { f16: 1e-3, tf32: 1e-3, f32: 1e-5 }

/** Small, but with borders, and more than one block of any tile along places and along channels. */
const PROBLEM: ConvolutionProblem = {
  input: [3, 24, 9, 7],
  filter: [152, 24, 3, 3],
  stride: [1, 1],
  padding: [1, 1],
  relu: true,
}
/** Where a choice has several parts of the depth, it is tested with so many. */
const PARTS = 3

type Elements = Float32Array | Float16Array

interface Tensors {
  readonly input: Elements
  readonly filter: Elements
  readonly bias: Float32Array
  readonly residual: Elements
}

const memory = (arithmetic: Arithmetic, length: number): Elements => {
  const buffer = new ArrayBuffer(length * elementBytes(arithmetic))
  return elementBytes(arithmetic) === 2 ? new Float16Array(buffer) : new Float32Array(buffer)
}

/** The convolution by its definition, in float64. */
function define({ input, filter, padding }: ConvolutionProblem, tensors: Tensors): Float64Array {
  const [n, c, h, w] = input
  const [k, , r, s] = filter
  const output = new Float64Array(n * h * w * k)
  let at = 0
  for (let image = 0; image < n; image++)
    for (let y = 0; y < h; y++)
      for (let x = 0; x < w; x++)
        for (let m = 0; m < k; m++, at++) {
          let sum = tensors.bias[m]! + tensors.residual[at]!
          for (let dy = Math.max(0, padding[0] - y); dy < Math.min(r, h + padding[0] - y); dy++)
            for (let dx = Math.max(0, padding[1] - x); dx < Math.min(s, w + padding[1] - x); dx++) {
              const from = ((image * h + y + dy - padding[0]) * w + x + dx - padding[1]) * c
              const weight = ((m * r + dy) * s + dx) * c
              for (let i = 0; i < c; i++) sum += tensors.input[from + i]! * tensors.filter[weight + i]!
            }
          output[at] = Math.max(0, sum)
        }
  return output
}

/** Random tensors, drawn anew for each test. */
function draw(arithmetic: Arithmetic): Tensors {
  const rng = Rng.of(Math.floor(Math.random() * 2 ** 31), 'kernels')
  const normal = (length: number, scale: number): Elements => {
    const values = memory(arithmetic, length)
    for (let i = 0; i < length; i++) values[i] = scale * rng.normal()
    return values
  }
  const [n, c, h, w] = PROBLEM.input
  const [k, , r, s] = PROBLEM.filter
  return {
    input: normal(n * c * h * w, 1),
    filter: normal(k * c * r * s, 1 / Math.sqrt(c * r * s)),
    bias: Float32Array.from({ length: k }, () => rng.normal()),
    residual: normal(n * h * w * k, 1),
  }
}

/** Relative error of a kernel's output on the device; NaN if it leaves anything unwritten. */
function errorOf(kernels: PtxConvolutions, choice: Choice, tensors: Tensors, expected: Float64Array): number {
  const owner = new Owner()
  const { stream } = kernels
  const reserve = (bytes: number): DevicePointer => {
    const purpose = { what: 'the self-test of kernels', lower: 'the number of network replicas on this GPU' }
    const made = owner.own(allocate(bytes, purpose), free)
    fillBytes(made, 0xff, bytes, stream)
    return made
  }
  const put = (values: Elements): DevicePointer => {
    const made = reserve(values.byteLength)
    upload(made, values, values.byteLength, stream)
    return made
  }
  const { arithmetic } = choice.tile
  const { places, channels } = measures(PROBLEM, choice.tile)
  const found = memory(arithmetic, places * channels)
  try {
    const output = reserve(found.byteLength)
    const given = {
      input: put(tensors.input),
      filter: put(tensors.filter),
      bias: put(tensors.bias),
      residual: put(tensors.residual),
      output,
    }
    const bytes = sumsBytes(PROBLEM, choice)
    kernels.launch(PROBLEM, choice, given, bytes === 0 ? 0 : reserve(bytes))
    download(found, output, found.byteLength, stream)
    synchronizeStream(stream)
  } finally {
    owner.close()
  }
  let [difference, norm] = [0, 0]
  for (const [i, value] of expected.entries()) {
    difference += (found[i]! - value) ** 2
    norm += value ** 2
  }
  return Math.sqrt(difference / norm)
}

/** A kernel of this program computes wrong results, or the driver does not take it. */
export class KernelUnfit extends Error {
  override readonly name = 'KernelUnfit'
}

function load(kernels: PtxConvolutions, choice: Choice): void {
  try {
    kernels.load(choice)
  } catch (error) {
    if (!(error instanceof NativeError)) throw error
    throw new KernelUnfit(`the driver does not take a kernel: ${error.message}`)
  }
}

/**
 * Compiles every kernel that the choices use, computes a small convolution with each, and compares with its definition.
 * @returns relative errors, by kernel
 * @throws {KernelUnfit} which names the kernel, and how far off it is
 * @throws {NativeError} if the device fails
 */
export function testKernels(kernels: PtxConvolutions, choices: readonly Choice[]): Map<string, number> {
  const tested = new Map<string, Choice>()
  for (const { tile, parts } of choices) {
    const choice = { tile, parts: parts > 1 ? PARTS : 1 }
    tested.set(`${tile.arithmetic} ${choiceName(choice)}`, choice)
  }
  const prepared = new Map<Arithmetic, { tensors: Tensors; expected: Float64Array }>()
  return new Map(
    [...tested].map(([name, choice]) => {
      const { arithmetic } = choice.tile
      load(kernels, choice)
      let given = prepared.get(arithmetic)
      if (!given) {
        const tensors = draw(arithmetic)
        given = { tensors, expected: define(PROBLEM, tensors) }
        prepared.set(arithmetic, given)
      }
      const error = errorOf(kernels, choice, given.tensors, given.expected)
      if (!(error < TOLERANCES[arithmetic]))
        throw new KernelUnfit(
          `kernel ${name} is wrong on this GPU: its relative error is ${error.toPrecision(2)}`,
        )
      return [name, error]
    }),
  )
}
