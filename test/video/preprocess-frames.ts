import type { Colour, Frame } from '../../src/video/types.ts'

/** A plane of samples as the formulas see it: values by row and column, wherever they lie in memory. */
export interface Plane {
  width: number
  height: number
  values: number[][]
}

/** A frame before it is laid out in memory as some pixel format. */
export interface Picture {
  format: string
  width: number
  height: number
  colour: Colour
  /** Y, Cb, Cr; or R, G, B; or Y alone. */
  planes: Plane[]
}

interface Description {
  kind: 'ycbcr' | 'rgb' | 'gray'
  bits: number
  /** Luma samples for a chroma sample, across and down. */
  chroma: [number, number]
  /** Lays planes out; `bits` are of a sample, in words of 8 or 16. */
  pack: (planes: Plane[], bits: number) => Frame['planes']
}

const GUARD = 3

/** A memory plane of `lines`, with what no formula may read behind each line. */
function lines(rows: number[][], bits: number): Frame['planes'][0] {
  const stride = rows[0]!.length + GUARD
  const data = bits > 8 ? new Uint16Array(stride * rows.length) : new Uint8Array(stride * rows.length)
  data.fill(bits > 8 ? 0xffff : 0xff)
  rows.forEach((row, y) => {
    data.set(row, y * stride)
  })
  return { data, stride }
}

const planar =
  (...order: number[]): Description['pack'] =>
  (planes, bits) =>
    order.map(i => lines(planes[i]!.values, bits))

/** One plane of groups: for each pixel the named components (`x` is filler). */
const packedRgb =
  (order: string): Description['pack'] =>
  planes => {
    const rows = planes[0]!.values.map((row, y) =>
      row.flatMap((_, x) => [...order].map(c => (c === 'x' ? 77 : planes['rgb'.indexOf(c)]!.values[y]![x]!))),
    )
    return [lines(rows, 8)]
  }

/** Luma, then chroma pairs in one plane. */
const semiPlanar =
  (first: 1 | 2, shift = 0): Description['pack'] =>
  ([luma, ...chroma], bits) => {
    const up = (v: number) => v * 2 ** shift
    const [a, b] = first === 1 ? chroma : [chroma[1], chroma[0]]
    const pairs = a!.values.map((row, y) => row.flatMap((v, x) => [up(v), up(b!.values[y]![x]!)]))
    return [
      lines(
        luma!.values.map(row => row.map(up)),
        bits,
      ),
      lines(pairs, bits),
    ]
  }

/** Two luma samples with the chroma that they share, in this order. */
const packed422 =
  (order: string): Description['pack'] =>
  ([luma, cb, cr]) => {
    const rows = luma!.values.map((row, y) =>
      cb!.values[y]!.flatMap((u, x) => {
        const ys = [row[2 * x]!, row[2 * x + 1] ?? 0]
        return [...order].map(c => (c === 'y' ? ys.shift()! : c === 'u' ? u : cr!.values[y]![x]!))
      }),
    )
    return [lines(rows, 8)]
  }

const ycbcr = (bits: number, chroma: [number, number], pack = planar(0, 1, 2)): Description => ({
  kind: 'ycbcr',
  bits,
  chroma,
  pack,
})
const rgb = (bits: number, pack: Description['pack']): Description => ({
  kind: 'rgb',
  bits,
  chroma: [1, 1],
  pack,
})

/** What the tests know of pixel formats, from FFmpeg's names and definitions of them. */
export const FORMATS: Record<string, Description> = {
  yuv420p: ycbcr(8, [2, 2]),
  yuvj420p: ycbcr(8, [2, 2]),
  yuv422p: ycbcr(8, [2, 1]),
  yuvj422p: ycbcr(8, [2, 1]),
  yuv444p: ycbcr(8, [1, 1]),
  yuvj444p: ycbcr(8, [1, 1]),
  yuv440p: ycbcr(8, [1, 2]),
  yuv411p: ycbcr(8, [4, 1]),
  yuv410p: ycbcr(8, [4, 4]),
  yuv420p10le: ycbcr(10, [2, 2]),
  yuv422p10le: ycbcr(10, [2, 1]),
  yuv444p10le: ycbcr(10, [1, 1]),
  yuv420p12le: ycbcr(12, [2, 2]),
  yuv422p12le: ycbcr(12, [2, 1]),
  yuv444p12le: ycbcr(12, [1, 1]),
  yuv444p16le: ycbcr(16, [1, 1]),
  nv12: ycbcr(8, [2, 2], semiPlanar(1)),
  nv21: ycbcr(8, [2, 2], semiPlanar(2)),
  nv16: ycbcr(8, [2, 1], semiPlanar(1)),
  nv24: ycbcr(8, [1, 1], semiPlanar(1)),
  p010le: ycbcr(10, [2, 2], semiPlanar(1, 6)),
  p012le: ycbcr(12, [2, 2], semiPlanar(1, 4)),
  p016le: ycbcr(16, [2, 2], semiPlanar(1)),
  p210le: ycbcr(10, [2, 1], semiPlanar(1, 6)),
  p410le: ycbcr(10, [1, 1], semiPlanar(1, 6)),
  yuyv422: ycbcr(8, [2, 1], packed422('yuyv')),
  yvyu422: ycbcr(8, [2, 1], packed422('yvyu')),
  uyvy422: ycbcr(8, [2, 1], packed422('uyvy')),
  gray: { kind: 'gray', bits: 8, chroma: [1, 1], pack: planar(0) },
  gray10le: { kind: 'gray', bits: 10, chroma: [1, 1], pack: planar(0) },
  gbrp: rgb(8, planar(1, 2, 0)),
  gbrp10le: rgb(10, planar(1, 2, 0)),
  rgb24: rgb(8, packedRgb('rgb')),
  bgr24: rgb(8, packedRgb('bgr')),
  rgba: rgb(8, packedRgb('rgbx')),
  bgr0: rgb(8, packedRgb('bgrx')),
  argb: rgb(8, packedRgb('xrgb')),
  '0bgr': rgb(8, packedRgb('xbgr')),
}

/** A picture of this format and size with every sample drawn by `sample(largest)`. */
export function drawPicture(
  format: string,
  width: number,
  height: number,
  colour: Colour,
  sample: (largest: number) => number,
): Picture {
  const { kind, bits, chroma } = FORMATS[format]!
  const plane = (across: number, down: number): Plane => {
    const [w, h] = [Math.ceil(width / across), Math.ceil(height / down)]
    const values = Array.from({ length: h }, () => Array.from({ length: w }, () => sample(2 ** bits - 1)))
    return { width: w, height: h, values }
  }
  const planes = kind === 'gray' ? [plane(1, 1)] : [plane(1, 1), plane(...chroma), plane(...chroma)]
  return { format, width, height, colour, planes }
}

/** The picture in memory. */
export function toFrame({ format, width, height, colour, planes }: Picture): Frame {
  const { bits, pack } = FORMATS[format]!
  return { index: 0, format, width, height, colour, planes: pack(planes, bits) }
}
