import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { type FusedConvolution, outputOf } from '../../ffi/cudnn/graph.ts'
import { type Architecture, makeArchitecture } from '../../models/architecture.ts'
import { seededNetwork } from '../../models/seeded.ts'
import { cutShape } from '../../models/shapes.ts'
import { planArena } from '../../src/compute/cuda/arena.ts'
import { clipCounts, roundUp } from '../../src/compute/cuda/clip-counts.ts'
import {
  type ClipLayout,
  paddedChannels,
  placesOf,
  planarStrides,
  type Strides,
  steppedStrides,
} from '../../src/compute/cuda/layout.ts'
import { lifetimes, makeProgram, type Padding, type Program } from '../../src/compute/cuda/program.ts'
import { packBias, packFilter, packLinear } from '../../src/compute/cuda/weights.ts'
import { runReference } from '../../src/compute/reference.ts'
import { elements } from '../../src/queue/tensor.ts'
import { Rng } from '../../src/rng.ts'
import { relativeError } from '../models/cases.ts'

type Memory = Float32Array

/** What cuDNN is asked for, by its definition, on dense tensors and a strided input. */
function convolve(
  p: FusedConvolution,
  x: Memory,
  w: Memory,
  b: Memory,
  z: Memory | undefined,
  y: Memory,
): void {
  const [n, k, oh, ow] = outputOf(p)
  const [, c, h, width] = p.input
  const [, , r, s] = p.filter
  const strides = [c * h * width, 1, c * width, c] as const
  const [sn, sc, sh, sw] = strides
  let at = 0
  for (let i = 0; i < n; i++)
    for (let oy = 0; oy < oh; oy++)
      for (let ox = 0; ox < ow; ox++)
        for (let ko = 0; ko < k; ko++, at++) {
          let sum = b[ko]! + (z ? z[at]! : 0)
          for (let dy = 0; dy < r; dy++) {
            const iy = oy * p.stride[0] + dy - p.padding[0]
            if (iy < 0 || iy >= h) continue
            for (let dx = 0; dx < s; dx++) {
              const ix = ox * p.stride[1] + dx - p.padding[1]
              if (ix < 0 || ix >= width) continue
              for (let ci = 0; ci < c; ci++)
                sum += x[i * sn + ci * sc + iy * sh + ix * sw]! * w[((ko * r + dy) * s + dx) * c + ci]!
            }
          }
          y[at] = p.relu ? Math.max(0, sum) : sum
        }
}

/** The kernel `arrange`, by its contract. */
function arrange(from: Memory, strides: Strides, to: Memory, layout: ClipLayout, clips: number): void {
  const { frames, height, width, channels, padded } = layout
  let at = 0
  for (let n = 0; n < clips; n++)
    for (let t = 0; t < frames; t++)
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++)
          for (let c = 0; c < padded; c++, at++) {
            const place = n * strides.clip + t * strides.frame + y * strides.row + x * strides.column
            to[at] = c < channels ? from[place + c * strides.channel]! : 0
          }
}

/** A program's operations in the order in which a GPU does them, all values in one memory as the executor has them. */
function simulate(program: Program, input: Memory, clips: number, joined: [number, number][]): Memory {
  const { operations, values, linear } = program
  const arena = planArena(lifetimes(program, clips, joined))
  const padded = (name: string) => values.get(name)!.padded
  const memory = new Float32Array(arena.bytes / 4).fill(Number.NaN)
  const at = (name: string) => {
    const offset = arena.offsets.get(name)! / 4
    const layout = values.get(name)!
    return memory.subarray(offset, offset + clips * placesOf(layout) * layout.padded)
  }
  const layout = values.get(program.input)!
  arrange(input, planarStrides(layout), at(program.input), layout, clips)
  for (const operation of operations) {
    if (operation.kind === 'pick') {
      const from = values.get(operation.input)!
      const strides = steppedStrides(from, operation.step)
      arrange(at(operation.input), strides, at(operation.output), values.get(operation.output)!, clips)
      continue
    }
    const { convolution, residual } = operation
    convolve(
      operation.problem(clips),
      at(operation.input),
      packFilter(convolution, 'f32', padded(operation.input), padded(operation.output)) as Memory,
      packBias(convolution, 'f32', padded(operation.output)) as Memory,
      residual === undefined ? undefined : at(residual),
      at(operation.output),
    )
  }
  const out = values.get(program.output)!
  const features = at(program.output)
  const places = placesOf(out)
  const planar = new Float32Array(clips * out.channels * places)
  for (let n = 0; n < clips; n++)
    for (let p = 0; p < places; p++)
      for (let c = 0; c < out.padded; c++) {
        const value = features[(n * places + p) * out.padded + c]!
        if (c < out.channels) planar[(n * out.channels + c) * places + p] = value
        else expect(value).toBe(0)
      }
  if (!linear) return planar
  const weight = packLinear(linear) as Memory
  return Float32Array.from({ length: clips * linear.classes }, (_, i) => {
    const [n, k] = [Math.floor(i / linear.classes), i % linear.classes]
    let sum = linear.bias[k]!
    for (let c = 0; c < linear.features; c++) {
      let pooled = 0
      for (let p = 0; p < places; p++) pooled += planar[(n * linear.features + c) * places + p]! / places
      sum += weight[k * out.padded + c]! * pooled
    }
    return sum
  })
}

const LAYOUTS: Architecture['layout'][] = ['torchvision', 'r2plus1d-pytorch']

/** Layers `first` to `last` as a program, and by their definition. */
function compare(
  architecture: Architecture,
  first: number,
  last: number,
  frames: number,
  size: number,
  padding: Padding = paddedChannels,
  joined: (operations: number) => [number, number][] = () => [],
): number {
  const network = seededNetwork(architecture, 3)
  const clip = { frames, height: size, width: size }
  const shape = cutShape(architecture, first - 1, clip)
  const clips = 2
  const rng = Rng.of(1, architecture.layout, first, last, frames)
  const input = Float32Array.from({ length: clips * elements(shape) }, () => rng.normal())
  const program = makeProgram(network, first, last, clip, 'fp32', padding)
  const found = simulate(program, input, clips, joined(program.operations.length))
  const row = elements(shape)
  const expected = Array.from({ length: clips }, (_, i) => [
    ...runReference(network, first, last, input.subarray(i * row, (i + 1) * row), shape),
  ]).flat()
  return relativeError(found, expected)
}

describe('operations over views, with padded channels and shared memory, are the network', () => {
  for (const layout of LAYOUTS) {
    const architecture = makeArchitecture({ layout, widths: [4, 6, 8, 12], stemMid: 5, classes: 7 })
    test(`${layout}, whole`, () => {
      expect(compare(architecture, 1, 5, 8, 16)).toBeLessThan(1e-5)
    })
    test(`${layout}, frames that no stride divides`, () => {
      for (const frames of [1, 3, 5, 6]) expect(compare(architecture, 1, 5, frames, 16)).toBeLessThan(1e-5)
    })
    test(`${layout}, with more padding between factors, and operations joined`, () => {
      const wide = (channels: number) => 16 * Math.ceil((channels + 1) / 16)
      const pairs = (operations: number) =>
        Array.from({ length: operations >> 1 }, (_, i): [number, number] => [2 * i, 2 * i + 1])
      expect(compare(architecture, 1, 5, 6, 16, wide, pairs)).toBeLessThan(1e-5)
      expect(compare(architecture, 2, 3, 6, 16, wide, pairs)).toBeLessThan(1e-5)
    })
    test(`${layout}, each layer`, () => {
      for (let layer = 1; layer <= 5; layer++)
        expect(compare(architecture, layer, layer, 6, 18)).toBeLessThan(1e-5)
    })
  }
})

test('values that joined operations use or make lie apart', () => {
  const network = seededNetwork(makeArchitecture({ widths: [4, 6, 8, 12], stemMid: 5, classes: 7 }), 3)
  const program = makeProgram(network, 1, 5, { frames: 4, height: 16, width: 16 }, 'fp16')
  const joined = program.operations.slice(1).map((_, i): [number, number] => [i, i + 1])
  for (const range of joined) {
    const lives = lifetimes(program, 2, [range])
    const { offsets } = planArena(lives)
    const touched = new Set(
      program.operations
        .slice(range[0], range[1] + 1)
        .flatMap(o => [o.input, o.output, ...(o.kind === 'convolution' && o.residual ? [o.residual] : [])]),
    )
    const places = lives
      .filter(({ name }) => touched.has(name))
      .map(({ name, bytes }) => ({ from: offsets.get(name)!, bytes }))
      .sort((a, b) => a.from - b.from)
    for (const [i, place] of places.slice(1).entries())
      expect(place.from).toBeGreaterThanOrEqual(places[i]!.from + places[i]!.bytes)
  }
})

describe('memory of values', () => {
  const pieces = fc.array(
    fc.record({ bytes: fc.integer({ min: 1, max: 5000 }), first: fc.nat(20), life: fc.nat(8) }),
    { minLength: 1, maxLength: 24 },
  )

  test('never overlaps while two are needed, is aligned, and takes no more than all of them', () => {
    fc.assert(
      fc.property(pieces, drawn => {
        const lives = drawn.map(({ bytes, first, life }, i) => ({
          name: `${i}`,
          bytes,
          first,
          last: first + life,
        }))
        const { offsets, bytes } = planArena(lives)
        for (const a of lives) {
          const at = offsets.get(a.name)!
          expect(at % 256).toBe(0)
          expect(at + a.bytes).toBeLessThanOrEqual(bytes)
          for (const b of lives) {
            if (a === b || b.first > a.last || a.first > b.last) continue
            const other = offsets.get(b.name)!
            expect(at + a.bytes <= other || other + b.bytes <= at).toBe(true)
          }
        }
        expect(bytes).toBeLessThanOrEqual(
          lives.reduce((sum, { bytes: b }) => sum + Math.ceil(b / 256) * 256, 0),
        )
      }),
    )
  })
})

test('clip counts end with the most, and round up within', () => {
  expect(clipCounts(1)).toEqual([1])
  expect(clipCounts(15)).toEqual([1, 2, 4, 8, 10, 15])
  expect(clipCounts(64)).toEqual([1, 2, 4, 8, 10, 15, 20, 30, 45, 60, 64])
  for (let clips = 1; clips <= 64; clips++) {
    const up = roundUp(clips, clipCounts(64))
    expect(up).toBeGreaterThanOrEqual(clips)
  }
  expect(() => roundUp(65, clipCounts(64))).toThrow(RangeError)
  expect([1, 8, 9, 230].map(paddedChannels)).toEqual([8, 8, 16, 232])
})
