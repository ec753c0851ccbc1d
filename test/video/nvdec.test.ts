import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { buildFakeNvdec, canBuildFakeNvdec } from './nvdec-fake.ts'

const canBuild = canBuildFakeNvdec()
if (!canBuild) {
  console.warn('skipping NVDEC decoding on a made-up library: gcc or libffmpeg-nvenc-dev is missing')
}

/** In a process of its own, since a library that is open stays open, and the real one may be here too. */
test.skipIf(!canBuild)('decoding, on a library that needs no GPU: nvdec.cases.ts', () => {
  const { library, remove } = buildFakeNvdec()
  try {
    const { exitCode, stderr } = Bun.spawnSync(
      [process.execPath, 'test', join(import.meta.dir, 'nvdec.cases.ts')],
      { env: { ...process.env, RNB_NVCUVID: library } },
    )
    if (exitCode !== 0) console.error(stderr.toString())
    expect(exitCode).toBe(0)
  } finally {
    remove()
  }
})
