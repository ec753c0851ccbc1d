import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
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
    'own kernel passes',
  ]
  const files = ['test/gpu/network-kernels.test.ts', 'test/gpu/network-executor.test.ts']
  const { exitCode, said } = run(['test', ...files, '-t', names.join('|')])
  if (exitCode !== 0) throw new Error(said)
  expect(said).toMatch(/\b2[0-9] pass\n/)
})

test.skipIf(!fake)('tests of copies pass on two stand-ins', () => {
  const names = 'copies|fills|orders|memory|leaves the stream'
  const { exitCode, said } = run(['test', '--timeout=60000', 'test/gpu/cuda-driver.test.ts', '-t', names], {
    FAKE_GPUS: '2',
  })
  if (exitCode !== 0) throw new Error(said)
  expect(said).toMatch(/\b8 pass\n/)
})

describe.skipIf(!fake)('convolutions are computed', () => {
  const program = join(import.meta.dir, 'cuda-kernels.program.ts')
  const noCudnn = { RNB_CUDNN_DIR: '/nowhere' }
  const wrong = { FAKE_WRONG_KERNELS: '1' }
  const kernels = (asked: string, env: Record<string, string>) => {
    const { exitCode, said } = run([program, asked], env)
    if (exitCode !== 0) throw new Error(said)
    const [first, alive] = said.trim().split('\n')
    expect(alive).toBe('alive 0')
    return JSON.parse(first!)
  }

  test('by cuDNN where nothing is asked for, and by own kernels where it is not installed', () => {
    expect(kernels('default', {})).toEqual({ kernels: 'cudnn', note: 'convolutions by cuDNN' })
    const why = 'convolutions by own kernels (ptx), as cuDNN is not installed'
    expect(kernels('default', noCudnn)).toEqual({ kernels: 'ptx', note: why })
  })

  test('by what is asked for, without cuDNN too if that is own kernels', () => {
    const own = { kernels: 'ptx', note: 'convolutions by own kernels (ptx)' }
    expect(kernels('ptx', {})).toEqual(own)
    expect(kernels('ptx', noCudnn)).toEqual(own)
    expect(kernels('cudnn', {})).toMatchObject({ kernels: 'cudnn' })
    expect(kernels('cudnn', noCudnn)).toMatchObject({ error: 'LibraryError' })
  })

  test('by cuDNN, with a warning, where an own kernel is wrong', () => {
    const { kernels: used, warning } = kernels('ptx', wrong)
    expect(used).toBe('cudnn')
    expect(warning).toMatch(
      /^kernel f16 mma \d+ x \d+.* is wrong on this GPU: its relative error is 0\.\d+; cuDNN/,
    )
    expect(kernels('ptx', { ...wrong, ...noCudnn })).toMatchObject({ error: 'KernelUnfit' })
  })

  test('where kernels for just this GPU are not taken: by cuDNN, or without it by the general ones', () => {
    // The stand-in has no tensor maps, which those for 9.0 need.
    const hopper = { FAKE_CAPABILITY: '9' }
    const warning = expect.stringMatching(
      /^the driver does not take a kernel for stem.spatial: .* in place of /,
    )
    expect(kernels('ptx', hopper)).toEqual({ kernels: 'cudnn', note: 'convolutions by cuDNN', warning })
    const own = { kernels: 'ptx', note: 'convolutions by own kernels (ptx)', warning }
    expect(kernels('ptx', { ...hopper, ...noCudnn })).toEqual(own)
    expect(kernels('ptx', { ...hopper, ...noCudnn, ...wrong })).toMatchObject({ error: 'KernelUnfit' })
  })
})

test.skipIf(!fake)('a closed executor leaves nothing behind, nor does one that could not be made', () => {
  const { exitCode, said } = run([join(import.meta.dir, 'cuda-leaks.program.ts')])
  expect(said).toMatch(/activations of 1000000 clips \(layers 1 to 5\)/)
  expect(said).toMatch(/\nalive 0\n/)
  expect(exitCode).toBe(0)
})

test.skipIf(!fake)('nor one of which any call fails', () => {
  const { exitCode, said } = run([join(import.meta.dir, 'cuda-faults.program.ts')])
  expect({ exitCode, said: said.trim() }).toEqual({ exitCode: 0, said: 'failed often' })
})
