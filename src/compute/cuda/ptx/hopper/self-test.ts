import { download } from '../../../../../ffi/cuda/memory.ts'
import { synchronizeStream } from '../../../../../ffi/cuda/stream.ts'
import { type CUstream, type DevicePointer, offset } from '../../../../../ffi/cuda/types.ts'
import type { Convolution } from '../../../../../models/network.ts'
import { Rng } from '../../../../rng.ts'
import type { HopperProblem } from './choose.ts'
import { framePlaces, type Lying, pitchOf } from './places.ts'

/** Places and channels of each that are looked at. */
const PLACES = 48
const CHANNELS = 12

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
    { length: PLACES - corners.length },
    () => [within(clips), within(frames), within(height), within(width)] as const,
  )
  return [...corners, ...others]
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
  const { padding, channelsIn, channelsOut, weight, bias, relu } = convolution
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
  let [errors, norm] = [0, 0]
  for (const { inputs, residual, found } of samples)
    for (let i = 0; i < CHANNELS; i++) {
      const k = rng.int(channelsOut)
      let sum = bias[k]! + (residual?.[k] ?? 0)
      for (const [tap, values] of inputs.entries()) {
        if (!values) continue
        const from = k * channelsIn * taps + tap
        for (let c = 0; c < channelsIn; c++) sum += values[c]! * Math.f16round(weight[from + c * taps]!)
      }
      if (relu) sum = Math.max(0, sum)
      errors += (found[k]! - sum) ** 2
      norm += sum ** 2
    }
  return Math.sqrt(errors / norm)
}
