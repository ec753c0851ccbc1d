import type { ElementType } from '../../../ffi/cudnn/graph.ts'
import { CHANNEL_GROUP } from '../../../kernels/network.ts'

/** How exactly the network is computed. `fp16`: float16 with sums in float32; `tf32`, `fp32`: float32 throughout. */
export type Precision = 'fp16' | 'tf32' | 'fp32'

export const elementType = (precision: Precision): ElementType => (precision === 'fp16' ? 'f16' : 'f32')

export const BYTES: Readonly<Record<ElementType, number>> = { f16: 2, f32: 4 }

/**
 * How clips, or features between layers, lie in a device's memory: [clips, frames, height, width, padded], dense,
 * aligned to 16 bytes. Channels from `channels` to `padded` are zero.
 */
export interface ClipLayout {
  readonly type: ElementType
  readonly frames: number
  readonly height: number
  readonly width: number
  readonly channels: number
  readonly padded: number
}

/** Channels with their padding. */
export const paddedChannels = (channels: number): number =>
  Math.ceil(channels / CHANNEL_GROUP) * CHANNEL_GROUP

/** The layout of [channels, frames, height, width], as shapes are written elsewhere. */
export function clipLayout(shape: readonly number[], type: ElementType): ClipLayout {
  const [channels, frames, height, width] = shape as [number, number, number, number]
  return { type, frames, height, width, channels, padded: paddedChannels(channels) }
}

/** Frames x height x width of a clip. */
export const placesOf = ({ frames, height, width }: ClipLayout): number => frames * height * width

/** Bytes from a clip to the next. */
export const clipBytes = (layout: ClipLayout): number => placesOf(layout) * layout.padded * BYTES[layout.type]

/** Elements from one to the next along each axis of a source of clips. */
export interface Strides {
  readonly clip: number
  readonly channel: number
  readonly frame: number
  readonly row: number
  readonly column: number
}

/** Of [clips, channels, frames, height, width], as the CPU has clips and features. */
export function planarStrides({ frames, height, width, channels }: ClipLayout): Strides {
  const places = frames * height * width
  return { clip: channels * places, channel: places, frame: height * width, row: width, column: 1 }
}

/** Of this layout, taking every `step`th place along frames, rows and columns. */
export function steppedStrides(layout: ClipLayout, step: readonly [number, number, number]): Strides {
  const { frames, height, width, padded } = layout
  return {
    clip: frames * height * width * padded,
    channel: 1,
    frame: step[0] * height * width * padded,
    row: step[1] * width * padded,
    column: step[2] * padded,
  }
}
