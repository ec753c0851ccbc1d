import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { cudaDriver } from '../../ffi/cuda/driver.ts'
import { synchronizeStream } from '../../ffi/cuda/stream.ts'
import type { DevicePointer } from '../../ffi/cuda/types.ts'
import { packStemWeights, packWeights } from '../../kernels/hopper/weights.ts'
import { type Architecture, makeArchitecture, R2PLUS1D_18, R2PLUS1D_34 } from '../../models/architecture.ts'
import { describe as describeNetwork } from '../../models/description.ts'
import type { Convolution, Network } from '../../models/network.ts'
import { makeProgram } from '../../src/compute/cuda/program.ts'
import { HopperBackend, lyings, stepsOf } from '../../src/compute/cuda/ptx/hopper/backend.ts'
import {
  candidates,
  chooseHopper,
  type HopperChoice,
  type HopperProblem,
  hopperName,
} from '../../src/compute/cuda/ptx/hopper/choose.ts'
import { HopperKernels } from '../../src/compute/cuda/ptx/hopper/kernels.ts'
import { type Lying, lyingBytes, pitchOf } from '../../src/compute/cuda/ptx/hopper/places.ts'
import { sampledError } from '../../src/compute/cuda/ptx/hopper/self-test.ts'
import { Rng } from '../../src/rng.ts'
import { GPUS, Gpu } from './cuda-gpu.ts'

setDefaultTimeout(300_000)

const hopper = GPUS > 0 && cudaDriver()!.devices[0]!.capability === '9.0'
if (GPUS > 0 && !hopper) console.warn('skipped: kernels for compute capability 9.0: this GPU has another')

const TOLERANCE = 1e-3
const NORMALS = 1 << 16
const rng = Rng.of(Math.floor(Math.random() * 2 ** 31))
/** Normal numbers, drawn once a run: tensors are stretches of them, from different places. */
const normals = Float32Array.from({ length: NORMALS }, () => rng.normal())

function drawInto<T extends Float32Array | Float16Array>(values: T, scale = 1): T {
  const [from, step] = [rng.int(NORMALS), 2 * rng.int(1000) + 1]
  for (let i = 0; i < values.length; i++)
    values[i] = scale * normals[(from + i * step + (i >> 16)) & (NORMALS - 1)]!
  return values
}

/** Zero beyond the channels and in the padding of places, as the kernels that write a value leave it. */
function clear(values: Float16Array, lying: Lying): Float16Array {
  const { height, width } = pitchOf(lying)
  const { padded, channels, pad } = lying
  for (let place = 0, at = 0; at < values.length; place++, at += padded) {
    const [x, y] = [place % width, Math.floor(place / width) % height]
    const outside = pad === 1 && (x === width - 1 || y === height - 1)
    values.fill(0, outside ? at : at + channels, at + padded)
  }
  return values
}

interface Case {
  readonly problem: HopperProblem
  readonly convolution: Convolution
}

/** All kinds of convolutions of a network. */
function casesOf(architecture: Architecture, frames: number, size: number, first = 1): Map<string, Case> {
  const none = new Float32Array(0)
  const layers = describeNetwork(architecture).map(({ index, convolutions }) => ({
    index,
    convolutions: convolutions.map(c => ({ ...c, weight: none, bias: none })),
  }))
  const network: Network = { architecture, weights: 'none', layers }
  const backend = new HopperBackend(1)
  const clip = { frames, height: size, width: size }
  const program = makeProgram(network, first, 5, clip, 'fp16', channels => backend.paddedChannels(channels))
  const cases = new Map<string, Case>()
  for (const { operation, problem } of stepsOf(program, lyings(program))) {
    const { kernel, padding, relu } = operation.convolution
    const { from, to, stride, residual } = problem
    cases.set(JSON.stringify([kernel, padding, relu, from, to, stride, residual]), {
      problem,
      convolution: operation.convolution,
    })
  }
  return cases
}

describe.skipIf(!hopper)('kernels for compute capability 9.0 and the definition, in float64, agree', () => {
  let gpu: Gpu
  let kernels: HopperKernels
  beforeAll(() => {
    gpu = new Gpu()
    kernels = gpu.owner.own(new HopperKernels(gpu.stream, 132), made => made.close())
  })
  afterAll(() => gpu?.close())

  /** Relative errors of kernels on the same tensors; each run twice into poisoned memory, for the same bits. */
  function check(
    { problem, convolution: shape }: Case,
    clips: number,
    choices: readonly HopperChoice[],
  ): number[] {
    const own = new Gpu()
    try {
      const { from, to, residual } = problem
      const taps = shape.kernel[0] * shape.kernel[1] * shape.kernel[2]
      const [cin, cout] = [shape.channelsIn, shape.channelsOut]
      const convolution: Convolution = {
        ...shape,
        weight: drawInto(new Float32Array(cout * cin * taps), Math.sqrt(2 / (cin * taps))),
        bias: drawInto(new Float32Array(cout)),
      }
      const value = (lying: Lying): DevicePointer => {
        const values = drawInto(new Float16Array((clips * lyingBytes(lying)) / 2))
        return own.put(clear(values, lying))
      }
      const bias = new Float32Array(to.padded)
      bias.set(convolution.bias)
      const memory = { input: value(from), bias: own.put(bias), residual: residual && value(residual) }
      const words = (clips * lyingBytes(to)) / 2
      return choices.map(choice => {
        const filter = { ...convolution, taps }
        const { plan } = choice
        const stem = plan.kernel.load.mode === 'stem'
        const packed = stem ? packStemWeights(plan, filter) : packWeights(plan, filter, choice.taps)
        const run = kernels.bind(choice, problem, clips, { ...memory, weights: own.put(packed) })
        const outputs = [0, 1].map(() => {
          const at = own.poisoned(2 * words + 256)
          synchronizeStream(own.stream)
          run(at)
          synchronizeStream(gpu.stream)
          const found = own.get(at, new Float16Array(words + 128))
          expect(new Uint16Array(found.buffer).subarray(words).every(word => word === 0xffff)).toBe(true)
          return { at, found: found.subarray(0, words) }
        })
        const [first, second] = outputs.map(({ found }) => Buffer.from(found.buffer, 0, 2 * words))
        expect(first!.equals(second!)).toBe(true)
        // The stem leaves padding unwritten, which only factors that reach along time read.
        if (!stem || to.pad === 0) {
          const cleared = clear(outputs[0]!.found.slice(), to)
          expect(Buffer.from(cleared.buffer).equals(first!)).toBe(true)
          expect(outputs[0]!.found.some(Number.isNaN)).toBe(false)
        }
        const held = {
          input: { lying: from, at: memory.input },
          output: { lying: to, at: outputs[0]!.at },
          residual: residual && { lying: residual, at: memory.residual! },
        }
        return sampledError(problem, convolution, clips, held, own.stream)
      })
    } finally {
      own.close()
    }
  }

  /** What is chosen for few clips and many, and one that is not. */
  function choicesOf(problem: HopperProblem): HopperChoice[] {
    const all = candidates(problem)
    const chosen = [1, 10, 64].map(clips => chooseHopper(problem, clips)!)
    const some = [...chosen, all[rng.int(all.length)]!]
    return [...new Map(some.map(choice => [hopperName(choice), choice])).values()]
  }

  const narrow = makeArchitecture({ widths: [8, 24, 40, 72], stemMid: 11, classes: 13 })
  const old = { layout: 'r2plus1d-pytorch' } as const
  const NETWORKS: [name: string, Architecture, frames: number, size: number, clips: number, first: number][] =
    [
      ['r2plus1d_18', R2PLUS1D_18, 8, 112, 2, 1],
      ['r2plus1d_18, 16 frames', R2PLUS1D_18, 16, 112, 1, 1],
      ['r2plus1d_34', R2PLUS1D_34, 8, 112, 1, 1],
      ["R2Plus1D-PyTorch's layout", makeArchitecture(old), 8, 112, 1, 1],
      ['few channels, 5 frames of 50 x 50', narrow, 5, 50, 3, 1],
      ['few channels, one frame of 33 x 33', narrow, 1, 33, 2, 1],
      ['13 and 7 places a row', narrow, 3, 26, 2, 1],
      ['few channels, 65 clips', narrow, 8, 28, 65, 1],
      // Features from another step lie without padding, and are added too.
      ['layers 2 to 5', R2PLUS1D_18, 8, 112, 2, 2],
      ['few channels, layers 2 to 5', narrow, 6, 16, 2, 2],
    ]
  test.each(NETWORKS)('%s', (_, architecture, frames, size, clips, first) => {
    const found = [...casesOf(architecture, frames, size, first).values()].flatMap(c =>
      check(c, clips, choicesOf(c.problem)),
    )
    console.info(`${found.length} kernels, error at most ${Math.max(...found).toExponential(1)}`)
    for (const error of found) expect(error).toBeLessThan(TOLERANCE)
  })

  test('errors show: a tap too few is found wrong', () => {
    const [c] = [...casesOf(narrow, 8, 28).values()].filter(({ convolution }) => convolution.kernel[1] === 3)
    const choice = chooseHopper(c!.problem, 2)!
    const [error] = check(c!, 2, [{ ...choice, taps: choice.taps.slice(1) }])
    expect(error).toBeGreaterThan(0.05)
  })
})
