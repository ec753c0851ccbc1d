import { afterAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { buildFakeGpu } from './fake-gpu.ts'

/** As kernels are told to be unfit (`src/compute/cuda/ptx/hopper/backend.ts`). */
const TOLERANCE = 2e-3

const fake = buildFakeGpu('the test of kernels at warm-up, on memory of a stand-in for a GPU')
afterAll(() => fake?.remove())

interface Line {
  of: string
  fault: string
  error: number | 'NaN'
}

describe.skipIf(!fake)('the test of kernels at warm-up', () => {
  const lines = (): Line[] => {
    const program = join(import.meta.dir, 'hopper-self-test.program.ts')
    const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, program], {
      env: { ...process.env, ...fake!.env },
    })
    if (exitCode !== 0) throw new Error(`${stdout}${stderr}`)
    return stdout
      .toString()
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
  }

  test('takes what is right, and nothing that a faulty kernel would leave', () => {
    const found = lines()
    const [right, wrong] = [true, false].map(is => found.filter(({ fault }) => (fault === 'none') === is))
    expect(right!.map(({ of }) => of)).toEqual(['1x3x3, stride 2', '3x1x1, residual'])
    expect(right!.filter(({ error }) => !(Number(error) < TOLERANCE))).toEqual([])
    expect(wrong!.length).toBeGreaterThan(18)
    expect(wrong!.filter(({ error }) => Number(error) < TOLERANCE)).toEqual([])
  })
})
