import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'

/** Writes a file from pieces; it appears under its name only when it is complete. */
export function writeWhole(path: string, pieces: Iterable<Uint8Array>): void {
  const partial = `${path}.${process.pid}.part`
  const fd = openSync(partial, 'w')
  try {
    try {
      for (const piece of pieces) {
        for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at)
      }
    } finally {
      closeSync(fd)
    }
    renameSync(partial, path)
  } catch (error) {
    rmSync(partial, { force: true })
    throw error
  }
}
