import { upload } from '../../../ffi/cuda/memory.ts'
import { type CUstream, type DevicePointer, offset } from '../../../ffi/cuda/types.ts'
import type { ElementType } from '../../../ffi/cudnn/graph.ts'
import type { Convolution, Linear } from '../../../models/network.ts'
import { BYTES, paddedChannels } from './layout.ts'
import type { Program } from './program.ts'

type Elements = Float32Array | Float16Array

const memory = (type: ElementType, length: number): Elements => {
  const buffer = new ArrayBuffer(length * BYTES[type])
  return type === 'f16' ? new Float16Array(buffer) : new Float32Array(buffer)
}

/** Filters beside features: [output channels, time, height, width, input channels], both padded as values are. */
export function packFilter(
  c: Convolution,
  type: ElementType,
  padded = paddedChannels(c.channelsIn),
  paddedOut = paddedChannels(c.channelsOut),
): Elements {
  const taps = c.kernel[0] * c.kernel[1] * c.kernel[2]
  const packed = memory(type, paddedOut * taps * padded)
  for (let k = 0; k < c.channelsOut; k++)
    for (let i = 0; i < c.channelsIn; i++) {
      const from = (k * c.channelsIn + i) * taps
      const to = k * taps * padded + i
      for (let tap = 0; tap < taps; tap++) packed[to + tap * padded] = c.weight[from + tap]!
    }
  return packed
}

/** Of the padded output channels. */
export function packBias(
  c: Convolution,
  type: ElementType,
  paddedOut = paddedChannels(c.channelsOut),
): Elements {
  const packed = memory(type, paddedOut)
  packed.set(c.bias)
  return packed
}

/** [classes, padded features] in float32. */
export function packLinear({ classes, features, weight }: Linear): Elements {
  const padded = paddedChannels(features)
  const packed = memory('f32', classes * padded)
  for (let k = 0; k < classes; k++) packed.set(weight.subarray(k * features, (k + 1) * features), k * padded)
  return packed
}

/** Addresses of a program's weights in a device's memory. */
export interface DeviceWeights {
  /** By name of the convolution. */
  readonly convolutions: ReadonlyMap<string, { filter: DevicePointer; bias: DevicePointer }>
  readonly linear?: { weight: DevicePointer; bias: DevicePointer }
}

/**
 * Puts the weights of a program into memory of this thread's device.
 * @param reserve - gives memory of so many bytes, called once
 * @param biasType - by default that of the values
 * @throws {NativeError}
 */
export function uploadWeights(
  { operations, values, input, linear }: Program,
  stream: CUstream,
  reserve: (bytes: number) => DevicePointer,
  biasType: ElementType = values.get(input)!.type,
): DeviceWeights {
  const { type } = values.get(input)!
  const pieces: { data: Elements; at: number }[] = []
  let end = 0
  const place = (data: Elements): number => {
    const at = end
    pieces.push({ data, at })
    end = Math.ceil((at + data.byteLength) / 256) * 256
    return at
  }
  const convolutions = operations.flatMap(operation => {
    if (operation.kind === 'pick') return []
    const { convolution, input: from, output: to } = operation
    const [padded, paddedOut] = [values.get(from)!.padded, values.get(to)!.padded]
    const filter = place(packFilter(convolution, type, padded, paddedOut))
    return [{ name: convolution.name, filter, bias: place(packBias(convolution, biasType, paddedOut)) }]
  })
  const last = linear && { weight: place(packLinear(linear)), bias: place(Float32Array.from(linear.bias)) }
  const memory = reserve(end)
  // Memory that is not page-locked has been read once a copy from it returns.
  for (const { data, at } of pieces) upload(offset(memory, at), data, data.byteLength, stream)
  return {
    convolutions: new Map(
      convolutions.map(({ name, filter, bias }) => [
        name,
        { filter: offset(memory, filter), bias: offset(memory, bias) },
      ]),
    ),
    linear: last && { weight: offset(memory, last.weight), bias: offset(memory, last.bias) },
  }
}
