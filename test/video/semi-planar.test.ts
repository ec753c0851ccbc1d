import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { defaultPreprocessing, preprocess } from '../../src/video/preprocess.ts'
import { semiPlanarLayout, writeSemiPlanar } from '../../src/video/semi-planar.ts'
import type { Frame } from '../../src/video/types.ts'

const FORMATS = [
  { format: 'yuv420p', depth: 8 },
  { format: 'yuvj420p', depth: 8 },
  { format: 'yuv420p10le', depth: 10 },
  { format: 'yuv420p12le', depth: 12 },
]

/** A frame of noise whose rows have some padding, as libavcodec's have. */
const frames = fc
  .record({
    kind: fc.constantFrom(...FORMATS),
    width: fc.integer({ min: 1, max: 40 }),
    height: fc.integer({ min: 1, max: 40 }),
    lumaPadding: fc.integer({ min: 0, max: 9 }),
    chromaPadding: fc.integer({ min: 0, max: 9 }),
    seed: fc.integer(),
  })
  .map(({ kind: { format, depth }, width, height, lumaPadding, chromaPadding, seed }): Frame => {
    let state = seed
    const noise = (columns: number, rows: number, padding: number) => {
      const stride = columns + padding
      // As libavcodec's planes are seen here: without the last row's padding.
      const length = stride * (rows - 1) + columns
      const data = depth > 8 ? new Uint16Array(length) : new Uint8Array(length)
      for (let i = 0; i < length; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) | 0
        data[i] = (state >>> 12) & (2 ** depth - 1)
      }
      return { data, stride }
    }
    const [columns, rows] = [(width + 1) >> 1, (height + 1) >> 1]
    const planes = [
      noise(width, height, lumaPadding),
      noise(columns, rows, chromaPadding),
      noise(columns, rows, chromaPadding),
    ]
    return {
      index: 0,
      format,
      width,
      height,
      planes,
      colour: { matrix: 1, fullRange: format === 'yuvj420p' },
    }
  })

/** The same picture in the layout that is written. */
function rewritten(frame: Frame): Frame {
  const layout = semiPlanarLayout(frame)!
  const memory = new ArrayBuffer(layout.bytes + 12)
  new Uint8Array(memory).fill(0xa5)
  writeSemiPlanar(frame, layout, memory, 8)
  const bytes = new Uint8Array(memory)
  expect([...bytes.subarray(0, 8), ...bytes.subarray(8 + layout.bytes)]).toEqual(Array(12).fill(0xa5))
  const wide = layout.format !== 'nv12'
  const plane = (start: number, end: number) => {
    const part = memory.slice(8 + start, 8 + end)
    const data = wide ? new Uint16Array(part) : new Uint8Array(part)
    return { data, stride: layout.pitch / data.BYTES_PER_ELEMENT }
  }
  const planes = [plane(0, layout.chromaOffset), plane(layout.chromaOffset, layout.bytes)]
  return { ...frame, format: layout.format, planes }
}

test('the picture stays the same: every sample, and the clip that is made of it', () => {
  fc.assert(
    fc.property(frames, frame => {
      const other = rewritten(frame)
      const { width, height, planes } = frame
      const shift = { nv12: 0, p010le: 6, p012le: 4 }[other.format as 'nv12']
      const [luma, pairs] = other.planes
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) {
          const chroma = (y >> 1) * planes[1]!.stride + (x >> 1)
          const pair = (y >> 1) * pairs!.stride + 2 * (x >> 1)
          expect([luma!.data[y * luma!.stride + x], pairs!.data[pair], pairs!.data[pair + 1]]).toEqual([
            planes[0]!.data[y * planes[0]!.stride + x]! << shift,
            planes[1]!.data[chroma]! << shift,
            planes[2]!.data[chroma]! << shift,
          ])
        }
      const preprocessing = defaultPreprocessing('torchvision', 16)
      const clip = (from: Frame) => {
        const out = new Float32Array(3 * 256)
        preprocess(from, 0, preprocessing, out, { offset: 0, channelStride: 256 })
        return out
      }
      expect(clip(other)).toEqual(clip(frame))
    }),
    { numRuns: 60 },
  )
})

test('what is not 4:2:0 in planes is left to others', () => {
  const plane = { data: new Uint8Array(64), stride: 8 }
  const frame = { index: 0, width: 8, height: 8, planes: [plane, plane, plane], colour: {} }
  for (const format of ['yuv444p', 'yuv422p', 'gbrp', 'nv12', 'yuv420p9le'])
    expect(semiPlanarLayout({ ...frame, format })).toBeUndefined()
  expect(semiPlanarLayout({ ...frame, format: 'gray', planes: [plane] })).toBeUndefined()
})
