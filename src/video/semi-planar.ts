import type { SurfaceFormat } from './nvdec/surface.ts'
import type { Frame } from './types.ts'

/** How frames of a format that FFmpeg decodes to are written as NVDEC would: into which format, and how far shifted up. */
const TARGETS: Readonly<Record<string, { format: SurfaceFormat; shift: number }>> = {
  yuv420p: { format: 'nv12', shift: 0 },
  yuvj420p: { format: 'nv12', shift: 0 },
  yuv420p10le: { format: 'p010le', shift: 6 },
  yuv420p12le: { format: 'p012le', shift: 4 },
}

/** A frame as rows of luma, and after them rows of Cb and Cr in pairs, all one pitch apart. */
export interface SemiPlanarLayout {
  format: SurfaceFormat
  /** Bytes from row to row. */
  pitch: number
  /** Where the pairs begin. */
  chromaOffset: number
  bytes: number
}

/** How `writeSemiPlanar` would write a frame; undefined for formats that are not 4:2:0 of 8, 10 or 12 bits in planes. */
export function semiPlanarLayout({
  format: name,
  height,
  planes: [luma, cb, cr],
}: Frame): SemiPlanarLayout | undefined {
  const target = TARGETS[name]
  if (target === undefined || !luma || !cb || !cr || cb.stride !== cr.stride) return undefined
  // In samples: rows are copied as they lie, padding and all, which is one copy for all of them.
  const stride = Math.max(luma.stride + (luma.stride & 1), 2 * cb.stride)
  const pitch = stride * luma.data.BYTES_PER_ELEMENT
  const chromaOffset = height * pitch
  return { format: target.format, pitch, chromaOffset, bytes: chromaOffset + ((height + 1) >> 1) * pitch }
}

/** Writes a frame of which the layout is known. @param into at least `layout.bytes` long, aligned to 4 bytes */
export function writeSemiPlanar(frame: Frame, layout: SemiPlanarLayout, into: ArrayBuffer, at = 0): void {
  const [luma, cb, cr] = frame.planes
  if (!luma || !cb || !cr) throw new RangeError(`a ${frame.format} frame of ${frame.planes.length} planes`)
  const { shift } = TARGETS[frame.format]!
  const wide = luma.data.BYTES_PER_ELEMENT === 2
  const pitch = layout.pitch / luma.data.BYTES_PER_ELEMENT
  const rows = wide
    ? new Uint16Array(into, at, layout.chromaOffset / 2)
    : new Uint8Array(into, at, layout.chromaOffset)
  copyRows(luma, frame.height, frame.width, rows, pitch)
  if (shift > 0) for (let i = 0; i < rows.length; i++) rows[i]! <<= shift
  const columns = (frame.width + 1) >> 1
  const chromaRows = (frame.height + 1) >> 1
  const pairs = wide
    ? new Uint32Array(into, at + layout.chromaOffset, (chromaRows * layout.pitch) / 4)
    : new Uint16Array(into, at + layout.chromaOffset, (chromaRows * layout.pitch) / 2)
  interleave(cb.data, cr.data, cb.stride, columns, chromaRows, pairs, pitch >> 1, wide ? 16 : 8, shift)
}

function copyRows(
  { data, stride }: Frame['planes'][number],
  rows: number,
  columns: number,
  into: Uint8Array | Uint16Array,
  pitch: number,
): void {
  if (stride === pitch) {
    into.set(data.length > into.length ? data.subarray(0, into.length) : data)
    return
  }
  for (let y = 0; y < rows; y++) into.set(data.subarray(y * stride, y * stride + columns), y * pitch)
}

function interleave(
  cb: Uint8Array | Uint16Array,
  cr: Uint8Array | Uint16Array,
  stride: number,
  columns: number,
  rows: number,
  into: Uint16Array | Uint32Array,
  pitch: number,
  bits: number,
  shift: number,
): void {
  for (let y = 0; y < rows; y++) {
    const from = y * stride
    const to = y * pitch
    for (let x = 0; x < columns; x++) into[to + x] = ((cr[from + x]! << bits) | cb[from + x]!) << shift
  }
}
