import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { convolutionPtx } from '../../kernels/hopper/convolution.ts'
import { packStemWeights, packWeights } from '../../kernels/hopper/weights.ts'
import {
  candidates,
  type HopperChoice,
  type HopperProblem,
  hopperName,
} from '../../src/compute/cuda/ptx/hopper/choose.ts'
import { type InputMap, launchSize, mapOf } from '../../src/compute/cuda/ptx/hopper/kernels.ts'
import { framePlaces, type Lying, lyingBytes, pitchOf } from '../../src/compute/cuda/ptx/hopper/places.ts'
import { Rng } from '../../src/rng.ts'
import { HopperMachine, type Pace, type TensorMap } from './ptx-hopper.ts'
import { Memory } from './ptx-machine.ts'

setDefaultTimeout(60_000)

type Triple = readonly [number, number, number]

interface Case {
  readonly problem: HopperProblem
  readonly channelsIn: number
  readonly channelsOut: number
}

const lying = (size: Triple, channels: number, pad: 0 | 1, padded = 8 * Math.ceil(channels / 8)): Lying => ({
  frames: size[0],
  height: size[1],
  width: size[2],
  channels,
  padded,
  pad,
})

/** A convolution of a value that lies with padding, unless said otherwise. */
function caseOf(
  size: Triple,
  [channelsIn, channelsOut]: readonly [number, number],
  kernel: Triple,
  stride: Triple = [1, 1, 1],
  { input = 1, output = 1, residual }: { input?: 0 | 1; output?: 0 | 1; residual?: 0 | 1 } = {},
): Case {
  const padding = kernel.map(k => k >> 1) as unknown as Triple
  const made = size.map((n, i) => Math.floor((n + 2 * padding[i]! - kernel[i]!) / stride[i]!) + 1)
  const out = made as unknown as Triple
  return {
    channelsIn,
    channelsOut,
    problem: {
      convolution: { name: 'a factor', kernel, padding, relu: channelsOut % 16 === 0 },
      stride,
      from: lying(size, channelsIn, input),
      to: lying(out, channelsOut, output),
      residual: residual === undefined ? undefined : lying(out, channelsOut, residual),
    },
  }
}

const CASES: Readonly<Record<string, Case>> = {
  'taps as shifted rows': caseOf([2, 5, 6], [24, 16], [1, 3, 3]),
  'more than a chunk of channels': caseOf([1, 4, 7], [136, 24], [1, 3, 3]),
  'taps as frames': caseOf([4, 5, 4], [72, 16], [3, 1, 1], [1, 1, 1], { residual: 1 }),
  'a residual without padding': caseOf([4, 5, 4], [40, 16], [3, 1, 1], [1, 1, 1], { residual: 0 }),
  'an output without padding': caseOf([4, 5, 4], [72, 24], [3, 1, 1], [1, 1, 1], { residual: 1, output: 0 }),
  'one frame': caseOf([1, 7, 7], [144, 16], [3, 1, 1], [1, 1, 1], { residual: 1 }),
  'steps in space': caseOf([2, 9, 7], [16, 24], [1, 3, 3], [1, 2, 2]),
  'steps in time': caseOf([5, 3, 4], [72, 16], [3, 1, 1], [2, 1, 1]),
  'a shortcut': caseOf([4, 6, 5], [24, 32], [1, 1, 1], [2, 2, 2]),
  'an input without padding': caseOf([2, 5, 6], [24, 16], [1, 3, 3], [1, 1, 1], { input: 0 }),
  'odd frames': caseOf([3, 4, 3], [24, 16], [3, 1, 1], [1, 1, 1], { residual: 0 }),
  'the stem': caseOf([1, 11, 14], [3, 16], [1, 7, 7], [1, 2, 2], { input: 0 }),
}
const CLIPS = 2

const bytesOf = (values: Float16Array | Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

/** Element of a value. */
const at = (of: Lying, clip: number, [f, y, x]: readonly number[], channel: number): number =>
  ((clip * of.frames + f!) * framePlaces(of) + y! * pitchOf(of).width + x!) * of.padded + channel

/** For each place of a value, without padding. */
function forPlaces(of: Lying, body: (clip: number, place: readonly [number, number, number]) => void): void {
  for (let clip = 0; clip < CLIPS; clip++)
    for (let f = 0; f < of.frames; f++)
      for (let y = 0; y < of.height; y++) for (let x = 0; x < of.width; x++) body(clip, [f, y, x])
}

function drawValue(rng: Rng, of: Lying): Float16Array {
  const values = new Float16Array((CLIPS * lyingBytes(of)) / 2)
  forPlaces(of, (clip, place) => {
    for (let c = 0; c < of.channels; c++) values[at(of, clip, place, c)] = rng.normal()
  })
  return values
}

/** What a case is given, and what it makes by definition; padding is zero. */
function prepare({ problem, channelsIn, channelsOut }: Case) {
  const rng = Rng.of(11, JSON.stringify(problem))
  const { from, to, residual, stride } = problem
  const { kernel, padding, relu } = problem.convolution
  const taps = kernel[0] * kernel[1] * kernel[2]
  const weight = Float32Array.from(
    new Float16Array(channelsOut * channelsIn * taps).map(() => rng.normal() / Math.sqrt(channelsIn * taps)),
  )
  const bias = new Float32Array(to.padded)
  for (let k = 0; k < channelsOut; k++) bias[k] = rng.normal()
  const input = drawValue(rng, from)
  const added = residual && drawValue(rng, residual)
  const expected = new Float64Array((CLIPS * lyingBytes(to)) / 2)
  forPlaces(to, (clip, place) => {
    for (let k = 0; k < channelsOut; k++) {
      let sum = bias[k]! + (residual ? added![at(residual, clip, place, k)]! : 0)
      for (let tap = 0; tap < taps; tap++) {
        const offset = [
          Math.floor(tap / (kernel[1] * kernel[2])),
          Math.floor(tap / kernel[2]) % kernel[1],
          tap % kernel[2],
        ]
        const source = place.map((p, i) => p * stride[i]! + offset[i]! - padding[i]!)
        const limits = [from.frames, from.height, from.width]
        if (source.some((p, i) => p < 0 || p >= limits[i]!)) continue
        for (let c = 0; c < channelsIn; c++)
          sum += input[at(from, clip, source, c)]! * weight[(k * channelsIn + c) * taps + tap]!
      }
      expected[at(to, clip, place, k)] = relu ? Math.max(0, sum) : sum
    }
  })
  return { weight, bias, input, added, expected, taps }
}

function machineMap(map: InputMap, address: number): TensorMap {
  const tensor = { ...map.tensor, at: address }
  return map.kind === 'tiled'
    ? { kind: 'tiled', ...tensor, box: map.box }
    : { kind: 'im2col', ...tensor, ...map.visits }
}

/** Runs a kernel; what it leaves unwritten is NaN. */
function run(c: Case, choice: HopperChoice, given: ReturnType<typeof prepare>, pace: Pace): Float16Array {
  const { problem, channelsIn, channelsOut } = c
  const { plan } = choice
  const memory = new Memory()
  const put = (values: Float16Array | Float32Array) => memory.place(bytesOf(values))
  const filter = { weight: given.weight, channelsIn, channelsOut, taps: given.taps }
  const stem = plan.kernel.load.mode === 'stem'
  const weights = stem ? packStemWeights(plan, filter) : packWeights(plan, filter, choice.taps)
  const output = memory.place(new Uint8Array(CLIPS * lyingBytes(problem.to)).fill(0xff))
  const { blocks, rows, tiles } = launchSize(choice, problem, CLIPS, 3)
  const parameters = {
    places: machineMap(mapOf(choice, problem, CLIPS), put(given.input)),
    weights: put(weights),
    bias: put(given.bias),
    residual: given.added ? put(given.added) : 0,
    output,
    rows,
    tiles,
  }
  new HopperMachine(convolutionPtx(plan.kernel), memory).launch(blocks, plan.sharedBytes, parameters, pace)
  return new Float16Array(memory.read(output).slice().buffer)
}

describe('kernels for compute capability 9.0, run thread by thread, and the definition agree', () => {
  for (const [name, c] of Object.entries(CASES))
    test(name, () => {
      const given = prepare(c)
      const choices = candidates(c.problem)
      const names = choices.map(hopperName)
      for (const [i, choice] of choices.entries()) {
        const found = run(c, choice, given, 'late')
        const early = run(c, choice, given, 'early')
        expect(Buffer.from(early.buffer).equals(Buffer.from(found.buffer))).toBe(true)
        const stem = choice.plan.kernel.load.mode === 'stem'
        let [errors, norm, unwritten] = [0, 0, 0]
        for (const [j, value] of given.expected.entries()) {
          // The stem leaves padding as it is.
          if (stem && Number.isNaN(found[j]!)) unwritten++
          else errors += (found[j]! - value) ** 2
          norm += value ** 2
        }
        const { to } = c.problem
        const padding = framePlaces(to) - to.height * to.width
        expect([names[i], unwritten]).toEqual([names[i], stem ? CLIPS * to.frames * padding * to.padded : 0])
        expect(`${names[i]} ${Math.sqrt(errors / norm) < 1e-3}`).toBe(`${names[i]} true`)
      }
      console.info(`${name}: ${names.join(', ')}`)
    })
})
