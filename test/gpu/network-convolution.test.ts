import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { offset } from '../../ffi/cuda/types.ts'
import { type ConvolutionProblem, fullParts, measures } from '../../kernels/convolution/launch.ts'
import { type Arithmetic, elementBytes } from '../../kernels/convolution/tile.ts'
import { TILES } from '../../kernels/convolution/tiles.ts'
import { type Architecture, makeArchitecture, R2PLUS1D_18, R2PLUS1D_34 } from '../../models/architecture.ts'
import { describe as describeNetwork } from '../../models/description.ts'
import type { Network } from '../../models/network.ts'
import { makeProgram } from '../../src/compute/cuda/program.ts'
import type { Choice } from '../../src/compute/cuda/ptx/choose.ts'
import { PtxConvolutions, sumsBytes } from '../../src/compute/cuda/ptx/convolutions.ts'
import { Rng } from '../../src/rng.ts'
import { GPUS, Gpu } from './cuda-gpu.ts'

setDefaultTimeout(180_000)

type Elements = Float32Array | Float16Array
const TOLERANCES: Record<Arithmetic, number> = { f16: 1e-3, tf32: 1e-3, f32: 1e-5 }
/** Outputs that are computed by definition, drawn anew in each run, beside those at the borders. */
const SAMPLES = 400
const NORMALS = 1 << 16

interface Case {
  problem: ConvolutionProblem
  residual: boolean
}

/** All kinds of convolutions of a network, for one clip. */
function casesOf(architecture: Architecture, frames: number, size: number): Map<string, Case> {
  const sources = describeNetwork(architecture)
  // Shapes need no weights.
  const none = new Float32Array(0)
  const layers = sources.map(({ index, convolutions }) => ({
    index,
    convolutions: convolutions.map(c => ({ ...c, weight: none, bias: none })),
  }))
  const network: Network = { architecture, weights: 'none', layers }
  const cases = new Map<string, Case>()
  const { operations } = makeProgram(network, 1, 5, { frames, height: size, width: size }, 'fp16')
  for (const operation of operations) {
    if (operation.kind === 'pick') continue
    const { input, filter, stride, padding, relu, residual } = operation.problem(1)
    const problem = { input, filter, stride, padding, relu }
    cases.set(JSON.stringify([problem, residual]), { problem, residual })
  }
  return cases
}

const conv = (
  input: ConvolutionProblem['input'],
  k: number,
  taps: readonly [number, number],
  stride: readonly [number, number] = [1, 1],
): Case => ({
  problem: {
    input,
    filter: [k, input[1], ...taps],
    stride,
    padding: [taps[0] >> 1, taps[1] >> 1],
    relu: k % 16 === 0,
  },
  residual: k % 3 === 0,
})

const ODD: Record<string, Case[]> = {
  '7 x 7, 14 x 14 and 13 x 9': [
    conv([2, 64, 7, 7], 144, [3, 3]),
    conv([3, 232, 14, 14], 128, [3, 3]),
    conv([2, 48, 13, 9], 96, [3, 3], [2, 2]),
    conv([2, 8, 13, 9], 48, [7, 7], [2, 2]),
    conv([1, 8, 1, 1], 8, [3, 3]),
  ],
  'one frame, and five': [conv([2, 144, 1, 49], 64, [3, 1]), conv([2, 144, 5, 49], 64, [3, 1], [2, 1])],
  '65 clips': [conv([130, 256, 14, 14], 576, [3, 3]), conv([65, 576, 2, 196], 256, [3, 1])],
}

describe.skipIf(GPUS === 0)('own convolutions', () => {
  let gpu: Gpu
  let kernels: PtxConvolutions
  const rng = Rng.of(Math.floor(Math.random() * 2 ** 31))
  /** Normal numbers, drawn once a run: tensors are stretches of them, from different places. */
  const normals = Float32Array.from({ length: NORMALS }, () => rng.normal())
  beforeAll(() => {
    gpu = new Gpu()
    kernels = gpu.owner.own(new PtxConvolutions(gpu.stream), made => made.close())
  })
  afterAll(() => gpu?.close())

  const make = (arithmetic: Arithmetic, length: number): Elements =>
    elementBytes(arithmetic) === 2 ? new Float16Array(length) : new Float32Array(length)
  const draw = (arithmetic: Arithmetic, length: number, scale = 1): Elements => {
    const values = make(arithmetic, length)
    // A step that shares no factor with the length of the table: no two places see the same run of numbers.
    const [from, step] = [rng.int(NORMALS), 2 * rng.int(1000) + 1]
    for (let i = 0; i < length; i++)
      values[i] = scale * normals[(from + i * step + (i >> 16)) & (NORMALS - 1)]!
    return values
  }

  /** One output by definition, in float64. */
  function outputAt(
    c: Case,
    t: Record<'input' | 'filter' | 'bias' | 'residual', Elements>,
    at: number,
    sizes: { outHeight: number; outWidth: number },
  ): number {
    const { input, filter, stride, padding, relu } = c.problem
    const [, channels, height, width] = input
    const [k, , r, s] = filter
    const m = at % k
    const place = (at - m) / k
    const x = place % sizes.outWidth
    const y = Math.floor(place / sizes.outWidth) % sizes.outHeight
    const image = Math.floor(place / (sizes.outWidth * sizes.outHeight))
    let sum = t.bias[m]! + (c.residual ? t.residual[at]! : 0)
    for (let dy = 0; dy < r; dy++)
      for (let dx = 0; dx < s; dx++) {
        const [iy, ix] = [y * stride[0] + dy - padding[0], x * stride[1] + dx - padding[1]]
        if (iy < 0 || iy >= height || ix < 0 || ix >= width) continue
        const [from, weight] = [
          ((image * height + iy) * width + ix) * channels,
          ((m * r + dy) * s + dx) * channels,
        ]
        for (let i = 0; i < channels; i++) sum += t.input[from + i]! * t.filter[weight + i]!
      }
    return relu ? Math.max(0, sum) : sum
  }

  /** Whether there is no NaN: memory held nothing else before. By bits, as there are millions of them. */
  function complete(values: Elements): boolean {
    const half = values instanceof Float16Array
    const bits = half ? new Uint16Array(values.buffer) : new Uint32Array(values.buffer)
    const [magnitude, infinite] = half ? [0x7fff, 0x7c00] : [0x7fffffff, 0x7f800000]
    for (let i = 0; i < bits.length; i++) if ((bits[i]! & magnitude) > infinite) return false
    return true
  }

  /** Of sampled outputs. */
  function errorOf(found: Elements, expected: ReadonlyMap<number, number>): number {
    let [difference, norm] = [0, 0]
    for (const [at, value] of expected) {
      difference += (found[at]! - value) ** 2
      norm += value ** 2
    }
    return Math.sqrt(difference / norm)
  }

  function check(c: Case, arithmetic: Arithmetic): number {
    const before = new Gpu()
    try {
      const { places, channels, outHeight, outWidth, stages } = measures(c.problem, TILES[arithmetic][0]!)
      const { input, filter } = c.problem
      const depth = filter[1] * filter[2] * filter[3]
      const t = {
        input: draw(
          arithmetic,
          input.reduce((a, b) => a * b, 1),
        ),
        filter: draw(arithmetic, filter[0] * depth, 1 / Math.sqrt(depth)),
        bias: draw('f32', channels),
        residual: draw(arithmetic, c.residual ? places * channels : 8),
      }
      const memory = {
        input: before.put(t.input),
        filter: before.put(t.filter),
        bias: before.put(t.bias),
        ...(c.residual ? { residual: before.put(t.residual) } : {}),
      }
      const inside = Array.from({ length: SAMPLES }, () => rng.int(places * channels))
      // The corners and edges of the first and the last image.
      const rows = [0, outHeight - 1].flatMap(y =>
        [0, outWidth >> 1, outWidth - 1].map(x => y * outWidth + x),
      )
      const borders = rows
        .flatMap(row => [row, places - outHeight * outWidth + row])
        .map(place => place * channels + rng.int(channels))
      const expected = (at: readonly number[]) =>
        new Map(at.map(i => [i, outputAt(c, t, i, { outHeight, outWidth })]))
      const [all, edges] = [expected([...inside, ...borders]), expected(borders)]
      const run = (choice: Choice): Elements => {
        const own = new Gpu()
        try {
          const bytes = places * channels * elementBytes(arithmetic)
          const output = own.poisoned(bytes + 256)
          const sums = sumsBytes(c.problem, choice)
          kernels.launch(c.problem, choice, { ...memory, output }, sums === 0 ? 0 : own.poisoned(sums))
          const found = gpu.get(output, make(arithmetic, places * channels))
          const after = gpu.get(offset(output, bytes), new Uint32Array(64))
          expect(after.every(word => word === 0xffffffff)).toBe(true)
          return found
        } finally {
          own.close()
        }
      }
      const parts = [...new Set([1, 3].map(asked => fullParts(stages, asked)))]
      const errors = parts.map(count => {
        const [first, ...others] = TILES[arithmetic].map(tile => run({ tile, parts: count }))
        if (!complete(first!)) throw new Error(`places were left unwritten, in ${count} parts`)
        // All tiles add in one order, so the same bits; and so does the same tile again.
        const bytes = (values: Elements) => Buffer.from(values.buffer)
        for (const [i, other] of others.entries())
          if (!bytes(other).equals(bytes(first!))) throw new Error(`tile ${i + 1} differs from the first`)
        if (!bytes(run({ tile: TILES[arithmetic].at(-1)!, parts: count })).equals(bytes(first!)))
          throw new Error('the second run differs from the first')
        if (edges.size > 0 && errorOf(first!, edges) > 3 * TOLERANCES[arithmetic])
          throw new Error(`borders are off by ${errorOf(first!, edges)}`)
        return errorOf(first!, all)
      })
      return Math.max(...errors)
    } finally {
      before.close()
    }
  }

  const reported = (what: string, arithmetic: Arithmetic, cases: readonly Case[]): void => {
    const errors = cases.map(c => check(c, arithmetic))
    console.info(
      `${what}, ${arithmetic}: ${cases.length} convolutions, at most ${Math.max(...errors).toExponential(1)}`,
    )
    for (const error of errors) expect(error).toBeLessThan(TOLERANCES[arithmetic])
  }

  for (const arithmetic of ['f16', 'tf32', 'f32'] as const)
    for (const [what, cases] of Object.entries(ODD))
      test(`odd sizes, ${what}, ${arithmetic}`, () => reported(what, arithmetic, cases))

  const layouts = [R2PLUS1D_18, R2PLUS1D_34, makeArchitecture({ layout: 'r2plus1d-pytorch' })]
  for (const arithmetic of ['f16', 'tf32', 'f32'] as const)
    test(`all shapes of 18 and 34 layers, both layouts, ${arithmetic}`, () => {
      const all = new Map(layouts.flatMap(architecture => [...casesOf(architecture, 8, 112)]))
      reported('whole networks', arithmetic, [...all.values()])
    })
})
