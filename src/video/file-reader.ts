import { closeSync, constants, openSync, readSync, statSync } from 'node:fs'
import { VideoError } from '../errors.ts'

/** Files up to this size are read whole at once: cheaper than the calls that would read parts of them. */
const WHOLE_BYTES = 512 * 1024

/**
 * Memory of files that were read whole and closed, for the next ones of this thread: what each file left behind would
 * be far more than all else that a request leaves to the garbage collector, and comes faster than that collects.
 */
const spare: Uint8Array[] = []
/** More files than that are seldom open at once on a thread. */
const SPARE = 4

/** Room for a small file; what was in it before is still there. */
const room = (): Uint8Array => spare.pop() ?? new Uint8Array(new ArrayBuffer(WHOLE_BYTES))

function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** What a failed call of the file system means for the video. */
function asVideoError(error: unknown): unknown {
  if (error instanceof VideoError) return error
  const code = systemCode(error)
  if (code === undefined) return error
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return new VideoError('not_found')
  return new VideoError('unreadable', `the file cannot be read (${code})`)
}

/**
 * A regular file, open for reading at any place without promises. What it has read of a small file is written over by
 * later ones once it is closed: what is to outlive it must be copied.
 */
export class FileReader {
  /** All of the file, if it is a small one; then it needs no descriptor any more. */
  readonly bytes: Uint8Array | undefined
  private whole: Uint8Array | undefined
  private descriptor: number | undefined

  private constructor(
    descriptor: number,
    readonly size: number,
  ) {
    this.descriptor = descriptor
    if (size > WHOLE_BYTES) return
    this.whole = room()
    try {
      this.bytes = this.fill(this.whole.subarray(0, size), 0)
    } catch (error) {
      this.close()
      throw error
    }
    this.closeDescriptor()
  }

  /** @throws {VideoError} `not_found`, `is_directory`, `unreadable` or `empty`. */
  static open(path: string): FileReader {
    try {
      const stat = statSync(path)
      if (stat.isDirectory()) throw new VideoError('is_directory')
      if (!stat.isFile()) throw new VideoError('unreadable', 'the path names no regular file')
      // Without blocking, should a pipe have taken the file's place since. Opened even if empty: may it be read at all?
      const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
      const reader = new FileReader(descriptor, stat.size)
      if (stat.size === 0) throw new VideoError('empty')
      return reader
    } catch (error) {
      throw asVideoError(error)
    }
  }

  /** The bytes from `start` up to `end`, which lies within `size`. @throws {VideoError} `unreadable`, `truncated`. */
  read(start: number, end: number): Uint8Array {
    if (this.whole && this.bytes) return this.bytes.subarray(start, end)
    return this.fill(new Uint8Array(end - start), start)
  }

  private fill(bytes: Uint8Array, start: number): Uint8Array {
    if (this.descriptor === undefined) throw new Error('read from a closed file')
    try {
      for (let at = 0; at < bytes.length; ) {
        const count = readSync(this.descriptor, bytes, at, bytes.length - at, start + at)
        if (count === 0) throw new VideoError('truncated', 'the file became shorter while it was read')
        at += count
      }
    } catch (error) {
      throw asVideoError(error)
    }
    return bytes
  }

  /** Closing twice does nothing more. */
  close(): void {
    this.closeDescriptor()
    if (this.whole && spare.length < SPARE) spare.push(this.whole)
    this.whole = undefined
  }

  private closeDescriptor(): void {
    if (this.descriptor === undefined) return
    closeSync(this.descriptor)
    this.descriptor = undefined
  }
}
