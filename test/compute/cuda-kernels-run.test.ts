import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildFakeGpu } from './fake-gpu.ts'

// The demo's network, computed one sum after the other, on a machine that may be busy.
setDefaultTimeout(120_000)

const repository = join(import.meta.dir, '../..')
const demo = join(repository, 'models/demo')
const fake = buildFakeGpu('runs with own kernels, on a stand-in for a GPU')
const folder = mkdtempSync(join(tmpdir(), 'rnb-kernels-'))
afterAll(() => {
  fake?.remove()
  rmSync(folder, { recursive: true })
})

interface Line {
  type: string
  class?: string
  top?: { label: string }[]
  notes?: string[]
  warnings?: string[]
}

/** Two of the demo's videos, read on the CPU, and their labels from the stand-in. */
function run(kernels: string, more: Record<string, string>): Line[] {
  const path = join(folder, 'demo.json')
  const config = JSON.parse(readFileSync(join(repository, 'config/demo.json'), 'utf8'))
  const [loader, network] = config.pipeline
  const files = {
    weights: join(demo, 'demo.safetensors'),
    labels: join(demo, 'labels.txt'),
    video_root: join(demo, 'videos'),
  }
  const onGpu = { ...network, queue_groups: [{ gpus: [0], in_queue: 0 }], kernels }
  writeFileSync(path, JSON.stringify({ ...files, pipeline: [loader, onGpu] }))
  const { exitCode, stdout, stderr } = Bun.spawnSync(
    [
      process.execPath,
      'src/main.ts',
      '-c',
      path,
      '-v',
      '2',
      '-mi',
      '0',
      '--results',
      '-',
      '--log-dir',
      folder,
    ],
    { cwd: repository, env: { ...process.env, ...fake!.env, ...more } },
  )
  if (exitCode !== 0) throw new Error(`${stdout}${stderr}`)
  return stdout
    .toString()
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
}

describe.skipIf(!fake)('a run', () => {
  test('with own kernels names what is to be seen, and the summary says that they ran', () => {
    const lines = run('ptx', {})
    const results = lines.filter(line => line.type === 'result')
    expect(results).toHaveLength(2)
    for (const result of results) expect(result.top![0]!.label).toBe(result.class!)
    expect(lines.at(-1)!.notes).toContain('step 1 (layers 1 to 5): convolutions by own kernels (ptx)')
  })

  test('with a wrong kernel names the same by cuDNN, and the summary warns', () => {
    const lines = run('ptx', { FAKE_WRONG_KERNELS: '1' })
    for (const result of lines.filter(line => line.type === 'result'))
      expect(result.top![0]!.label).toBe(result.class!)
    const { notes, warnings } = lines.at(-1)!
    expect(notes).toContain('step 1 (layers 1 to 5): convolutions by cuDNN')
    expect(warnings!.join()).toMatch(
      /step 1 \(network\) on gpu 0, replica 0: kernel f16 mma .* is wrong on this GPU/,
    )
  })
})
