import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { VideoError } from '../../src/errors.ts'
import { Rng } from '../../src/rng.ts'
import {
  defaultPreprocessing,
  type Formula,
  type Preprocessing,
  preprocess,
  type Rotation,
} from '../../src/video/preprocess.ts'
import type { Colour, Frame } from '../../src/video/types.ts'
import { drawPicture, FORMATS, type Picture, toFrame } from './preprocess-frames.ts'
import { reference } from './preprocess-reference.ts'

const FORMULAS: Formula[] = ['rnb', 'torchvision']
const ROTATIONS: Rotation[] = [0, 90, 180, 270]
/** Samples at random, the same for the same seed. */
const drawing = (seed: number) => {
  const rng = Rng.of(seed)
  return (largest: number) => rng.int(largest + 1)
}
const draw = drawing(1)

const plain = (formula: Formula, size: number): Preprocessing => ({
  formula,
  size,
  mean: [0, 0, 0],
  std: [1, 1, 1],
})

/** R, G and B in 0..1, one after another. */
function preprocessed(frame: Frame, rotation: Rotation, formula: Formula, size = 112): Float32Array {
  const out = new Float32Array(3 * size * size)
  preprocess(frame, rotation, plain(formula, size), out, { offset: 0, channelStride: size * size })
  return out
}

/** The largest distance from the reference, of values in 0..1. */
function distance(picture: Picture, rotation: Rotation, formula: Formula, size: number): number {
  const actual = preprocessed(toFrame(picture), rotation, formula, size)
  const expected = reference(picture, rotation, formula, size).flat(2)
  expect(expected.length).toBe(actual.length)
  // NaN, too, is not close enough.
  return expected.reduce((most, value, i) => Math.max(most, Math.abs(value - actual[i]!)), 0)
}

describe('formulas', () => {
  for (const format of Object.keys(FORMATS)) {
    test(`${format} is preprocessed as written down`, () => {
      const picture = drawPicture(format, 341, 255, {}, draw)
      for (const formula of FORMULAS) {
        for (const rotation of ROTATIONS) {
          const size = rotation === 0 ? 112 : 48
          expect(distance(picture, rotation, formula, size)).toBeLessThan(1e-6)
        }
      }
    })
  }

  test('any size, format, rotation and colour is preprocessed as written down', () => {
    const cases = fc.record({
      format: fc.constantFrom(...Object.keys(FORMATS)),
      width: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 10, max: 200 })),
      height: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 10, max: 200 })),
      rotation: fc.constantFrom(...ROTATIONS),
      formula: fc.constantFrom(...FORMULAS),
      size: fc.integer({ min: 1, max: 40 }),
      matrix: fc.constantFrom(undefined, 0, 1, 2, 4, 5, 6, 7, 9, 10),
      fullRange: fc.constantFrom(undefined, false, true),
      seed: fc.integer(),
    })
    fc.assert(
      fc.property(cases, ({ format, width, height, rotation, formula, size, matrix, fullRange, seed }) => {
        const picture = drawPicture(format, width, height, { matrix, fullRange }, drawing(seed))
        expect(distance(picture, rotation, formula, size)).toBeLessThan(1e-6)
      }),
      { numRuns: 400 },
    )
  })

  test('tiny frames fill the output', () => {
    for (const [width, height] of [
      [1, 1],
      [2, 2],
      [1, 3],
      [3, 1],
    ] as const) {
      for (const format of ['yuv420p', 'yuv444p', 'nv12', 'yuv410p']) {
        for (const formula of FORMULAS) {
          const picture = drawPicture(format, width, height, { matrix: 1 }, draw)
          expect(distance(picture, 90, formula, 60)).toBeLessThan(1e-6)
        }
      }
    }
  })

  test('a tall frame is BT.709 from 577 lines on where its stream does not say', () => {
    for (const height of [576, 577]) {
      const picture = drawPicture('yuv420p', 8, height, {}, draw)
      const said = { ...picture, colour: { matrix: height === 576 ? 6 : 1, fullRange: false } }
      expect(preprocessed(toFrame(picture), 0, 'rnb')).toEqual(preprocessed(toFrame(said), 0, 'rnb'))
      expect(distance(picture, 0, 'rnb', 112)).toBeLessThan(1e-6)
    }
  })
})

describe('colour', () => {
  /** 8-bit codes of full red, green, blue, white and black, as in the tables of the two recommendations. */
  const BARS: Record<string, { colour: Colour; codes: number[][] }> = {
    'BT.601': {
      colour: { matrix: 6 },
      codes: [
        [81, 90, 240],
        [145, 54, 34],
        [41, 240, 110],
        [235, 128, 128],
        [16, 128, 128],
      ],
    },
    'BT.709': {
      colour: { matrix: 1, fullRange: false },
      codes: [
        [63, 102, 240],
        [173, 42, 26],
        [32, 240, 118],
        [235, 128, 128],
        [16, 128, 128],
      ],
    },
  }
  const RGB = [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
    [1, 1, 1],
    [0, 0, 0],
  ]
  for (const [name, { colour, codes }] of Object.entries(BARS)) {
    test(`the colours of ${name} come out`, () => {
      codes.forEach((code, i) => {
        for (const format of ['yuv420p', 'nv12', 'yuv444p']) {
          const picture = drawPicture(format, 16, 16, colour, () => 0)
          picture.planes.forEach((plane, p) => {
            for (const row of plane.values) row.fill(code[p]!)
          })
          for (const formula of FORMULAS) {
            const out = preprocessed(toFrame(picture), 0, formula, 4)
            // The codes are rounded, to half a level of chroma: 2 (1 - Kb) / 224 / 2.
            for (let c = 0; c < 3; c++) expect(Math.abs(out[c * 16 + 5]! - RGB[i]![c]!)).toBeLessThan(0.006)
          }
        }
      })
    })
  }

  test('mean and std are applied to 0..1, each to its channel', () => {
    const picture = drawPicture('yuv420p', 34, 26, { matrix: 1 }, draw)
    for (const formula of FORMULAS) {
      const settings: Preprocessing = { formula, size: 20, mean: [0.1, 0.5, 0.9], std: [0.25, 2, 0.01] }
      const out = new Float32Array(3 * 400)
      preprocess(toFrame(picture), 0, settings, out, { offset: 0, channelStride: 400 })
      reference(picture, 0, formula, 20).forEach((channel, c) => {
        channel.flat().forEach((value, i) => {
          const expected = (value - settings.mean[c]!) / settings.std[c]!
          expect(Math.abs(out[c * 400 + i]! - expected)).toBeLessThan(1e-6 / settings.std[c]!)
        })
      })
    }
  })

  test('the defaults: 0..1 for rnb, and the Kinetics statistics for torchvision', () => {
    const picture = drawPicture('yuvj420p', 16, 16, {}, () => 128)
    const value = (formula: Formula) => {
      const out = new Float32Array(3 * 112 * 112)
      preprocess(toFrame(picture), 0, defaultPreprocessing(formula), out, {
        offset: 0,
        channelStride: 112 * 112,
      })
      return [0, 1, 2].map(c => out[c * 112 * 112]!)
    }
    for (const v of value('rnb')) expect(v).toBeCloseTo(128 / 255, 6)
    const [r, g, b] = value('torchvision')
    expect(r).toBeCloseTo((128 / 255 - 0.43216) / 0.22803, 5)
    expect(g).toBeCloseTo((128 / 255 - 0.394666) / 0.22145, 5)
    expect(b).toBeCloseTo((128 / 255 - 0.37645) / 0.216989, 5)
    expect(defaultPreprocessing('rnb', 64).size).toBe(64)
  })
})

describe('orientation', () => {
  /** Red at the upper left, green at the upper right, blue at the lower left, white at the lower right. */
  function corners(): Frame {
    const [width, height] = [64, 40]
    const picture = drawPicture('rgb24', width, height, {}, () => 0)
    const [red, green, blue] = picture.planes as [
      Picture['planes'][0],
      Picture['planes'][0],
      Picture['planes'][0],
    ]
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const [right, low] = [x >= width / 2, y >= height / 2]
        red.values[y]![x] = right === low ? 255 : 0
        green.values[y]![x] = right ? 255 : 0
        blue.values[y]![x] = low ? 255 : 0
      }
    }
    return toFrame(picture)
  }

  const NAMES: Record<string, string> = {
    '1,0,0': 'red',
    '0,1,0': 'green',
    '0,0,1': 'blue',
    '1,1,1': 'white',
  }
  function shown(rotation: Rotation, formula: Formula): string[] {
    const out = preprocessed(corners(), rotation, formula)
    return [
      [10, 10],
      [10, 101],
      [101, 10],
      [101, 101],
    ].map(([row, column]) => NAMES[[0, 1, 2].map(c => out[c * 12544 + row! * 112 + column!]).join()] ?? '?')
  }

  for (const formula of FORMULAS) {
    test(`${formula} turns a frame upright, clockwise`, () => {
      expect(shown(0, formula)).toEqual(['red', 'green', 'blue', 'white'])
      expect(shown(90, formula)).toEqual(['blue', 'red', 'white', 'green'])
      expect(shown(180, formula)).toEqual(['white', 'blue', 'green', 'red'])
      expect(shown(270, formula)).toEqual(['green', 'white', 'red', 'blue'])
    })
  }
})

describe('memory', () => {
  test('a frame goes to its place in the clip, and nothing else is touched', () => {
    const [size, frames] = [10, 4]
    const plane = size * size
    const picture = drawPicture('yuv420p', 33, 21, { matrix: 1 }, draw)
    for (const formula of FORMULAS) {
      for (const rotation of ROTATIONS) {
        const clip = new Float32Array(7 + 3 * frames * plane).fill(-7)
        const place = { offset: 7 + 2 * plane, channelStride: frames * plane }
        preprocess(toFrame(picture), rotation, plain(formula, size), clip, place)
        const alone = preprocessed(toFrame(picture), rotation, formula, size)
        const expected = new Float32Array(clip.length).fill(-7)
        for (let c = 0; c < 3; c++) {
          const at = place.offset + c * place.channelStride
          expected.set(alone.subarray(c * plane, (c + 1) * plane), at)
        }
        expect(clip).toEqual(expected)
      }
    }
  })

  test('a clip tensor may lie in shared memory', () => {
    const picture = drawPicture('nv12', 30, 20, {}, draw)
    const out = new Float32Array(new SharedArrayBuffer(4 * 3 * 64))
    preprocess(toFrame(picture), 0, plain('torchvision', 8), out, { offset: 0, channelStride: 64 })
    expect([...out]).toEqual([...preprocessed(toFrame(picture), 0, 'torchvision', 8)])
  })

  test('what does not fit is an error, not a hole in the clip', () => {
    const frame = toFrame(drawPicture('yuv420p', 30, 20, {}, draw))
    const place = { offset: 1, channelStride: 64 }
    expect(() => preprocess(frame, 0, plain('rnb', 8), new Float32Array(192), place)).toThrow(RangeError)
    for (const planes of [
      frame.planes.slice(0, 2),
      frame.planes.map(p => ({ ...p, data: p.data.slice(0, 40) })),
    ])
      expect(() => preprocessed({ ...frame, planes }, 0, 'rnb')).toThrow(RangeError)
  })
})

describe('unsupported', () => {
  const frame = toFrame(drawPicture('yuv420p', 8, 8, {}, draw))
  const failure = (changed: Frame) => {
    try {
      preprocessed(changed, 0, 'rnb')
    } catch (error) {
      return error
    }
  }
  test('an unknown pixel format is a VideoError that names it', () => {
    const error = failure({ ...frame, format: 'pal8' }) as VideoError
    expect(error).toBeInstanceOf(VideoError)
    expect(error.code).toBe('unsupported_format')
    expect(error.message).toContain('pal8')
  })
  test('so is a matrix without Kr and Kb', () => {
    for (const matrix of [8, 11, 14]) {
      const error = failure({ ...frame, colour: { matrix } }) as VideoError
      expect(error).toBeInstanceOf(VideoError)
      expect(error.code).toBe('unsupported_format')
      expect(error.message).toContain(String(matrix))
    }
  })
})
