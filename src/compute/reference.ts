import type { Convolution, Layer, Network } from '../../models/network.ts'
import { convolvedSize, layerRange } from '../../models/shapes.ts'

/** A value of one clip: [channels, frames, height, width]. */
interface Value {
  data: Float64Array
  channels: number
  size: readonly number[]
}

/** One convolution as its definition says, in float64. */
function convolve(c: Convolution, input: Value, residual: Value | undefined): Value {
  const size = convolvedSize(c, input.size)
  const [frames, height, width] = size as [number, number, number]
  const [T, H, W] = input.size as [number, number, number]
  const [kt, kh, kw] = c.kernel
  const data = new Float64Array(c.channelsOut * frames * height * width)
  let at = 0
  for (let m = 0; m < c.channelsOut; m++)
    for (let t = 0; t < frames; t++)
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++, at++) {
          let sum = c.bias[m]! + (residual ? residual.data[at]! : 0)
          for (let i = 0; i < c.channelsIn; i++)
            for (let dt = 0; dt < kt; dt++) {
              const ti = t * c.stride[0] + dt - c.padding[0]
              if (ti < 0 || ti >= T) continue
              for (let dy = 0; dy < kh; dy++) {
                const yi = y * c.stride[1] + dy - c.padding[1]
                if (yi < 0 || yi >= H) continue
                for (let dx = 0; dx < kw; dx++) {
                  const xi = x * c.stride[2] + dx - c.padding[2]
                  if (xi < 0 || xi >= W) continue
                  const weight = c.weight[(((m * c.channelsIn + i) * kt + dt) * kh + dy) * kw + dx]!
                  sum += weight * input.data[((i * T + ti) * H + yi) * W + xi]!
                }
              }
            }
          data[at] = c.relu ? Math.max(0, sum) : sum
        }
  return { data, channels: c.channelsOut, size }
}

function runLayer(layer: Layer, input: Value): Value {
  const values = new Map([[`cut${layer.index - 1}`, input]])
  for (const c of layer.convolutions) {
    const residual = c.residual === undefined ? undefined : values.get(c.residual)!
    values.set(c.output, convolve(c, values.get(c.input)!, residual))
  }
  // The fifth layer ends in a pool, so that its last convolution is its cut only up to there.
  const last = values.get(layer.convolutions.at(-1)!.output)!
  if (!layer.linear) return last
  const { features, classes, weight, bias } = layer.linear
  const positions = last.data.length / features
  const logits = Float64Array.from({ length: classes }, (_, k) => {
    let sum = bias[k]!
    for (let f = 0; f < features; f++) {
      let pooled = 0
      for (let p = 0; p < positions; p++) pooled += last.data[f * positions + p]!
      sum += weight[k * features + f]! * (pooled / positions)
    }
    return sum
  })
  return { data: logits, channels: classes, size: [] }
}

/**
 * Layers of a network on one clip by the definition of each, in float64 and without any library: what executors
 * are held to on small cases. Far too slow for anything else.
 * @param input [channels, frames, height, width] of the clip, or of the cut before `startIndex`
 */
export function runReference(
  network: Network,
  startIndex: number,
  endIndex: number,
  input: Float32Array,
  shape: readonly number[],
): Float64Array {
  let value: Value = { data: Float64Array.from(input), channels: shape[0]!, size: shape.slice(1) }
  for (const layer of layerRange(network, startIndex, endIndex)) value = runLayer(layer, value)
  return value.data
}
