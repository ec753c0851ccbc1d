import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { type ConvolutionProblem, measures } from '../../kernels/convolution/launch.ts'
import { tileSizes } from '../../kernels/convolution/tile.ts'
import { choose } from '../../src/compute/cuda/ptx/choose.ts'

const problems: fc.Arbitrary<ConvolutionProblem> = fc
  .record({
    images: fc.integer({ min: 1, max: 200 }),
    c: fc.integer({ min: 1, max: 150 }),
    k: fc.integer({ min: 1, max: 150 }),
    height: fc.integer({ min: 1, max: 120 }),
    width: fc.integer({ min: 1, max: 3200 }),
    taps: fc.constantFrom([1, 1], [3, 3], [3, 1], [7, 7]),
  })
  .map(({ images, c, k, height, width, taps: [r, s] }) => ({
    input: [images, 8 * c, height, width],
    filter: [8 * k, 8 * c, r!, s!],
    stride: [1, 1],
    padding: [r! >> 1, s! >> 1],
    relu: true,
  }))

test('a way is chosen for every convolution: the same each time, each part of the depth with something in it', () => {
  for (const arithmetic of ['f16', 'tf32', 'f32'] as const)
    fc.assert(
      fc.property(problems, fc.constantFrom(16, 108, 132), (problem, multiprocessors) => {
        const choice = choose(problem, arithmetic, multiprocessors)
        expect(choice.tile.arithmetic).toBe(arithmetic)
        expect(choose(problem, arithmetic, multiprocessors)).toEqual(choice)
        const { stages } = measures(problem, choice.tile)
        expect((choice.parts - 1) * Math.ceil(stages / choice.parts)).toBeLessThan(stages)
      }),
      { numRuns: 60 },
    )
})

test('small grids are parted, and large ones take large tiles', () => {
  const of = (images: number): ConvolutionProblem => ({
    input: [images, 512, 7, 7],
    filter: [1152, 512, 3, 3],
    stride: [1, 1],
    padding: [1, 1],
    relu: true,
  })
  expect(choose(of(1), 'f16', 132).parts).toBeGreaterThan(4)
  const large = choose(of(512), 'f16', 132)
  expect(large.parts).toBe(1)
  expect(tileSizes(large.tile)).toMatchObject({ places: 128, channels: 128 })
})
