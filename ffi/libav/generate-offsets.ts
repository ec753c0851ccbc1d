import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromHeaders } from '../headers.ts'

/** Struct name -> field name (or `sizeof`) -> bytes. */
export type StructOffsets = Record<string, Record<string, number>>

const here = import.meta.dir
const table = join(here, 'offsets.json')

/**
 * Compiles offsets.c with gcc against FFmpeg's headers and runs it.
 * @param include folder that holds libavcodec/avcodec.h and its siblings; the compiler's own folders when left out.
 * @returns the release's library versions and where the fields of its structs lie.
 */
export function offsetsFromHeaders(include?: string): Record<string, number> & StructOffsets {
  return fromHeaders(join(here, 'offsets.c'), include) as Record<string, number> & StructOffsets
}

// One include folder per release: bun ffi/libav/generate-offsets.ts [FOLDER...]; other releases' rows are kept.
if (import.meta.main) {
  const folders = process.argv.length > 2 ? process.argv.slice(2) : [undefined]
  const rows: Record<string, unknown> = JSON.parse(readFileSync(table, 'utf8'))
  for (const folder of folders) {
    const row = offsetsFromHeaders(folder)
    rows[String(row.libavcodec)] = row
  }
  writeFileSync(table, `${JSON.stringify(rows, null, 1)}\n`)
}
