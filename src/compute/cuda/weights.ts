import type { ElementType } from '../../../ffi/cudnn/graph.ts'
import type { Convolution, Linear } from '../../../models/network.ts'
import { BYTES, paddedChannels } from './layout.ts'

type Elements = Float32Array | Float16Array

const memory = (type: ElementType, length: number): Elements => {
  const buffer = new ArrayBuffer(length * BYTES[type])
  return type === 'f16' ? new Float16Array(buffer) : new Float32Array(buffer)
}

/** Filters as cuDNN takes them beside features: [output channels, time, height, width, input channels], padded. */
export function packFilter(c: Convolution, type: ElementType): Elements {
  const taps = c.kernel[0] * c.kernel[1] * c.kernel[2]
  const padded = paddedChannels(c.channelsIn)
  const packed = memory(type, paddedChannels(c.channelsOut) * taps * padded)
  for (let k = 0; k < c.channelsOut; k++)
    for (let i = 0; i < c.channelsIn; i++) {
      const from = (k * c.channelsIn + i) * taps
      const to = k * taps * padded + i
      for (let tap = 0; tap < taps; tap++) packed[to + tap * padded] = c.weight[from + tap]!
    }
  return packed
}

/** Of the padded output channels. */
export function packBias(c: Convolution, type: ElementType): Elements {
  const packed = memory(type, paddedChannels(c.channelsOut))
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
