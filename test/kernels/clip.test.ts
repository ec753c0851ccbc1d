import { describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  CLIP_BLOCK,
  CLIP_ENTRY,
  CLIP_PARAMETER_BYTES,
  CLIP_PTX,
  type ClipLayout,
  clipFrameBytes,
  clipGrid,
  writeClipParameters,
  writeClipPlace,
} from '../../kernels/clip.ts'
import { Rng } from '../../src/rng.ts'
import { clipParameters } from '../../src/video/nvdec/clip-parameters.ts'
import type { SurfaceFormat } from '../../src/video/nvdec/surface.ts'
import { type Formula, type Preprocessing, preprocess, type Rotation } from '../../src/video/preprocess.ts'
import type { Colour, Frame } from '../../src/video/types.ts'
import { Memory, PtxKernel } from './ptx-machine.ts'

/** A surface as NVDEC makes it: rows of luma, then of chroma, wider than the picture, and noise all over. */
interface Surface {
  frame: Frame
  bytes: Uint8Array
  pitch: number
  chromaAt: number
}

function noise(rng: Rng, width: number, height: number, format: SurfaceFormat, colour: Colour): Surface {
  const bytesPerSample = format === 'nv12' ? 1 : 2
  const pitch = Math.ceil((width * bytesPerSample) / 64) * 64 + 64
  const rows = height + (height & 1)
  const bytes = new Uint8Array(pitch * (rows + rows / 2))
  for (let i = 0; i < bytes.length; i++) bytes[i] = rng.int(256)
  const samples = bytesPerSample === 1 ? bytes : new Uint16Array(bytes.buffer)
  if (format !== 'nv12') {
    const padding = format === 'p010le' ? 6 : 4
    for (let i = 0; i < samples.length; i++) samples[i] = (samples[i]! >> padding) << padding
  }
  const stride = pitch / bytesPerSample
  const planes = [
    { data: samples.subarray(0, stride * rows), stride },
    { data: samples.subarray(stride * rows), stride },
  ]
  return { frame: { index: 0, format, width, height, planes, colour }, bytes, pitch, chromaAt: pitch * rows }
}

const MEAN: Preprocessing['mean'] = [0.43216, 0.394666, 0.37645]
const STD: Preprocessing['std'] = [0.22803, 0.22145, 0.216989]

/** R, G and B of one output pixel in 0..1, as the kernel stored them, without mean and std. */
type ReadPixel = (row: number, column: number) => number[]

const readHalf = (view: DataView, at: number) =>
  new Float16Array(Uint16Array.of(view.getUint16(at, true)).buffer)[0]!

/** Runs the kernel for some pixels of one frame, of three of a launch; the other outputs are nobody's memory. */
function run(
  { frame, bytes, pitch, chromaAt }: Surface,
  rotation: Rotation,
  preprocessing: Preprocessing,
  layout: ClipLayout,
  pixels: Iterable<readonly [number, number]>,
): { at: ReadPixel; out: Uint8Array } {
  const { size, mean, std } = preprocessing
  const frames = 3
  const described = {
    format: frame.format as SurfaceFormat,
    width: frame.width,
    height: frame.height,
    pitch,
    colour: frame.colour,
  }
  const parameters = new Uint8Array(CLIP_PARAMETER_BYTES)
  const view = new DataView(parameters.buffer)
  writeClipParameters(view, clipParameters(described, rotation, preprocessing, layout, frames))
  const memory = new Memory()
  const surface = memory.place(bytes)
  const channels = layout.kind === 'planes' ? 3 : layout.channels
  const outBytes = clipFrameBytes(layout, size) * frames * (layout.kind === 'planes' ? 3 : 1)
  const out = memory.place(new Uint8Array(outBytes).fill(0xee))
  const t = 1
  const first = out + t * clipFrameBytes(layout, size)
  writeClipPlace(view, 2, { luma: surface, chroma: surface + chromaAt, out: first })
  const kernel = new PtxKernel(CLIP_PTX, CLIP_ENTRY, parameters, memory)
  for (const [row, column] of pixels) {
    const [bx, by] = CLIP_BLOCK
    kernel.run([Math.floor(column / bx), Math.floor(row / by), 2], [column % bx, row % by, 0])
  }
  const result = memory.read(out)
  const values = new DataView(result.buffer)
  const at: ReadPixel = (row, column) =>
    [0, 1, 2].map(c => {
      const pixel = row * size + column
      const stored =
        layout.kind === 'planes'
          ? values.getFloat32(4 * ((c * frames + t) * size * size + pixel), true)
          : layout.kind === 'f32'
            ? values.getFloat32(4 * ((t * size * size + pixel) * channels + c), true)
            : readHalf(values, 2 * ((t * size * size + pixel) * channels + c))
      return stored * std[c]! + mean[c]!
    })
  return { at, out: result }
}

/** The same of the CPU's float64 arithmetic. */
function expected(frame: Frame, rotation: Rotation, preprocessing: Preprocessing): ReadPixel {
  const { size } = preprocessing
  const out = new Float32Array(3 * size * size)
  const plain: Preprocessing = { ...preprocessing, mean: [0, 0, 0], std: [1, 1, 1] }
  preprocess(frame, rotation, plain, out, { offset: 0, channelStride: size * size })
  return (row, column) => [0, 1, 2].map(c => out[c * size * size + row * size + column]!)
}

const every = function* (size: number): Generator<readonly [number, number]> {
  for (let row = 0; row < size; row++) for (let column = 0; column < size; column++) yield [row, column]
}

function worst(at: ReadPixel, wanted: ReadPixel, pixels: Iterable<readonly [number, number]>): number {
  let most = 0
  for (const [row, column] of pixels) {
    const [values, others] = [at(row, column), wanted(row, column)]
    values.forEach((value, c) => {
      // NaN, too, is no match.
      const difference = Math.abs(value - others[c]!)
      if (!(difference <= most)) most = difference
    })
  }
  return most
}

const ROTATIONS: Rotation[] = [0, 90, 180, 270]
const FORMULAS: Formula[] = ['rnb', 'torchvision']
const PLANES: ClipLayout = { kind: 'planes' }
const STEP = 1 / 255

describe('the clip kernel, run on the CPU', () => {
  const size = 20
  const cases = FORMULAS.flatMap(formula =>
    ROTATIONS.flatMap(rotation =>
      (['nv12', 'p010le', 'p012le'] as const).flatMap(format =>
        [
          [46, 31],
          [15, 17],
          [64, 48],
          [2, 2],
          [1, 1],
        ].map(([width, height]) => ({ formula, rotation, format, width: width!, height: height! })),
      ),
    ),
  )
  test('every pixel of noise is that of the CPU: formulas, rotations, depths, sizes, colours', () => {
    const rng = Rng.of(7, 'clip')
    const colours: Colour[] = [{}, { matrix: 1 }, { matrix: 6, fullRange: true }, { matrix: 9 }]
    let most = 0
    cases.forEach(({ formula, rotation, format, width, height }, i) => {
      const surface = noise(rng, width, height, format, colours[i % colours.length]!)
      const preprocessing: Preprocessing = { formula, size, mean: MEAN, std: STD }
      const { at } = run(surface, rotation, preprocessing, PLANES, every(size))
      most = Math.max(most, worst(at, expected(surface.frame, rotation, preprocessing), every(size)))
    })
    // All but the rounding of float32.
    expect(most).toBeLessThan(1e-5)
  })

  test.each(FORMULAS)('%s: exact in frames as large as NVDEC decodes', formula => {
    const rng = Rng.of(8, 'clip')
    const preprocessing: Preprocessing = { formula, size: 112, mean: [0, 0, 0], std: [1, 1, 1] }
    for (const [width, height, rotation] of [
      [8192, 24, 0],
      [24, 8190, 90],
      [8191, 23, 180],
    ] as const) {
      const surface = noise(rng, width, height, 'nv12', { matrix: 1 })
      const pixels = Array.from({ length: 150 }, () => [rng.int(112), rng.int(112)] as const)
      const { at } = run(surface, rotation, preprocessing, PLANES, pixels)
      expect(worst(at, expected(surface.frame, rotation, preprocessing), pixels)).toBeLessThan(1e-5)
    }
  })

  test.each([
    { kind: 'f16', channels: 4 },
    { kind: 'f16', channels: 8 },
    { kind: 'f32', channels: 4 },
    { kind: 'f32', channels: 8 },
  ] as const)('layout $kind of $channels channels: padding is zero, nothing else is touched', layout => {
    const rng = Rng.of(9, layout.kind)
    const surface = noise(rng, 40, 30, 'nv12', { matrix: 1 })
    const preprocessing: Preprocessing = { formula: 'torchvision', size, mean: MEAN, std: STD }
    const { at, out } = run(surface, 0, preprocessing, layout, every(size))
    expect(worst(at, expected(surface.frame, 0, preprocessing), every(size))).toBeLessThan(
      layout.kind === 'f16' ? STEP : 1e-5,
    )
    const frameBytes = clipFrameBytes(layout, size)
    const [before, own, after] = [0, 1, 2].map(t => out.subarray(t * frameBytes, (t + 1) * frameBytes))
    expect(before!.every(byte => byte === 0xee) && after!.every(byte => byte === 0xee)).toBe(true)
    const element = layout.kind === 'f16' ? 2 : 4
    const pixelBytes = element * layout.channels
    expect(own!.every((byte, i) => i % pixelBytes < 3 * element || byte === 0)).toBe(true)
  })

  test('planes: only the frame’s own part of each channel is written', () => {
    const surface = noise(Rng.of(10), 40, 30, 'nv12', {})
    const preprocessing: Preprocessing = { formula: 'rnb', size, mean: MEAN, std: STD }
    const { out } = run(surface, 0, preprocessing, PLANES, every(size))
    const plane = 4 * size * size
    for (let c = 0; c < 3; c++)
      for (const t of [0, 2]) {
        const piece = out.subarray((c * 3 + t) * plane, (c * 3 + t + 1) * plane)
        expect(piece.every(byte => byte === 0xee)).toBe(true)
      }
  })

  test('threads beyond the edge write nothing', () => {
    const surface = noise(Rng.of(11), 40, 30, 'nv12', {})
    const preprocessing: Preprocessing = { formula: 'rnb', size, mean: MEAN, std: STD }
    expect(clipGrid(size, 5)).toEqual([2, 2, 5])
    const outside = [...every(32)].filter(([row, column]) => row >= size || column >= size)
    const { out } = run(surface, 0, preprocessing, PLANES, outside)
    expect(out.every(byte => byte === 0xee)).toBe(true)
  })
})

const ptxas = Bun.which('ptxas')
if (!ptxas) console.warn('skipping the assembly of kernels: ptxas is missing')

describe.skipIf(!ptxas)('ptxas takes it', () => {
  test.each(['sm_80', 'sm_90'])('for %s, without memory of its own', architecture => {
    const folder = mkdtempSync(join(tmpdir(), 'rnb-ptx-'))
    try {
      const kernel = join(import.meta.dir, '../../kernels/clip.ptx')
      const { stderr, exitCode } = Bun.spawnSync([
        ptxas!,
        '-v',
        `-arch=${architecture}`,
        kernel,
        '-o',
        join(folder, 'clip.cubin'),
      ])
      expect(exitCode).toBe(0)
      expect(stderr.toString()).toContain('0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
