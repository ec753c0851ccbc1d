import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CONVOLUTION, convolutionPtx } from '../../kernels/convolution/convolution.ts'
import {
  type ConvolutionProblem,
  convolutionGrid,
  convolutionNumbers,
  fullParts,
  measures,
  reduceGrid,
  reduceNumbers,
} from '../../kernels/convolution/launch.ts'
import { REDUCE, reducePtx } from '../../kernels/convolution/reduce.ts'
import {
  type Arithmetic,
  type ConvolutionTile,
  elementBytes,
  tileName,
  tileSizes,
} from '../../kernels/convolution/tile.ts'
import { TILES } from '../../kernels/convolution/tiles.ts'
import { Rng } from '../../src/rng.ts'
import { relativeError } from '../models/cases.ts'
import { type Copies, PtxBlockKernel } from './ptx-block.ts'
import { Memory } from './ptx-machine.ts'

setDefaultTimeout(60_000)

type Elements = Float32Array | Float16Array
const elements = (arithmetic: Arithmetic, length: number): Elements =>
  elementBytes(arithmetic) === 2 ? new Float16Array(length) : new Float32Array(length)
const bytesOf = (values: Elements): Uint8Array => new Uint8Array(values.buffer)

interface Tensors {
  input: Elements
  filter: Elements
  bias: Float32Array
  residual: Elements | undefined
}

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

function draw(problem: ConvolutionProblem, tile: ConvolutionTile, withResidual: boolean): Tensors {
  const rng = Rng.of(7, JSON.stringify(problem))
  const normal = (length: number, scale = 1) =>
    elements(tile.arithmetic, length).map(() => scale * rng.normal()) as Elements
  const { places, channels } = measures(problem, tile)
  return {
    input: normal(count(problem.input)),
    filter: normal(count(problem.filter), 1 / Math.sqrt(count(problem.filter.slice(1)))),
    bias: Float32Array.from({ length: channels }, () => rng.normal()),
    residual: withResidual ? normal(places * channels) : undefined,
  }
}

/** The convolution by its definition, in float64. */
function define(problem: ConvolutionProblem, tile: ConvolutionTile, t: Tensors): Float64Array {
  const { input, filter, stride, padding, relu } = problem
  const { outHeight, outWidth } = measures(problem, tile)
  const [n, c, h, w] = input
  const [k, , r, s] = filter
  const output = new Float64Array(n * outHeight * outWidth * k)
  let at = 0
  for (let image = 0; image < n; image++)
    for (let y = 0; y < outHeight; y++)
      for (let x = 0; x < outWidth; x++)
        for (let m = 0; m < k; m++, at++) {
          let sum = t.bias[m]! + (t.residual?.[at] ?? 0)
          for (let dy = 0; dy < r; dy++)
            for (let dx = 0; dx < s; dx++) {
              const [iy, ix] = [y * stride[0] + dy - padding[0], x * stride[1] + dx - padding[1]]
              if (iy < 0 || iy >= h || ix < 0 || ix >= w) continue
              for (let i = 0; i < c; i++)
                sum +=
                  t.input[((image * h + iy) * w + ix) * c + i]! * t.filter[((m * r + dy) * s + dx) * c + i]!
            }
          output[at] = relu ? Math.max(0, sum) : sum
        }
  return output
}

const compiled = new Map<string, string>()
function textOf(key: string, make: () => string): string {
  const text = compiled.get(key) ?? make()
  compiled.set(key, text)
  return text
}

/** The kernels' output, in memory that ends where it ends and is NaN before. */
function run(
  problem: ConvolutionProblem,
  tile: ConvolutionTile,
  t: Tensors,
  asked: number,
  copies: Copies,
): Elements {
  const { arithmetic } = tile
  const { places, channels, stages } = measures(problem, tile)
  const parts = fullParts(stages, asked)
  const memory = new Memory()
  const put = (values: Elements): number => memory.place(bytesOf(values))
  const poison = (bytes: number): number => memory.place(new Uint8Array(bytes).fill(0xff))
  const output = poison(places * channels * elementBytes(arithmetic))
  const sums = parts > 1 ? poison(4 * parts * places * channels) : output
  const [bias, residual] = [put(t.bias), t.residual ? put(t.residual) : 0]
  const kernel = new PtxBlockKernel(
    textOf(JSON.stringify(tile), () => convolutionPtx(tile)),
    CONVOLUTION,
    memory,
  )
  const numbers = convolutionNumbers(problem, tile, parts)
  const pointers = { input: put(t.input), filter: put(t.filter), bias, residual, output: sums }
  kernel.launch(
    convolutionGrid(numbers, tile, parts),
    tileSizes(tile).shared,
    { ...pointers, ...numbers },
    copies,
  )
  if (parts > 1) {
    const reduce = new PtxBlockKernel(
      textOf(arithmetic, () => reducePtx(arithmetic)),
      REDUCE,
      memory,
    )
    const joined = reduceNumbers(places, channels, parts, problem.relu)
    reduce.launch(reduceGrid(joined), 0, { sums, bias, residual, output, ...joined }, copies)
  }
  const bytes = memory.read(output)
  return elementBytes(arithmetic) === 2 ? new Float16Array(bytes.buffer) : new Float32Array(bytes.buffer)
}

/** Under 1e-3 in float16, whose results are rounded to 2^-11; exact sums of exact products but for float32 elsewhere. */
const TOLERANCES: Record<Arithmetic, number> = { f16: 1e-3, tf32: 1e-3, f32: 1e-6 }

const problem = (
  input: ConvolutionProblem['input'],
  k: number,
  taps: readonly [number, number],
  stride: readonly [number, number] = [1, 1],
  relu = true,
): ConvolutionProblem => ({
  input,
  filter: [k, input[1], ...taps],
  stride,
  padding: [taps[0] >> 1, taps[1] >> 1],
  relu,
})

const PROBLEMS: readonly [what: string, of: ConvolutionProblem, residual: boolean, parts: number][] = [
  ['3 x 3 over 9 x 7', problem([2, 16, 9, 7], 24, [3, 3]), true, 1],
  ['3 x 1 over frames', problem([1, 24, 5, 21], 16, [3, 1], [1, 1], false), true, 1],
  ['3 x 1 at every second of 5 frames', problem([2, 8, 5, 9], 8, [3, 1], [2, 1]), false, 1],
  ['7 x 7 of 8 channels at every second place', problem([1, 8, 13, 11], 16, [7, 7], [2, 2]), false, 1],
  ['1 x 1', problem([3, 40, 4, 3], 72, [1, 1], [1, 1], false), false, 1],
  ['one place', problem([1, 8, 1, 1], 8, [3, 3]), false, 1],
  ['in parts of the depth', problem([1, 64, 4, 5], 16, [3, 3]), true, 4],
]

describe('convolutions by PTX, thread by thread, are what they are by definition', () => {
  for (const [what, of, residual, parts] of PROBLEMS)
    for (const arithmetic of ['f16', 'tf32', 'f32'] as const)
      test(`${what}, ${arithmetic}`, () => {
        // The smallest tile: one more block than the largest would have, and fewer threads that have nothing to do.
        const tile = TILES[arithmetic].at(-1)!
        const tensors = draw(of, tile, residual)
        const expected = define(of, tile, tensors)
        const late = run(of, tile, tensors, parts, 'late')
        expect(relativeError(late, expected)).toBeLessThan(TOLERANCES[arithmetic])
        expect(run(of, tile, tensors, parts, 'early')).toEqual(late)
      })

  test('with the same bits whatever the tile', () => {
    const of = problem([1, 24, 10, 15], 152, [3, 3])
    for (const arithmetic of ['f16', 'tf32', 'f32'] as const) {
      const tensors = draw(of, TILES[arithmetic][0]!, true)
      const [first, ...others] = TILES[arithmetic].map(tile => run(of, tile, tensors, 1, 'late'))
      expect(relativeError(first!, define(of, TILES[arithmetic][0]!, tensors))).toBeLessThan(
        TOLERANCES[arithmetic],
      )
      for (const other of others) expect(other).toEqual(first!)
    }
  })
})

describe('the text', () => {
  const golden = {
    'convolution-f16.golden.ptx': () => convolutionPtx(TILES.f16.at(-1)!),
    'convolution-f32.golden.ptx': () => convolutionPtx(TILES.f32.at(-1)!),
    'reduce-f16.golden.ptx': () => reducePtx('f16'),
  }
  for (const [file, make] of Object.entries(golden))
    test(`is that of ${file}; RNB_WRITE_GOLDEN=1 writes it anew, to be read`, async () => {
      const path = join(import.meta.dir, 'fixtures', file)
      if (process.env.RNB_WRITE_GOLDEN) await Bun.write(path, make())
      expect(make()).toBe(await Bun.file(path).text())
    })
})

describe('numbers for the kernel', () => {
  test('divide exactly', () => {
    for (const divisor of [1, 2, 3, 7, 18, 29, 36, 116, 144, 288, 1152]) {
      const of = problem([1, 8, 8, 8], 8, [1, 1])
      const wide = { ...of, input: [1, 8 * divisor, 8, 8], filter: [8, 8 * divisor, 7, 7] } as const
      const { perPieces, depth } = convolutionNumbers(wide, TILES.f16[0]!, 1)
      for (let k = 0; k < depth + 4; k++)
        if (Number((BigInt(2 * k) * BigInt(perPieces)) >> 32n) !== Math.floor(k / divisor))
          throw new Error(`${k} / ${divisor}`)
    }
  })

  test('parts all have stages', () => {
    for (let stages = 1; stages < 200; stages++)
      for (const asked of [1, 2, 3, 4, 8, 16]) {
        const parts = fullParts(stages, asked)
        const each = Math.ceil(stages / parts)
        expect(parts).toBeLessThanOrEqual(asked)
        expect((parts - 1) * each).toBeLessThan(stages)
        expect(parts * each).toBeGreaterThanOrEqual(stages)
      }
  })

  test('refuse what the kernel cannot count', () => {
    expect(() => convolutionNumbers(problem([1, 12, 8, 8], 8, [3, 3]), TILES.f16[0]!, 1)).toThrow(RangeError)
    expect(() => convolutionNumbers(problem([2 ** 20, 8, 64, 64], 8, [3, 3]), TILES.f16[0]!, 1)).toThrow(
      RangeError,
    )
  })
})

const ptxas = Bun.which('ptxas')
if (!ptxas) console.warn('skipping the assembly of convolutions: ptxas is missing')

describe.skipIf(!ptxas)('ptxas takes convolutions', () => {
  test.each(['sm_80', 'sm_90'])('for %s, without memory of their own', async architecture => {
    const folder = mkdtempSync(join(tmpdir(), 'rnb-ptx-'))
    try {
      const texts = Object.values(TILES).flatMap(tiles =>
        tiles.map(tile => [`${tile.arithmetic} ${tileName(tile)}`, convolutionPtx(tile)]),
      )
      for (const arithmetic of ['f16', 'f32'] as const)
        texts.push([`reduce ${arithmetic}`, reducePtx(arithmetic)])
      for (const [i, [name, text]] of texts.entries()) {
        const file = join(folder, `${i}.ptx`)
        writeFileSync(file, text!)
        const { stderr, exitCode } = Bun.spawnSync([
          ptxas!,
          '-v',
          `-arch=${architecture}`,
          file,
          '-o',
          `${file}.cubin`,
        ])
        const said = `${name}: ${exitCode} ${stderr}`
        expect(said).toContain('0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads')
        expect(said).toStartWith(`${name}: 0 `)
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
