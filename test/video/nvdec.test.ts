import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const HEADERS = '#include <ffnvcodec/dynlink_cuda.h>\n#include <ffnvcodec/dynlink_nvcuvid.h>\n'
const canBuild =
  Bun.which('gcc') !== null &&
  Bun.spawnSync(['gcc', '-E', '-x', 'c', '-'], { stdin: Buffer.from(HEADERS) }).exitCode === 0
if (!canBuild) {
  console.warn('skipping NVDEC decoding on a made-up library: gcc or libffmpeg-nvenc-dev is missing')
}

/** In a process of its own, since a library that is open stays open, and the real one may be here too. */
test.skipIf(!canBuild)('decoding, on a library that needs no GPU: nvdec.cases.ts', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rnb-nvdec-'))
  try {
    const library = join(folder, 'libnvcuvid.so.1')
    const source = join(import.meta.dir, 'nvdec-fake.c')
    const built = Bun.spawnSync(['gcc', '-w', '-shared', '-fPIC', source, '-o', library])
    expect(built.stderr.toString()).toBe('')
    const { exitCode, stderr } = Bun.spawnSync(
      [process.execPath, 'test', join(import.meta.dir, 'nvdec.cases.ts')],
      { env: { ...process.env, RNB_NVCUVID: library } },
    )
    if (exitCode !== 0) console.error(stderr.toString())
    expect(exitCode).toBe(0)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
