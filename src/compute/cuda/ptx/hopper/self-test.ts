import { download } from '../../../../../ffi/cuda/memory.ts'
import { synchronizeStream } from '../../../../../ffi/cuda/stream.ts'
import { type CUstream, type DevicePointer, offset } from '../../../../../ffi/cuda/types.ts'
import type { Convolution } from '../../../../../models/network.ts'
import { Rng } from '../../../../rng.ts'
import type { HopperProblem } from './choose.ts'
import { framePlaces, type Lying, pitchOf } from './places.ts'

/** Places that are looked at, corners first, and channels: at corners all, elsewhere every other one, in turns. */
const PLACES = 48
const CORNERS = 8
const CHANNELS = 24

/** A value in memory. */
export interface Held {
  readonly lying: Lying
  readonly at: DevicePointer
}

/** Place of a value: clip, frame, row, column. */
type Place = readonly [clip: number, frame: number, y: number, x: number]

/** Where a place's channels lie, in bytes. */
function placeBytes({ frames, padded, ...rest }: Lying, [clip, frame, y, x]: Place): number {
  const lying = { frames, padded, ...rest }
  return 2 * padded * ((clip * frames + frame) * framePlaces(lying) + y * pitchOf(lying).width + x)
}

/** Reads channels of places, one copy each. */
class Reader {
  constructor(readonly stream: CUstream) {}

  /** Of places outside of the value: undefined. Filled once the stream is synchronised. */
  read({ lying, at }: Held, place: Place): Float16Array | undefined {
    const [, frame, y, x] = place
    if (frame < 0 || frame >= lying.frames || y < 0 || y >= lying.height || x < 0 || x >= lying.width)
      return undefined
    return this.at({ lying, at }, place)
  }

  /** The same for places of padding too. */
  at({ lying, at }: Held, place: Place): Float16Array {
    const memory = new Uint8Array(new ArrayBuffer(2 * lying.padded))
    download(memory, offset(at, placeBytes(lying, place)), memory.length, this.stream)
    return new Float16Array(memory.buffer)
  }
}

/** Whether some of the places that are padding, of the first and the last clip, are zero. */
export function paddingIsZero(value: Held, clips: number, stream: CUstream): boolean {
  const { frames, height, width } = value.lying
  const places = [0, clips - 1].flatMap(clip =>
    [0, frames - 1].flatMap((frame): Place[] => [
      [clip, frame, 0, width],
      [clip, frame, height >> 1, width],
      [clip, frame, height, 0],
      [clip, frame, height, width],
    ]),
  )
  const reader = new Reader(stream)
  const read = places.map(place => reader.at(value, place))
  synchronizeStream(stream)
  return read.every(values => values.every(v => v === 0))
}

/** Corners of the first and the last clip, and places between them. */
function drawPlaces(rng: Rng, { frames, height, width }: Lying, clips: number): Place[] {
  const corners = [0, 1].flatMap(c =>
    [0, 1].flatMap(y =>
      [0, 1].map(x => [c * (clips - 1), c * (frames - 1), y * (height - 1), x * (width - 1)] as const),
    ),
  )
  const within = (n: number) => rng.int(n)
  const others = Array.from(
    { length: PLACES - CORNERS },
    () => [within(clips), within(frames), within(height), within(width)] as const,
  )
  return [...corners, ...others]
}

/** Channels out spread over all of them, so that no tile of them is left out; the last one, beside padding, always. */
function drawChannels(rng: Rng, channelsOut: number): number[] {
  const step = channelsOut / CHANNELS
  const drawn = Array.from({ length: CHANNELS - 1 }, (_, i) => Math.floor((i + rng.next()) * step))
  return [...new Set([...drawn, channelsOut - 1])]
}

/** The weights of a channel out as a kernel has them, in float16, by tap and channel in. */
function rowOf({ weight, channelsIn, kernel }: Convolution, channel: number): Float64Array {
  const taps = kernel[0] * kernel[1] * kernel[2]
  const row = channelsIn * taps
  const halves = new Float16Array(weight.subarray(channel * row, (channel + 1) * row))
  const ordered = new Float64Array(row)
  for (let tap = 0; tap < taps; tap++)
    for (let c = 0; c < channelsIn; c++) ordered[tap * channelsIn + c] = halves[c * taps + tap]!
  return ordered
}

/** Inputs of one output as `rowOf` has weights; zero outside of the value. */
function inputsOf(places: readonly (Float16Array | undefined)[], channelsIn: number): Float64Array {
  const ordered = new Float64Array(places.length * channelsIn)
  for (const [tap, values] of places.entries())
    if (values) ordered.set(values.subarray(0, channelsIn), tap * channelsIn)
  return ordered
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!
  return sum
}

/**
 * Relative error of some of a convolution's outputs in memory against their definition in float64, from its inputs in
 * memory; NaN if one of them is unwritten.
 */
export function sampledError(
  problem: HopperProblem,
  convolution: Convolution,
  clips: number,
  values: { input: Held; output: Held; residual?: Held },
  stream: CUstream,
): number {
  const rng = Rng.of(Math.floor(Math.random() * 2 ** 31), 'hopper')
  const reader = new Reader(stream)
  const [kt, kh, kw] = convolution.kernel
  const { stride } = problem
  const { padding, channelsIn, channelsOut, bias, relu } = convolution
  const taps = kt * kh * kw
  const samples = drawPlaces(rng, problem.to, clips).map(place => {
    const [clip, f, y, x] = place
    const inputs = Array.from({ length: taps }, (_, tap) => {
      const [dt, dy, dx] = [Math.floor(tap / (kh * kw)), Math.floor(tap / kw) % kh, tap % kw]
      const at = [
        clip,
        f * stride[0] + dt - padding[0],
        y * stride[1] + dy - padding[1],
        x * stride[2] + dx - padding[2],
      ] as const
      return reader.read(values.input, at)
    })
    const residual = values.residual && reader.read(values.residual, place)
    return { inputs, residual, found: reader.read(values.output, place)! }
  })
  synchronizeStream(stream)
  const channels = drawChannels(rng, channelsOut).map(k => ({ k, row: rowOf(convolution, k) }))
  let [errors, norm] = [0, 0]
  for (const [s, { inputs, residual, found }] of samples.entries()) {
    const ordered = inputsOf(inputs, channelsIn)
    const [first, step] = s < CORNERS ? [0, 1] : [s % 2, 2]
    for (let i = first; i < channels.length; i += step) {
      const { k, row } = channels[i]!
      const sum = bias[k]! + (residual?.[k] ?? 0) + dot(ordered, row)
      const expected = relu ? Math.max(0, sum) : sum
      errors += (found[k]! - expected) ** 2
      norm += expected ** 2
    }
  }
  return Math.sqrt(errors / norm)
}
