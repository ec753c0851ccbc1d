import { releaseContext, retainContext } from '../../ffi/cuda/context.ts'
import { allocate, free, upload } from '../../ffi/cuda/memory.ts'
import { createStream, destroyStream, synchronizeStream } from '../../ffi/cuda/stream.ts'
import type { DevicePointer } from '../../ffi/cuda/types.ts'
import type { Convolution } from '../../models/network.ts'
import type { HopperProblem } from '../../src/compute/cuda/ptx/hopper/choose.ts'
import { framePlaces, type Lying, lyingBytes, pitchOf } from '../../src/compute/cuda/ptx/hopper/places.ts'
import { sampledError } from '../../src/compute/cuda/ptx/hopper/self-test.ts'
import { Rng } from '../../src/rng.ts'

// Says what the test of kernels at warm-up makes of outputs that are right, and of outputs as faulty kernels would leave them.
const CLIPS = 2
const rng = Rng.of(Math.floor(Math.random() * 2 ** 31), 'hopper-self-test')
const context = retainContext(0)
const stream = createStream()

const drawn = <T extends Float16Array | Float32Array>(values: T, scale = 1): T => {
  for (let i = 0; i < values.length; i++) values[i] = (2 * rng.next() - 1) * scale
  return values
}

const lying = (frames: number, size: number, channels: number): Lying => ({
  frames,
  height: size,
  width: size,
  channels,
  padded: Math.ceil(channels / 16) * 16,
  pad: 1,
})

const indexOf = (of: Lying, clip: number, frame: number, y: number, x: number): number =>
  of.padded * ((clip * of.frames + frame) * framePlaces(of) + y * pitchOf(of).width + x)

/** What a convolution is, one sum after the other, and a way to get it wrong. */
interface Case {
  name: string
  convolution: Convolution
  problem: HopperProblem
  input: Float16Array
  residual?: Float16Array
}

type Fault = (of: Case) => Partial<Pick<Convolution, 'weight' | 'bias' | 'padding' | 'relu'>> & {
  stride?: HopperProblem['stride']
  residual?: undefined
  /** Changes what is right. */
  after?: (output: Float16Array, to: Lying) => void
}

function outputOf(of: Case, fault: ReturnType<Fault>): Float16Array {
  const { from, to, stride: own } = of.problem
  const { kernel, channelsIn, channelsOut, weight, bias, padding, relu } = { ...of.convolution, ...fault }
  const [kt, kh, kw] = kernel
  const taps = kt * kh * kw
  const stride = fault.stride ?? own
  const residual = 'residual' in fault ? undefined : of.residual
  const halves = new Float16Array(weight)
  const output = new Float16Array((CLIPS * lyingBytes(to)) / 2)
  for (let clip = 0; clip < CLIPS; clip++)
    for (let f = 0; f < to.frames; f++)
      for (let y = 0; y < to.height; y++)
        for (let x = 0; x < to.width; x++) {
          const place = indexOf(to, clip, f, y, x)
          for (let k = 0; k < channelsOut; k++) {
            let sum = bias[k]! + (residual?.[place + k] ?? 0)
            for (let tap = 0; tap < taps; tap++) {
              const frame = f * stride[0] + Math.floor(tap / (kh * kw)) - padding[0]
              const row = y * stride[1] + (Math.floor(tap / kw) % kh) - padding[1]
              const column = x * stride[2] + (tap % kw) - padding[2]
              if (frame < 0 || row < 0 || column < 0) continue
              if (frame >= from.frames || row >= from.height || column >= from.width) continue
              const at = indexOf(from, clip, frame, row, column)
              for (let c = 0; c < channelsIn; c++)
                sum += of.input[at + c]! * halves[(k * channelsIn + c) * taps + tap]!
            }
            output[place + k] = relu ? Math.max(0, sum) : sum
          }
        }
  fault.after?.(output, to)
  return output
}

function caseOf(
  name: string,
  kernel: Convolution['kernel'],
  padding: Convolution['padding'],
  stride: HopperProblem['stride'],
  [channelsIn, channelsOut]: [number, number],
  residual: boolean,
): Case {
  const from = lying(4, 8, channelsIn)
  const to = lying(4 / stride[0], 8 / stride[1], channelsOut)
  const taps = kernel[0] * kernel[1] * kernel[2]
  const bias = drawn(new Float32Array(channelsOut))
  // The ReLU leaves something of the last channel everywhere: that it is missing can be seen.
  bias[channelsOut - 1] = 3
  const convolution: Convolution = {
    name,
    input: 'x',
    output: 'y',
    channelsIn,
    channelsOut,
    kernel,
    stride,
    padding,
    relu: true,
    weight: drawn(new Float32Array(channelsIn * channelsOut * taps), Math.sqrt(2 / (channelsIn * taps))),
    bias,
  }
  return {
    name,
    convolution,
    problem: { convolution, stride, from, to, ...(residual && { residual: to }) },
    input: drawn(new Float16Array((CLIPS * lyingBytes(from)) / 2)),
    ...(residual && { residual: drawn(new Float16Array((CLIPS * lyingBytes(to)) / 2)) }),
  }
}

const CASES = [
  caseOf('1x3x3, stride 2', [1, 3, 3], [0, 1, 1], [1, 2, 2], [16, 200], false),
  caseOf('3x1x1, residual', [3, 1, 1], [1, 0, 0], [1, 1, 1], [40, 24], true),
]

const reversedTaps = ({ convolution: { weight, kernel } }: Case): Float32Array => {
  const taps = kernel[0] * kernel[1] * kernel[2]
  return weight.map((_, i) => weight[i - (i % taps) + (taps - 1 - (i % taps))]!)
}

/** Over places and channels of an output. */
const withOutput =
  (
    change: (
      output: Float16Array,
      place: number,
      at: { frame: number; y: number; x: number },
      to: Lying,
    ) => void,
  ) =>
  (output: Float16Array, to: Lying): void => {
    for (let clip = 0; clip < CLIPS; clip++)
      for (let frame = 0; frame < to.frames; frame++)
        for (let y = 0; y < to.height; y++)
          for (let x = 0; x < to.width; x++)
            change(output, indexOf(to, clip, frame, y, x), { frame, y, x }, to)
  }

const FAULTS: Readonly<Record<string, Fault>> = {
  none: () => ({}),
  'taps reversed': of => ({ weight: reversedTaps(of) }),
  'shifted by one': ({ convolution: { padding, kernel } }) => ({
    padding: kernel[0] > 1 ? [padding[0] - 1, 0, 0] : [0, padding[1], padding[2] - 1],
  }),
  'another stride': ({ problem: { stride } }) => ({ stride: stride[1] === 2 ? [1, 1, 1] : [1, 0, 1] }),
  'no bias': ({ convolution: { bias } }) => ({ bias: new Float32Array(bias.length) }),
  'no residual': () => ({ residual: undefined }),
  'no ReLU': () => ({ relu: false }),
  'last channel missing': ({ convolution: { channelsOut } }) => ({
    after: withOutput((output, place) => {
      output[place + channelsOut - 1] = 0
    }),
  }),
  'a tile of 64 channels missing': ({ convolution: { channelsOut } }) => ({
    after: withOutput((output, place) => {
      const first = Math.max(0, channelsOut - 128)
      output.fill(0, place + first, place + Math.min(channelsOut, first + 64))
    }),
  }),
  'last row unwritten': () => ({
    after: withOutput((output, place, { y }, to) => {
      if (y === to.height - 1) output.fill(Number.NaN, place, place + to.padded)
    }),
  }),
  'first frame unwritten': () => ({
    after: withOutput((output, place, { frame }, to) => {
      if (frame === 0) output.fill(Number.NaN, place, place + to.padded)
    }),
  }),
  'last clip as the first': () => ({
    after: output => output.copyWithin(output.length / CLIPS, 0, output.length / CLIPS),
  }),
}

const held: DevicePointer[] = []
function put(values: Float16Array): DevicePointer {
  const at = allocate(values.byteLength, { what: 'a value', lower: 'nothing' })
  held.push(at)
  upload(at, values, values.byteLength, stream)
  synchronizeStream(stream)
  return at
}

for (const of of CASES)
  for (const [fault, make] of Object.entries(FAULTS)) {
    if (fault === 'no residual' && !of.residual) continue
    const { from, to, residual } = of.problem
    const values = {
      input: { lying: from, at: put(of.input) },
      output: { lying: to, at: put(outputOf(of, make(of))) },
      ...(residual && { residual: { lying: residual, at: put(of.residual!) } }),
    }
    const error = sampledError(of.problem, of.convolution, CLIPS, values, stream)
    console.log(JSON.stringify({ of: of.name, fault, error: Number.isNaN(error) ? 'NaN' : error }))
  }
for (const at of held) free(at)
destroyStream(stream)
releaseContext(context)
