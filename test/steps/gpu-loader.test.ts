import { expect, test } from 'bun:test'
import { fileURLToPath } from 'node:url'
import { NICENESS, onThread } from '../ffi/on-thread.ts'

const loader = fileURLToPath(new URL('../../src/steps/gpu-loader.ts', import.meta.url))

/** How much nicer a thread is for being the loader's thread of that number, of which one is for the engines. */
const nicer = (worker: number): Promise<unknown> =>
  onThread(
    // Here is no GPU: past its first lines, one for the engines fails.
    `const { GpuLoader } = require(${JSON.stringify(loader)}); const before = ${NICENESS}
    try { new GpuLoader({ worker: ${worker}, decoders: 1, options: {}, gpu: {} }) } catch {}`,
    `${NICENESS} - before`,
  )

test('a loader’s decoders on the host give way, those on the GPU’s engines do not', async () => {
  expect(await nicer(1)).toBe(10)
  expect(await nicer(0)).toBe(0)
})
