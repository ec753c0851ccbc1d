import { UsageError } from '../src/errors.ts'
import { type Architecture, LAYERS } from './architecture.ts'
import { type ConvolutionSpec, describe } from './description.ts'
import type { Layer, Network } from './network.ts'

/** Frames, height and width of a clip. */
export interface ClipSize {
  readonly frames: number
  readonly height: number
  readonly width: number
}

/** Size of a convolution's output along time, height and width. */
export function convolvedSize(spec: ConvolutionSpec, size: readonly number[]): number[] {
  return size.map((n, axis) => {
    return Math.floor((n + 2 * spec.padding[axis]! - spec.kernel[axis]!) / spec.stride[axis]!) + 1
  })
}

/**
 * Shape, without the clips, of what passes at a cut: 0 is the network's input, k what layer k gives, so that layer k
 * takes cut k - 1. Cuts 0 to 4 are [channels, frames, height, width]; cut 5 is [classes].
 * @throws {UsageError} if there is no such cut, or the clip is so small that nothing is left there.
 */
export function cutShape(architecture: Architecture, cut: number, clip: ClipSize): number[] {
  if (!Number.isInteger(cut) || cut < 0 || cut > LAYERS) {
    throw new UsageError(`network: there is no cut ${cut}; layers 1 to ${LAYERS} have cuts 0 to ${LAYERS}`)
  }
  const input = [clip.frames, clip.height, clip.width]
  if (!input.every(n => Number.isInteger(n) && n > 0)) {
    throw new UsageError(`network: a clip of ${input.join(' x ')} is not one of whole numbers above 0`)
  }
  if (cut === LAYERS) return [architecture.classes]
  let channels = architecture.inputChannels
  let size = input
  for (const layer of describe(architecture).slice(0, cut)) {
    const sizes = new Map([[`cut${layer.index - 1}`, size]])
    for (const c of layer.convolutions) sizes.set(c.output, convolvedSize(c, sizes.get(c.input)!))
    size = sizes.get(`cut${layer.index}`)!
    channels = layer.convolutions.at(-1)!.channelsOut
  }
  return [channels, ...size]
}

/** Checks a range of RnB's layers, both ends included. @throws {UsageError} */
export function checkLayers(startIndex: number, endIndex: number): void {
  const whole = Number.isInteger(startIndex) && Number.isInteger(endIndex)
  if (!whole || startIndex < 1 || endIndex > LAYERS || startIndex > endIndex) {
    throw new UsageError(
      `network: layers ${startIndex} to ${endIndex} (start_index, end_index) are not a range within 1 to ${LAYERS}`,
    )
  }
}

/** Layers `startIndex` to `endIndex` of a network. @throws {UsageError} if it does not hold all of them */
export function layerRange(network: Network, startIndex: number, endIndex: number): readonly Layer[] {
  checkLayers(startIndex, endIndex)
  const layers = network.layers.filter(layer => layer.index >= startIndex && layer.index <= endIndex)
  if (layers.length !== endIndex - startIndex + 1) {
    const held = network.layers.map(layer => layer.index).join(', ')
    throw new UsageError(`network: layers ${startIndex} to ${endIndex} were asked of one that holds ${held}`)
  }
  return layers
}
