import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { buildFakeGpu } from './fake-gpu.ts'

// The definition of a network, computed one sum after the other, on a machine that may be busy.
setDefaultTimeout(180_000)

const repository = join(import.meta.dir, '../..')
const fake = buildFakeGpu('the network on a GPU, with a stand-in')
afterAll(() => fake?.remove())

function run(args: string[], more: Record<string, string> = {}): { exitCode: number; said: string } {
  const env = { ...process.env, ...fake!.env, ...more }
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, ...args], { cwd: repository, env })
  return { exitCode, said: `${stdout}${stderr}` }
}

test.skipIf(!fake)('tests of the network on a GPU pass on a stand-in that computes by definition', () => {
  const names = [
    'kernels',
    'torchvision, (fp16|fp32)',
    'pytorch, fp32',
    'narrow, fp16',
    'layers 2 to 4',
    'memory',
    'wrong use',
  ]
  const files = ['test/gpu/network-kernels.test.ts', 'test/gpu/network-executor.test.ts']
  const { exitCode, said } = run(['test', ...files, '-t', names.join('|')])
  if (exitCode !== 0) throw new Error(said)
  expect(said).toMatch(/\b1[0-9] pass\n/)
})

test.skipIf(!fake)('tests of copies pass on two stand-ins', () => {
  const names = 'copies|fills|orders|memory|leaves the stream'
  const { exitCode, said } = run(['test', 'test/gpu/cuda-driver.test.ts', '-t', names], { FAKE_GPUS: '2' })
  if (exitCode !== 0) throw new Error(said)
  expect(said).toMatch(/\b7 pass\n/)
})

test.skipIf(!fake)('a closed executor leaves nothing behind, nor does one that could not be made', () => {
  const { exitCode, said } = run([join(import.meta.dir, 'cuda-leaks.program.ts')])
  expect(said).toMatch(/activations of 1000000 clips \(layers 1 to 5\)/)
  expect(said).toMatch(/\nalive 0\n/)
  expect(exitCode).toBe(0)
})
