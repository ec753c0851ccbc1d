import { type ClipLayout, type ClipPlace, clipFrameBytes } from '../../kernels/clip.ts'
import type { ClipOptions } from './clip-options.ts'
import { clipShape } from './clip-reader.ts'
import type { FramePlace } from './clips.ts'

/** Channels of a pixel as networks on a GPU take it: R, G, B, and zeros up to a multiple of 16 bytes. */
export const CHANNELS = 8
export const GPU_LAYOUT: ClipLayout = { kind: 'f16', channels: CHANNELS }

/** Largest clip tensor on a GPU: [clips, frames, size, size, channels]. */
export function gpuClipShape(options: ClipOptions): number[] {
  const [clips, , frames, size] = clipShape(options) as [number, number, number, number, number]
  return [clips, frames, size, size, CHANNELS]
}

/** A frame's places in the clip tensor at device address `out`, for the clip kernel. */
export function clipPlaces(
  { luma, chroma }: Pick<ClipPlace, 'luma' | 'chroma'>,
  places: readonly FramePlace[] | undefined,
  { clip_frames: frames, size }: ClipOptions,
  out: number,
): ClipPlace[] {
  const frameBytes = clipFrameBytes(GPU_LAYOUT, size)
  return (places ?? []).map(({ clip, time }) => ({
    luma,
    chroma,
    out: out + (clip * frames + time) * frameBytes,
  }))
}
