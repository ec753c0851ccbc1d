import type { Formula, Rotation } from '../../src/video/preprocess.ts'
import { FORMATS, type Picture, type Plane } from './preprocess-frames.ts'

/*
 * Both formulas as FORMULAS.md writes them, in float64, one output pixel at a time. Nothing of this is shared with
 * the code under test.
 */

type Rgb = [number, number, number]

const clamp = (x: number, low: number, high: number) => Math.max(low, Math.min(high, x))

/** lin(P, x, y) of values given by a function of integer column and row. */
function lin(
  at: (i: number, j: number) => number,
  width: number,
  height: number,
  x: number,
  y: number,
): number {
  const [cx, cy] = [clamp(x, 0, width - 1), clamp(y, 0, height - 1)]
  const [i, j] = [Math.floor(cx), Math.floor(cy)]
  const [f, g] = [cx - i, cy - j]
  const read = (di: number, dj: number) => at(Math.min(i + di, width - 1), Math.min(j + dj, height - 1))
  return (1 - g) * ((1 - f) * read(0, 0) + f * read(1, 0)) + g * ((1 - f) * read(0, 1) + f * read(1, 1))
}

const linPlane = ({ width, height, values }: Plane, x: number, y: number) =>
  lin((i, j) => values[j]![i]!, width, height, x, y)

/** Kr and Kb by matrix_coefficients. */
const WEIGHTS: Record<number, [number, number]> = {
  1: [0.2126, 0.0722],
  4: [0.3, 0.11],
  5: [0.299, 0.114],
  6: [0.299, 0.114],
  7: [0.212, 0.087],
  9: [0.2627, 0.0593],
  10: [0.2627, 0.0593],
}

function colourOf({ format, colour, height }: Picture): (samples: number[]) => Rgb {
  const { kind, bits } = FORMATS[format]!
  const full = colour.fullRange ?? (kind === 'rgb' || format.startsWith('yuvj'))
  const luma = (v: number) => (full ? v / (2 ** bits - 1) : (v / 2 ** (bits - 8) - 16) / 219)
  const chroma = (v: number) =>
    full ? (v - 2 ** (bits - 1)) / (2 ** bits - 1) : (v / 2 ** (bits - 8) - 128) / 224
  const clamped = (...rgb: Rgb): Rgb => rgb.map(v => clamp(v, 0, 1)) as Rgb
  if (kind === 'gray') return ([y]) => clamped(luma(y!), luma(y!), luma(y!))
  if (kind === 'rgb') return ([r, g, b]) => clamped(luma(r!), luma(g!), luma(b!))
  if (colour.matrix === 0) return ([g, b, r]) => clamped(luma(r!), luma(g!), luma(b!))
  const named = WEIGHTS[colour.matrix ?? 2]
  const [kr, kb] = named ?? WEIGHTS[height <= 576 ? 6 : 1]!
  const kg = 1 - kr - kb
  return ([v, u, w]) => {
    const [y, cb, cr] = [luma(v!), chroma(u!), chroma(w!)]
    return clamped(
      y + 2 * (1 - kr) * cr,
      y - ((2 * (1 - kb) * kb) / kg) * cb - ((2 * (1 - kr) * kr) / kg) * cr,
      y + 2 * (1 - kb) * cb,
    )
  }
}

const roundEven = (x: number) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x))

/** R, G and B in 0..1, [3][size][size], before mean and std. */
export function reference(
  picture: Picture,
  rotation: Rotation,
  formula: Formula,
  size: number,
): number[][][] {
  const { width: W, height: H, planes } = picture
  const [across, down] = FORMATS[picture.format]!.chroma
  const colour = colourOf(picture)
  const [first, ...rest] = planes as [Plane, ...Plane[]]
  const chromaAt = (x: number, y: number) =>
    rest.map(plane => linPlane(plane, x / across, (y - (down - 1) / 2) / down))

  const upright = rotation === 90 || rotation === 270 ? { W: H, H: W } : { W, H }
  const Rh = formula === 'rnb' ? size : Math.round((128 * size) / 112)
  const Rw = formula === 'rnb' ? size : Math.round((171 * size) / 112)
  const [Ch, Cw] = [roundEven((Rh - size) / 2), roundEven((Rw - size) / 2)]

  const pixel = (x: number, y: number): Rgb => {
    if (formula === 'rnb') return colour([linPlane(first, x, y), ...chromaAt(x, y)])
    const rgb = (i: number, j: number) => colour([first.values[j]![i]!, ...chromaAt(i, j)])
    return [0, 1, 2].map(c => lin((i, j) => rgb(i, j)[c]!, W, H, x, y)) as Rgb
  }
  const out: number[][][] = [0, 1, 2].map(() => Array.from({ length: size }, () => new Array<number>(size)))
  for (let r = 0; r < size; r++) {
    for (let c = 0; c < size; c++) {
      const u = ((Cw + c + 0.5) * upright.W) / Rw - 0.5
      const v = ((Ch + r + 0.5) * upright.H) / Rh - 0.5
      const [sx, sy] = {
        0: [u, v],
        90: [v, H - 1 - u],
        180: [W - 1 - u, H - 1 - v],
        270: [W - 1 - v, u],
      }[rotation] as [number, number]
      pixel(clamp(sx, 0, W - 1), clamp(sy, 0, H - 1)).forEach((value, channel) => {
        out[channel]![r]![c] = value
      })
    }
  }
  return out
}
