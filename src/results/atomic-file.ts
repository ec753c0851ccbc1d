import {
  closeSync,
  existsSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { LineWriter } from './line-writer.ts'

/** Text that is kept before it is written. */
const CHUNK = 1 << 16

/** Beside the file, so that a rename does not cross file systems; the process keeps two runs apart. */
const partial = (path: string): string => join(dirname(path), `.${basename(path)}.${process.pid}.partial`)

/** A file that is complete or absent: it is written under another name, and renamed when it is whole. */
export class AtomicFile {
  readonly fd: number
  readonly #partial: string
  #text = ''
  #open = true

  /** @throws {Error} of the system (ENOENT, EACCES, ENOSPC, ...), as all methods do */
  constructor(readonly path: string) {
    this.#partial = partial(path)
    this.fd = openSync(this.#partial, 'w')
  }

  write(text: string): void {
    this.#text += text
    if (this.#text.length >= CHUNK) this.#flush()
  }

  writeBytes(bytes: Uint8Array): void {
    this.#flush()
    this.#put(bytes)
  }

  /** The file is whole: gives it its name. */
  commit(): void {
    this.#flush()
    this.#close()
    renameSync(this.#partial, this.path)
  }

  /** Leaves no trace of it. */
  abandon(): void {
    this.#close()
    rmSync(this.#partial, { force: true })
  }

  #close(): void {
    if (this.#open) closeSync(this.fd)
    this.#open = false
  }

  #flush(): void {
    const bytes = Buffer.from(this.#text)
    this.#text = ''
    this.#put(bytes)
  }

  #put(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; ) from += writeSync(this.fd, bytes, from)
  }
}

/** Writes a whole file, or none. @throws {Error} of the system */
export function writeFileAtomic(path: string, content: string | Uint8Array): void {
  const file = new AtomicFile(path)
  try {
    if (typeof content === 'string') file.write(content)
    else file.writeBytes(content)
    file.commit()
  } catch (error) {
    file.abandon()
    throw error
  }
}

/** A file of lines that is filled during a run, complete or absent. */
export class LinesFile {
  readonly lines: LineWriter
  readonly #file: AtomicFile | undefined
  readonly #fd: number
  #fault: Error | undefined

  /**
   * Opens it. A device or a pipe (/dev/null, a FIFO) is written to as it is; a link leads to its target.
   * @param onFault is told at once when writing fails
   * @throws {Error} of the system
   */
  constructor(
    readonly path: string,
    onFault?: (error: Error) => void,
  ) {
    const special = existsSync(path) && !statSync(path).isFile()
    const target = existsSync(path) ? realpathSync(path) : path
    this.#file = special ? undefined : new AtomicFile(target)
    this.#fd = this.#file?.fd ?? openSync(path, 'w')
    this.lines = new LineWriter(this.#fd, {
      onError: error => {
        this.#fault = error
        onFault?.(error)
      },
    })
  }

  /**
   * Ends the file: it has its name, unless writing failed.
   * @returns what went wrong, if something did
   */
  async finish(): Promise<Error | undefined> {
    await this.lines.flushed()
    try {
      if (this.#fault) this.abandon()
      else if (this.#file) this.#file.commit()
      else closeSync(this.#fd)
    } catch (error) {
      this.#fault ??= error as Error
    }
    return this.#fault
  }

  /** Leaves no trace of it. */
  abandon(): void {
    if (this.#file) this.#file.abandon()
    else closeSync(this.#fd)
  }
}
