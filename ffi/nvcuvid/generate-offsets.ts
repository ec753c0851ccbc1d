import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromHeaders } from '../headers.ts'

/** Struct name -> field name (or `sizeof`) -> bytes. */
export type StructOffsets = Record<string, Record<string, number>>

const here = import.meta.dir

/**
 * Compiles offsets.c with gcc against nvcuvid's headers and runs it.
 * @param include folder that holds ffnvcodec/; the compiler's own folders when left out.
 */
export function offsetsFromHeaders(include?: string): StructOffsets {
  return fromHeaders(join(here, 'offsets.c'), include) as StructOffsets
}

// bun ffi/nvcuvid/generate-offsets.ts [INCLUDE FOLDER]
if (import.meta.main) {
  const table = offsetsFromHeaders(process.argv[2])
  writeFileSync(join(here, 'offsets.json'), `${JSON.stringify(table, null, 1)}\n`)
}
