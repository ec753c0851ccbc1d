import { afterAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadCheckpoint } from '../../models/checkpoint/load.ts'
import { writeSafetensors } from '../../models/checkpoint/safetensors.ts'
import { tensorOf } from '../../models/checkpoint/tensor.ts'
import {
  conversionText,
  convertWeights,
  exportOnnx,
  exportText,
  inspectionText,
  inspectWeights,
  verificationText,
  verifyWeights,
} from '../../src/cli/weights.ts'
import { UsageError } from '../../src/errors.ts'
import { architectureOf, caseClips, caseNamed } from './cases.ts'

const c = caseNamed('tiny')
const fixture = (name: string): string => new URL(`./fixtures/${name}`, import.meta.url).pathname
const tiny = fixture('tiny-zip.pth.tar')
const folder = mkdtempSync(join(tmpdir(), 'rnb-weights-'))
afterAll(() => rmSync(folder, { recursive: true }))

function oneTensor(name: string, shape: number[], values: Float32Array): string {
  const path = join(folder, name)
  writeSafetensors(path, new Map([['values', tensorOf('float32', shape, values)]]))
  return path
}

describe('inspect', () => {
  test('tells the architecture and every tensor', () => {
    const found = inspectWeights(tiny)
    expect(found.architecture).toEqual(architectureOf(c))
    expect(found.format).toBe('torch zip')
    expect(found.tensors.length).toBe(165)
    expect(found.tensors[0]).toEqual({
      name: 'module.res2plus1d.conv1.spatial_conv.weight',
      dtype: 'float32',
      shape: [5, 3, 1, 7, 7],
    })
    const text = inspectionText(found)
    expect(text).toContain(
      'r2plus1d_10 (layout r2plus1d-pytorch; 3 classes; blocks 1, 1, 1, 1; widths 2, 2, 2, 3)',
    )
    expect(text).toMatch(/module\.linear\.bias +float32 +3\n?/)
  })

  test('tells the tensors of what is no network, and what is missing', () => {
    const found = inspectWeights(fixture('views-zip.pth'))
    expect(found.architecture).toBeUndefined()
    expect(found.problem).toMatch(/missing stem\.0\.weight/)
    expect(inspectionText(found)).toMatch(/scalar +float32 +scalar/)
  })
})

describe('convert', () => {
  test('writes safetensors by the plain names, as float32 or float16', () => {
    for (const dtype of ['float32', 'float16'] as const) {
      const output = join(folder, `${dtype}.safetensors`)
      const said = convertWeights(tiny, output, dtype)
      expect(conversionText(said)).toContain(`165 tensors, ${dtype}`)
      const checkpoint = loadCheckpoint(output)
      expect(checkpoint.tensors.get('linear.weight')!.dtype).toBe(dtype)
      expect(checkpoint.tensors.get('res2plus1d.conv1.bn.num_batches_tracked')!.dtype).toBe('int64')
      checkpoint.close()
    }
    const inputs = oneTensor('clips', [1, 3, c.frames, c.size, c.size], caseClips(c))
    const expected = oneTensor('logits', [1, c.classes], logits())
    expect(verifyWeights(join(folder, 'float32.safetensors'), inputs, expected).ok).toBe(true)
    expect(verifyWeights(join(folder, 'float16.safetensors'), inputs, expected, 1e-6).ok).toBe(false)
    expect(verifyWeights(join(folder, 'float16.safetensors'), inputs, expected, 1e-2).ok).toBe(true)
  })

  test('leaves nothing behind where it cannot write', () => {
    expect(() => convertWeights(tiny, join(folder, 'none', 'x'))).toThrow(/ENOENT/)
    expect(() => convertWeights(fixture('views-zip.pth'), join(folder, 'views'))).toThrow(UsageError)
    expect(existsSync(join(folder, 'views'))).toBe(false)
    expect(readdirSync(folder).filter(name => name.endsWith('.part'))).toEqual([])
  })
})

const logits = (): Float32Array => Float32Array.from(c.logits.flat())

describe('verify', () => {
  const inputs = oneTensor('inputs', [1, 3, c.frames, c.size, c.size], caseClips(c))

  test("passes with torch's logits, and tells how near they are", () => {
    const result = verifyWeights(tiny, inputs, oneTensor('good', [1, 3], logits()))
    expect(result.relativeError).toBeLessThan(1e-5)
    expect(result).toMatchObject({ clips: 1, tolerance: 1e-4, ok: true })
    expect(verificationText(result)).toMatch(/1 clips, logits within .*e-.* passes at 0\.0001/)
  })

  test('fails with others, by as much as they are off', () => {
    const off = oneTensor(
      'off',
      [1, 3],
      logits().map(value => value * 1.01),
    )
    const result = verifyWeights(tiny, inputs, off)
    expect(result.ok).toBe(false)
    expect(result.relativeError).toBeCloseTo(0.01 / 1.01, 4)
    expect(verificationText(result)).toContain('FAILS')
    const nan = oneTensor('nan', [1, 3], logits().fill(Number.NaN))
    expect(verifyWeights(tiny, inputs, nan).ok).toBe(false)
  })

  test('refuses files that do not fit', () => {
    const good = oneTensor('good', [1, 3], logits())
    const wide = oneTensor('wide', [1, 3, 4, 16, 8], new Float32Array(3 * 4 * 16 * 8))
    expect(() => verifyWeights(tiny, wide, good)).toThrow(/square frames/)
    expect(() => verifyWeights(tiny, inputs, inputs)).toThrow(/expected logits/)
    expect(() => verifyWeights(tiny, inputs, oneTensor('two', [1, 2], new Float32Array(2)))).toThrow(/1 x 3/)
    expect(() => verifyWeights(tiny, inputs, tiny)).toThrow(/one tensor; the file holds 165/)
  })
})

test('export-onnx tells what it wrote, and that weights are random', () => {
  const output = join(folder, 'random.onnx')
  const architecture = { blocks: [1, 1, 1, 1] as const, widths: [2, 2, 2, 2] as const, classes: 4 }
  const said = exportOnnx({ seed: 9, architecture }, output, { startIndex: 2, frames: 16 })
  expect(said).toMatchObject({
    weights: 'random:9',
    layers: [2, 5],
    inputShape: ['clips', 2, 16, 56, 56],
    outputShape: ['clips', 4],
    bytes: Bun.file(output).size,
  })
  expect(exportText(said)).toContain('weights random:9, clips x 2 x 16 x 56 x 56 -> clips x 4')
  expect(() => exportOnnx({ seed: 9 }, output, { startIndex: 4, endIndex: 3 })).toThrow(UsageError)
})
