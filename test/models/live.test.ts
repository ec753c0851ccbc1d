import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fillUniform, streamKey } from '../../models/hash-random.ts'
import { loadNetwork } from '../../models/load.ts'
import { convertWeights, exportOnnx } from '../../src/cli/weights.ts'
import { createCpuExecutor } from '../../src/compute/cpu.ts'
import { elements } from '../../src/queue/tensor.ts'
import { caseClips, caseNamed, relativeError } from './cases.ts'
import { findPython, runPython } from './python.ts'

const TIMEOUT = 120_000
const folder = mkdtempSync(join(tmpdir(), 'rnb-live-'))
afterAll(() => rmSync(folder, { recursive: true }))

interface Written {
  file: string
  clips: number
  frames: number
  size: number
  seed: number
  logits: number[][]
}

function logitsOf(weights: string, w: Written): Float32Array {
  const { frames, size, clips } = w
  const network = loadNetwork({ weights, seed: 0 })
  const options = { network, startIndex: 1, endIndex: 5, frames, size, maxClips: clips, threads: 2 }
  const executor = createCpuExecutor(options)
  const logits = new Float32Array(elements(executor.outputShape(clips)))
  executor.run(caseClips({ ...caseNamed('tiny'), ...w }), clips, logits)
  executor.close()
  return logits
}

describe('with torch', () => {
  const python = findPython('files that torch saves now', ['torch', 'torchvision', 'safetensors'])

  test.skipIf(!python)(
    'every way of saving gives the logits that torch has of it, and so does its conversion',
    () => {
      const written = runPython<Written[]>(python!, 'live_files.py', folder)
      expect(written.length).toBe(19)
      const converted = join(folder, 'converted')
      for (const w of written) {
        const path = join(folder, w.file)
        expect([w.file, relativeError(logitsOf(path, w), w.logits.flat()) < 1e-4]).toEqual([w.file, true])
        if (w.file.endsWith('legacy.pth')) continue
        convertWeights(path, converted)
        expect([w.file, relativeError(logitsOf(converted, w), w.logits.flat()) < 1e-4]).toEqual([
          w.file,
          true,
        ])
      }
    },
    TIMEOUT,
  )
})

describe('with onnx', () => {
  const python = findPython("onnx's checker", ['onnx', 'numpy'])
  const c = caseNamed('tiny')
  interface Checked {
    inputs: [string, (string | number)[]][]
    outputs: [string, (string | number)[]][]
    shape: number[]
    values: number[]
  }

  test.skipIf(!python)(
    'an exported network passes the checker, and the reference implementation has its logits of it',
    () => {
      const weights = new URL('./fixtures/tiny-legacy.pth', import.meta.url).pathname
      const output = join(folder, 'tiny.onnx')
      const said = exportOnnx({ weights, seed: 0 }, output, { frames: c.frames, size: c.size })
      const { frames, size, seed } = c
      const checked = runPython<Checked>(python!, 'check_onnx.py', output, c.clips, 3, frames, size, seed)
      expect(checked.inputs).toEqual([['input', said.inputShape]])
      expect(checked.outputs).toEqual([['output', said.outputShape]])
      expect(said.inputShape).toEqual(['clips', 3, c.frames, c.size, c.size])
      expect(relativeError(checked.values, c.logits.flat())).toBeLessThan(1e-4)
    },
    TIMEOUT,
  )

  test.skipIf(!python)(
    'so do its layers in the middle, for other numbers of clips',
    () => {
      const architecture = { blocks: [1, 1, 1, 1] as const, widths: [4, 6, 8, 8] as const, classes: 5 }
      const output = join(folder, 'layers.onnx')
      const source = { seed: 3, architecture }
      exportOnnx(source, output, { startIndex: 2, endIndex: 3, frames: 4, size: 16 })
      const checked = runPython<Checked>(python!, 'check_onnx.py', output, 2, 4, 4, 8, 9)
      expect(checked.shape).toEqual([2, 6, 2, 4, 4])
      const network = loadNetwork(source, 2, 3)
      const sizes = { frames: 4, size: 16, maxClips: 2, threads: 1 }
      const executor = createCpuExecutor({ network, startIndex: 2, endIndex: 3, ...sizes })
      const values = new Float32Array(elements(executor.outputShape(2)))
      const features = new Float32Array(elements(executor.inputShape(2)))
      executor.run(fillUniform(features, streamKey('input', 9), -2, 2), 2, values)
      executor.close()
      expect(relativeError(checked.values, values)).toBeLessThan(1e-4)
    },
    TIMEOUT,
  )
})
