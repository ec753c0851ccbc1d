import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Struct name -> field name (or `sizeof`) -> bytes. */
export type StructOffsets = Record<string, Record<string, number>>

const here = import.meta.dir

function run(command: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command)
  if (exitCode !== 0) throw new Error(`${command.join(' ')} failed: ${stderr}`)
  return stdout.toString()
}

/**
 * Compiles offsets.c with gcc against nvcuvid's headers and runs it.
 * @param include folder that holds ffnvcodec/; the compiler's own folders when left out.
 */
export function offsetsFromHeaders(include?: string): StructOffsets {
  const folder = mkdtempSync(join(tmpdir(), 'rnb-offsets-'))
  try {
    const program = join(folder, 'offsets')
    const where = include === undefined ? [] : ['-I', include]
    run(['gcc', '-w', ...where, join(here, 'offsets.c'), '-o', program])
    return JSON.parse(run([program]))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

// bun ffi/nvcuvid/generate-offsets.ts [INCLUDE FOLDER]
if (import.meta.main) {
  const table = offsetsFromHeaders(process.argv[2])
  writeFileSync(join(here, 'offsets.json'), `${JSON.stringify(table, null, 1)}\n`)
}
