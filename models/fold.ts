import { UsageError } from '../src/errors.ts'
import { type Architecture, LAYERS } from './architecture.ts'
import { type ConvolutionSource, describe, type LayerSource } from './description.ts'
import type { Convolution, Layer, Network } from './network.ts'
import { checkLayers } from './shapes.ts'

/** Values of the tensor that an architecture knows by this name (see `tensorShapes`), as 32-bit floats. */
export type ReadTensor = (name: string) => Float32Array

/** Memory that every thread of the process can share: a network posted to a worker is not copied. */
const sharedFloats = (length: number): Float32Array => new Float32Array(new SharedArrayBuffer(4 * length))

/**
 * Folds the batch norm into the convolution before it: with s = gamma / sqrt(variance + epsilon), weights times s and
 * bias (b - mean) s + beta. In double precision, rounded once.
 */
function foldConvolution(source: ConvolutionSource, epsilon: number, read: ReadTensor): Convolution {
  const { tensor, bias: hasBias, norm, ...spec } = source
  const kernel = read(`${tensor}.weight`)
  const weight = sharedFloats(kernel.length)
  const bias = sharedFloats(spec.channelsOut)
  if (hasBias) bias.set(read(`${tensor}.bias`))
  if (norm === undefined) {
    weight.set(kernel)
    return { ...spec, weight, bias }
  }
  const gamma = read(`${norm}.weight`)
  const beta = read(`${norm}.bias`)
  const mean = read(`${norm}.running_mean`)
  const variance = read(`${norm}.running_var`)
  const row = kernel.length / spec.channelsOut
  for (let m = 0; m < spec.channelsOut; m++) {
    const scale = gamma[m]! / Math.sqrt(variance[m]! + epsilon)
    if (!Number.isFinite(scale)) {
      throw new UsageError(
        `weights: channel ${m} of ${norm} has weight ${gamma[m]} and variance ${variance[m]}`,
      )
    }
    for (let i = m * row; i < (m + 1) * row; i++) weight[i] = kernel[i]! * scale
    bias[m] = (bias[m]! - mean[m]!) * scale + beta[m]!
  }
  return { ...spec, weight, bias }
}

function foldLayer(source: LayerSource, epsilon: number, read: ReadTensor): Layer {
  const { index, linear } = source
  const convolutions = source.convolutions.map(c => foldConvolution(c, epsilon, read))
  if (!linear) return { index, convolutions }
  const weight = sharedFloats(linear.classes * linear.features)
  const bias = sharedFloats(linear.classes)
  weight.set(read(`${linear.tensor}.weight`))
  bias.set(read(`${linear.tensor}.bias`))
  const { features, classes } = linear
  return { index, convolutions, linear: { features, classes, weight, bias } }
}

/** Layers `startIndex` to `endIndex` of an architecture, with batch norms folded. `weights` says where they are from. */
export function foldNetwork(
  architecture: Architecture,
  weights: string,
  read: ReadTensor,
  startIndex = 1,
  endIndex = LAYERS,
): Network {
  checkLayers(startIndex, endIndex)
  const sources = describe(architecture).slice(startIndex - 1, endIndex)
  const layers = sources.map(source => foldLayer(source, architecture.epsilon, read))
  return { architecture, weights, layers }
}
