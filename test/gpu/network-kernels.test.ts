import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { offset } from '../../ffi/cuda/types.ts'
import { NetworkKernels } from '../../src/compute/cuda/kernels.ts'
import {
  type ClipLayout,
  clipBytes,
  clipLayout,
  placesOf,
  planarStrides,
} from '../../src/compute/cuda/layout.ts'
import { Rng } from '../../src/rng.ts'
import { GPUS, Gpu } from './cuda-gpu.ts'

const TYPES = ['f16', 'f32'] as const
type Type = (typeof TYPES)[number]

const memory = (type: Type, length: number) =>
  type === 'f16' ? new Float16Array(length) : new Float32Array(length)

describe.skipIf(GPUS === 0)('kernels beside cuDNN', () => {
  let gpu: Gpu
  let kernels: NetworkKernels
  beforeAll(() => {
    gpu = new Gpu()
    kernels = gpu.owner.own(new NetworkKernels(), k => k.close())
  })
  afterAll(() => gpu?.close())

  const random = (type: Type, length: number, ...part: (string | number)[]) => {
    const rng = Rng.of(5, ...part)
    return memory(type, length).map(() => rng.normal()) as Float32Array | Float16Array
  }

  for (const from of TYPES)
    for (const to of TYPES)
      test(`arrange: ${from} to ${to}, from planes`, () => {
        for (const channels of [3, 8, 13]) {
          const layout = clipLayout([channels, 5, 6, 7], to)
          const { padded } = layout
          const [clips, places] = [3, placesOf(layout)]
          const source = random(from, clips * channels * places, 'arrange', channels)
          const at = gpu.poisoned(clips * clipBytes(layout))
          kernels.arrange(gpu.put(source), from, planarStrides(layout), at, layout, clips, gpu.stream)
          const found = gpu.get(at, memory(to, clips * places * padded))
          const expected = memory(to, found.length)
          for (let n = 0; n < clips; n++)
            for (let p = 0; p < places; p++)
              for (let c = 0; c < channels; c++)
                expected[(n * places + p) * padded + c] = source[(n * channels + c) * places + p]!
          expect(found).toEqual(expected)
        }
      })

  for (const type of TYPES)
    test(`pick: places at steps, in ${type}`, () => {
      for (const step of [
        [2, 2, 2],
        [1, 2, 2],
        [3, 1, 2],
      ] as const) {
        const from = clipLayout([11, 5, 6, 7], type)
        const [frames, height, width] = [from.frames, from.height, from.width].map((n, i) =>
          Math.ceil(n / step[i]!),
        ) as [number, number, number]
        const to: ClipLayout = { ...from, frames, height, width }
        const clips = 3
        const source = random(type, clips * placesOf(from) * from.padded, 'pick', ...step)
        const at = gpu.poisoned(clips * clipBytes(to) + 256)
        kernels.pick(gpu.put(source), from, step, at, to, clips, gpu.stream)
        const found = gpu.get(at, memory(type, clips * placesOf(to) * to.padded))
        let i = 0
        for (let n = 0; n < clips; n++)
          for (let t = 0; t < frames; t++)
            for (let y = 0; y < height; y++)
              for (let x = 0; x < width; x++)
                for (let c = 0; c < to.padded; c++, i++) {
                  const place = ((n * 5 + step[0] * t) * 6 + step[1] * y) * 7 + step[2] * x
                  if (found[i] !== source[place * from.padded + c]) throw new Error(`element ${i} differs`)
                }
        const after = gpu.get(offset(at, clips * clipBytes(to)), new Uint32Array(64))
        expect(after.every(word => word === 0xffffffff)).toBe(true)
      }
    })

  for (const type of TYPES)
    test(`pool: means over places, in ${type}`, () => {
      for (const [channels, places, clips] of [
        [512, 49, 3],
        [16, 1, 2],
        [40, 98, 1],
      ] as const) {
        const layout = clipLayout([channels, 1, 1, places], type)
        const source = random(type, clips * places * layout.padded, 'pool', channels)
        const at = gpu.poisoned(4 * clips * layout.padded)
        kernels.pool(gpu.put(source), layout, at, clips, gpu.stream)
        const found = gpu.get(at, new Float32Array(clips * layout.padded))
        for (const [i, mean] of found.entries()) {
          const [n, c] = [Math.floor(i / layout.padded), i % layout.padded]
          let sum = 0
          for (let p = 0; p < places; p++) sum += source[(n * places + p) * layout.padded + c]!
          expect(Math.abs(mean - sum / places)).toBeLessThan(1e-5)
        }
      }
    })

  test('linear: logits of every class and clip, and nothing more', () => {
    for (const [features, classes, clips] of [
      [512, 400, 5],
      [16, 7, 2],
      [136, 9, 1],
    ] as const) {
      const x = random('f32', clips * features, 'x', features)
      const weight = random('f32', classes * features, 'weight', features)
      const bias = random('f32', classes, 'bias', features)
      const at = gpu.poisoned(4 * (clips * classes + 8))
      const places = [gpu.put(x), gpu.put(weight), gpu.put(bias)] as const
      kernels.linear(places[0], features, places[1], places[2], at, classes, clips, gpu.stream)
      const found = gpu.get(at, new Float32Array(clips * classes + 8))
      for (let n = 0; n < clips; n++)
        for (let k = 0; k < classes; k++) {
          let sum = bias[k]!
          for (let f = 0; f < features; f++) sum += x[n * features + f]! * weight[k * features + f]!
          expect(Math.abs(found[n * classes + k]! - sum)).toBeLessThan(1e-3)
        }
      expect(found.subarray(clips * classes).every(Number.isNaN)).toBe(true)
    }
  })
})
