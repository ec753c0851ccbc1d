import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { UsageError } from '../../src/errors.ts'

/** A file that is read in pieces, at given places. Every complaint names it. */
export class SourceFile {
  readonly size: number
  private readonly fd: number

  /** @throws {UsageError} if there is no such file, or it cannot be read */
  constructor(readonly path: string) {
    try {
      this.fd = openSync(path, 'r')
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      throw new UsageError(
        `weights ${path}: ${code === 'ENOENT' ? 'no such file' : `cannot be read (${code})`}`,
      )
    }
    const status = fstatSync(this.fd)
    if (!status.isFile()) {
      closeSync(this.fd)
      throw new UsageError(`weights ${path}: not a file`)
    }
    this.size = status.size
  }

  /** An error about this file; `what` is the rest of the sentence. */
  error(what: string): UsageError {
    return new UsageError(`weights ${this.path}: ${what}`)
  }

  /** `length` bytes from `offset`. @throws {UsageError} if the file ends before; `what` says what was wanted there */
  read(offset: number, length: number, what: string): Uint8Array<ArrayBuffer> {
    if (offset < 0 || length < 0 || offset + length > this.size) {
      const end = `bytes ${offset} to ${offset + length}, and the file has ${this.size}`
      throw this.error(`truncated or damaged: ${what} should be at ${end}`)
    }
    const bytes = new Uint8Array(new ArrayBuffer(length))
    for (let at = 0; at < length; ) {
      const count = readSync(this.fd, bytes, at, length - at, offset + at)
      if (count === 0) throw this.error(`became shorter while ${what} was read`)
      at += count
    }
    return bytes
  }

  close(): void {
    closeSync(this.fd)
  }
}
