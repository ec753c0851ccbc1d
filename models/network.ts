import type { Architecture } from './architecture.ts'
import type { ConvolutionSpec } from './description.ts'

/** A convolution with the batch norm that followed it folded in. */
export interface Convolution extends ConvolutionSpec {
  /** [channelsOut, channelsIn, time, height, width], row-major. */
  readonly weight: Float32Array
  /** [channelsOut]. */
  readonly bias: Float32Array
}

/** logits = weight x features + bias, after the mean over time, height and width. */
export interface Linear {
  readonly features: number
  readonly classes: number
  /** [classes, features], row-major. */
  readonly weight: Float32Array
  readonly bias: Float32Array
}

/** One of the five layers, ready to run: convolutions in order, then (fifth layer) the pool and the linear layer. */
export interface Layer {
  /** 1 to 5, as RnB counts. */
  readonly index: number
  readonly convolutions: readonly Convolution[]
  readonly linear?: Linear
}

/**
 * A network, or a range of its layers, as data: what every executor (ONNX Runtime, cuDNN, own kernels) is built from.
 * The 1 x k x k and k x 1 x 1 factors stay apart.
 */
export interface Network {
  readonly architecture: Architecture
  /** Where the weights are from, as results report it: a file, or `random:SEED`. */
  readonly weights: string
  /** Consecutive, ascending. */
  readonly layers: readonly Layer[]
}
