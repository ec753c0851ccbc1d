import { expect, test } from 'bun:test'
import fc from 'fast-check'
import MotionEnergy from '../../config/examples/motion-energy.ts'
import MotionEnergyGpu from '../../config/examples/motion-energy-gpu.ts'
import type { HostTensor, Outcome, StepContext, TensorSpec } from '../../src/steps/user/api.ts'
import { jsonFault } from '../../src/steps/user/json.ts'
import { InterpretedGpu } from './user-gpu.ts'

const CHANNELS = 8

const contextOf = (input: TensorSpec, gpu?: InterpretedGpu): StepContext<{ digits: number }> => ({
  name: 'a test',
  options: { digits: 5 },
  device: gpu ? 0 : -1,
  seed: 0,
  inputs: [input],
  outputs: [],
  gpu,
})

/** By definition: the mean of |difference| over all pixels of all frames but the first. */
function energyOf(
  clip: (frame: number, y: number, x: number, c: number) => number,
  frames: number,
  size: number,
) {
  let sum = 0
  for (let t = 1; t < frames; t++)
    for (let y = 0; y < size; y++)
      for (let x = 0; x < size; x++)
        for (let c = 0; c < 3; c++) sum += Math.abs(clip(t, y, x, c) - clip(t - 1, y, x, c))
  return sum / ((frames - 1) * size * size * 3)
}

test('both examples give the motion energy by its definition, the PTX instruction by instruction', () => {
  fc.assert(
    fc.property(
      fc.record({
        clips: fc.integer({ min: 1, max: 2 }),
        frames: fc.integer({ min: 2, max: 4 }),
        size: fc.integer({ min: 1, max: 6 }),
        seed: fc.integer({ min: 1, max: 1000 }),
      }),
      ({ clips, frames, size, seed }) => {
        // Halves that any order of additions sums without error.
        const pixel = (n: number, t: number, y: number, x: number, c: number) =>
          ((seed * (n + 1) * 7 + t * 31 + y * 13 + x * 5 + c * 3) % 64) / 64
        const planar = new Float32Array(clips * 3 * frames * size * size)
        const packed = new Float16Array(clips * frames * size * size * CHANNELS)
        for (let n = 0; n < clips; n++)
          for (let t = 0; t < frames; t++)
            for (let y = 0; y < size; y++)
              for (let x = 0; x < size; x++)
                for (let c = 0; c < 3; c++) {
                  planar[(((n * 3 + c) * frames + t) * size + y) * size + x] = pixel(n, t, y, x, c)
                  packed[(((n * frames + t) * size + y) * size + x) * CHANNELS + c] = pixel(n, t, y, x, c)
                }
        const right = Array.from({ length: clips }, (_, n) =>
          energyOf((...at) => pixel(n, ...at), frames, size),
        )
        const close = ({ values }: Outcome) => {
          const { energy } = values![0] as { energy: number[] }
          expect(energy).toHaveLength(clips)
          energy.forEach((value, n) => {
            expect(Math.abs(value - right[n]!)).toBeLessThan(0.6e-5)
          })
        }

        const shape = [clips, 3, frames, size, size]
        const host: TensorSpec = { shape, type: 'f32', memory: 'host' }
        expect(MotionEnergy.shape({ inputs: [host], options: { digits: 5 }, device: -1 })).toEqual({})
        const input: HostTensor = { shape, type: 'f32', memory: 'host', data: planar }
        close(new MotionEnergy(contextOf(host)).run([input]))

        const gpu = new InterpretedGpu()
        const device: TensorSpec = {
          shape: [clips, frames, size, size, CHANNELS],
          type: 'f16',
          memory: 'device',
        }
        expect(MotionEnergyGpu.shape({ inputs: [device], options: { digits: 5 }, device: 0 })).toEqual({})
        const step = new MotionEnergyGpu(contextOf(device, gpu))
        const pointer = gpu.memory.place(new Uint8Array(packed.buffer))
        close(step.run([{ ...device, memory: 'device', pointer }]))
      },
    ),
    { numRuns: 20 },
  )
})

test('values that JSON holds are taken, and what it would change is named with its place', () => {
  fc.assert(
    fc.property(fc.jsonValue({ noUnicodeString: false }), value => {
      expect(jsonFault(value, 'values')).toBeUndefined()
    }),
  )
  const faults: [unknown, string][] = [
    [undefined, 'values is undefined'],
    [{ a: undefined }, 'values.a is undefined'],
    [[1, Number.NaN], 'values[1] is NaN'],
    [{ a: { b: [Number.POSITIVE_INFINITY] } }, 'values.a.b[0] is Infinity'],
    [new Map(), 'values is a Map'],
    [{ when: new Date(0) }, 'values.when is a Date'],
    [[new Float32Array(1)], 'values[0] is a Float32Array; use Array.from'],
    [() => 1, 'values is a function'],
    [1n, 'values is a bigint'],
  ]
  for (const [value, said] of faults) expect(jsonFault(value, 'values')).toBe(said)
})
