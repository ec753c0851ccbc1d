import { VideoError } from '../../errors.ts'

/** Where the samples of one component lie: in which plane, from which element, every how many elements. */
export interface Component {
  plane: number
  first: number
  step: number
}

/** How a pixel format stores its samples. */
export interface PixelFormat {
  name: string
  /** In the order Y, Cb, Cr; or R, G, B, which of a grey format are all the same samples. */
  components: readonly [Component, Component, Component]
  ycbcr: boolean
  /** Significant bits of a sample. */
  depth: number
  /** Bits below the significant ones, always zero: 6 in p010le. */
  padding: number
  /** log2 of the luma samples that share a chroma sample, across and down. */
  chromaX: number
  chromaY: number
  /** The range if the stream does not say. */
  fullRange: boolean
}

type Components = PixelFormat['components']
type Details = Partial<Pick<PixelFormat, 'depth' | 'padding' | 'chromaX' | 'chromaY' | 'fullRange'>>

const formats = new Map<string, PixelFormat>()

function add(name: string, ycbcr: boolean, components: Components, details: Details): void {
  const defaults = { depth: 8, padding: 0, chromaX: 0, chromaY: 0, fullRange: false }
  formats.set(name, { ...defaults, ...details, name, ycbcr, components })
}
const ycbcr = (name: string, components: Components, details: Details) => add(name, true, components, details)
const rgb = (name: string, components: Components, details: Details = {}) =>
  add(name, false, components, { fullRange: true, ...details })

const at = (plane: number, first = 0, step = 1): Component => ({ plane, first, step })

const DEPTHS: [suffix: string, depth: number][] = [
  ['', 8],
  ['9le', 9],
  ['10le', 10],
  ['12le', 12],
  ['14le', 14],
  ['16le', 16],
]
const SUBSAMPLINGS: [name: string, chromaX: number, chromaY: number][] = [
  ['420', 1, 1],
  ['422', 1, 0],
  ['444', 0, 0],
  ['440', 0, 1],
  ['411', 2, 0],
  ['410', 2, 2],
]
const PLANAR: Components = [at(0), at(1), at(2)]
const PLANAR_GBR: Components = [at(2), at(0), at(1)]
for (const [suffix, depth] of DEPTHS) {
  for (const [sampling, chromaX, chromaY] of SUBSAMPLINGS) {
    const details = { depth, chromaX, chromaY }
    ycbcr(`yuv${sampling}p${suffix}`, PLANAR, details)
    // A fourth plane is opacity, which a video on its own does not need.
    ycbcr(`yuva${sampling}p${suffix}`, PLANAR, details)
    if (depth === 8) ycbcr(`yuvj${sampling}p`, PLANAR, { ...details, fullRange: true })
  }
  rgb(`gray${suffix}`, [at(0), at(0), at(0)], { depth, fullRange: false })
  rgb(`gbrp${suffix}`, PLANAR_GBR, { depth })
  rgb(`gbrap${suffix}`, PLANAR_GBR, { depth })
}

const CB_CR: Components = [at(0), at(1, 0, 2), at(1, 1, 2)]
ycbcr('nv12', CB_CR, { chromaX: 1, chromaY: 1 })
ycbcr('nv21', [at(0), at(1, 1, 2), at(1, 0, 2)], { chromaX: 1, chromaY: 1 })
ycbcr('nv16', CB_CR, { chromaX: 1 })
ycbcr('nv24', CB_CR, {})
for (const depth of [10, 12, 16]) {
  const details = { depth, padding: 16 - depth }
  ycbcr(`p0${depth}le`, CB_CR, { ...details, chromaX: 1, chromaY: 1 })
  ycbcr(`p2${depth}le`, CB_CR, { ...details, chromaX: 1 })
  ycbcr(`p4${depth}le`, CB_CR, details)
}
ycbcr('yuyv422', [at(0, 0, 2), at(0, 1, 4), at(0, 3, 4)], { chromaX: 1 })
ycbcr('yvyu422', [at(0, 0, 2), at(0, 3, 4), at(0, 1, 4)], { chromaX: 1 })
ycbcr('uyvy422', [at(0, 1, 2), at(0, 0, 4), at(0, 2, 4)], { chromaX: 1 })

rgb('rgb24', [at(0, 0, 3), at(0, 1, 3), at(0, 2, 3)])
rgb('bgr24', [at(0, 2, 3), at(0, 1, 3), at(0, 0, 3)])
for (const name of ['rgba', 'rgb0']) rgb(name, [at(0, 0, 4), at(0, 1, 4), at(0, 2, 4)])
for (const name of ['bgra', 'bgr0']) rgb(name, [at(0, 2, 4), at(0, 1, 4), at(0, 0, 4)])
for (const name of ['argb', '0rgb']) rgb(name, [at(0, 1, 4), at(0, 2, 4), at(0, 3, 4)])
for (const name of ['abgr', '0bgr']) rgb(name, [at(0, 3, 4), at(0, 2, 4), at(0, 1, 4)])

/** Every pixel format that can be preprocessed, by FFmpeg's names. */
export const PIXEL_FORMATS: ReadonlyMap<string, PixelFormat> = formats

/** @throws {VideoError} `unsupported_format` for a name that is not in {@link PIXEL_FORMATS}. */
export function pixelFormat(name: string): PixelFormat {
  const format = formats.get(name)
  if (!format) throw new VideoError('unsupported_format', `no conversion for pixel format ${name}`)
  return format
}
