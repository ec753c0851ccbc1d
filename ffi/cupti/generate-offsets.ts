import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromHeaders } from '../headers.ts'

/** Struct name -> field name (or `sizeof`) -> bytes. */
export type StructOffsets = Record<string, Record<string, number>>

const here = import.meta.dir

/**
 * Compiles offsets.cc with gcc against CUPTI's headers and runs it.
 * @param include folder that holds cupti.h and cuda.h; the compiler's own folders when left out.
 */
export function offsetsFromHeaders(include?: string): StructOffsets {
  return fromHeaders(join(here, 'offsets.cc'), include) as StructOffsets
}

// bun ffi/cupti/generate-offsets.ts [INCLUDE FOLDER]
if (import.meta.main) {
  const table = offsetsFromHeaders(process.argv[2])
  writeFileSync(join(here, 'offsets.json'), `${JSON.stringify(table, null, 1)}\n`)
}
