import { AV_PIX_FMT_FLAG_PAL } from '../../ffi/libav/constants.ts'
import { libav } from '../../ffi/libav/library.ts'
import { bytesAt, intAt, textAt } from '../../ffi/libav/memory.ts'

/** Where the bytes of a frame of one pixel format and size lie. */
export interface PixelLayout {
  /** FFmpeg's name of the pixel format. */
  format: string
  /** 1 for Uint8Array, 2 for Uint16Array. */
  bytesPerElement: 1 | 2
  /** Of each plane: bytes of a row without padding, and rows. */
  planes: { rowBytes: number; rows: number }[]
}

const layouts = new Map<string, PixelLayout>()

/**
 * The layout of frames of FFmpeg's pixel format number `format`, by libavutil's own description of it.
 * A palette (pal8) is a second plane of 256 pixels of 4 bytes.
 */
export function pixelLayout(format: number, width: number, height: number): PixelLayout | undefined {
  const key = `${format} ${width} ${height}`
  const known = layouts.get(key)
  if (known) return known
  const { avutil, offsets } = libav()
  const descriptor = Number(avutil.av_pix_fmt_desc_get(format) ?? 0)
  if (descriptor === 0) return undefined
  const fields = offsets.AVPixFmtDescriptor
  const flags = bytesAt(descriptor + fields.flags, 1)[0]!
  const chromaShift = bytesAt(descriptor + fields.log2_chroma_h, 1)[0]!
  const depth = intAt(descriptor, fields.comp + offsets.AVComponentDescriptor.depth)
  const planes: PixelLayout['planes'] = []
  const count = avutil.av_pix_fmt_count_planes(format)
  for (let plane = 0; plane < count; plane++) {
    const subsampled = plane === 1 || plane === 2
    const rowBytes = avutil.av_image_get_linesize(format, width, plane)
    // Rounded up, as libavutil does: 465 rows of luma have 233 of chroma.
    planes.push({ rowBytes, rows: subsampled ? -(-height >> chromaShift) : height })
  }
  if (flags & AV_PIX_FMT_FLAG_PAL) planes.push({ rowBytes: 1024, rows: 1 })
  const name = textAt(Number(avutil.av_get_pix_fmt_name(format) ?? 0))
  const layout: PixelLayout = { format: name, bytesPerElement: depth > 8 ? 2 : 1, planes }
  // Sizes and formats are few; a stream that changes them on every frame must not fill memory.
  if (layouts.size > 256) layouts.clear()
  layouts.set(key, layout)
  return layout
}
