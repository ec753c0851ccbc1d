import { expect, test } from 'bun:test'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { memoryFile } from '../../ffi/memory-file.ts'

test('is made once, and found again while a loader has it open under a lower number', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rnb-memory-'))
  try {
    const source = join(folder, 'source')
    writeFileSync(source, 'not a library')
    const low = openSync(source, 'r')
    const path = memoryFile(source, 'rnb-test')
    expect(readFileSync(path, 'utf8')).toBe('not a library')

    // The lowest free number is the one that the system gives next.
    closeSync(low)
    const loading = openSync(path, 'r')
    expect(loading).toBe(low)
    expect(memoryFile(source, 'rnb-test')).toBe(path)
    closeSync(loading)
    expect(memoryFile(source, 'rnb-test')).toBe(path)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
