import { type MappedSurface, surfaceRows } from '../../../ffi/nvcuvid/decoder.ts'
import type { VideoFormat } from '../../../ffi/nvcuvid/parser.ts'
import type { Colour, StreamInfo } from '../types.ts'
import { streamColour } from './colour.ts'

/**
 * A decoded picture in device memory: rows of luma, and rows of Cb and Cr in pairs, half as many and half as wide. It
 * belongs to the decoder, and may be read by what is put on the decoder's stream before the callback returns.
 */
export interface SurfaceFrame {
  /** Presentation index. */
  index: number
  /** FFmpeg's name of the pixel format. */
  format: SurfaceFormat
  /** In pixels, after cropping to the container's size. */
  width: number
  height: number
  /** Device pointers to the first shown sample of luma, and of Cb and Cr. */
  luma: number
  chroma: number
  /** Bytes from row to row, of either. */
  pitch: number
  colour: Colour
}

export type SurfaceFormat = 'nv12' | 'p010le' | 'p012le'

/** What of a stream's pictures is handed over, and how: the same for all until its format changes. */
export interface SurfaceLayout {
  format: SurfaceFormat
  width: number
  height: number
  /** Of the first shown luma sample. */
  left: number
  top: number
  bytesPerSample: 1 | 2
  /** Rows of luma before the chroma. */
  rows: number
  colour: Colour
}

/**
 * The container's size, if it lies within the last macroblock of the picture's own, as FFmpeg crops; a container that
 * says something else altogether is wrong. Of VP8's odd sizes, nvcuvid says the even number below.
 */
function cropped(own: number, container: number, codec: string): number {
  if (codec === 'vp8' && container === own + 1) return container
  return container > 0 && container < own && own - container < 16 ? container : own
}

/** @param first the data of the packet with the sequence header */
export function surfaceLayout(format: VideoFormat, info: StreamInfo, first: Uint8Array): SurfaceLayout {
  return {
    format: format.depth > 10 ? 'p012le' : format.depth > 8 ? 'p010le' : 'nv12',
    width: cropped(format.right - format.left, info.width, info.codec),
    height: cropped(format.bottom - format.top, info.height, info.codec),
    left: format.left,
    top: format.top,
    bytesPerSample: format.depth > 8 ? 2 : 1,
    rows: surfaceRows(format.codedHeight),
    colour: streamColour(format, info, first),
  }
}

/** The frame that a mapped surface holds. */
export function surfaceFrame(
  index: number,
  { address, pitch }: MappedSurface,
  { format, width, height, left, top, bytesPerSample, rows, colour }: SurfaceLayout,
): SurfaceFrame {
  // A pair of Cb and Cr is as wide as the two luma samples above it. Croppings of 4:2:0 are even.
  const shown = left * bytesPerSample
  return {
    index,
    format,
    width,
    height,
    luma: address + top * pitch + shown,
    chroma: address + (rows + (top >> 1)) * pitch + shown,
    pitch,
    colour,
  }
}
