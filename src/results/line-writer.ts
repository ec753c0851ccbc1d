import { write } from 'node:fs'

/** Text that may wait to be written before `room` is false. */
const ROOM = 1 << 20
/** Text of one write. */
const CHUNK = 1 << 18
/** How long to wait for a pipe that another process has made non-blocking, in ms. */
const RETRY_MS = 2

export interface LineWriterOptions {
  /** The reader has gone (EPIPE): nothing more will be written. */
  onClosed?(): void
  /** Writing failed for another reason (ENOSPC, EIO, ...): nothing more will be written. */
  onError?(error: Error): void
}

/**
 * Writes lines to a file descriptor in order, one write at a time, on the thread pool: the event loop never
 * blocks on a full pipe. What has not been written is kept; a caller that respects `room` bounds it.
 */
export class LineWriter {
  #waiting: string[] = []
  #waitingLength = 0
  /** Length of the text that is being written. */
  #writing = 0
  #broken = false
  #wake: (() => void)[] = []

  constructor(
    readonly fd: number,
    readonly options: LineWriterOptions = {},
  ) {}

  /** Whether writing has failed, or the reader has gone; lines are dropped then. */
  get broken(): boolean {
    return this.#broken
  }

  /** Whether there is room for more lines. */
  get room(): boolean {
    return this.#broken || this.#waitingLength + this.#writing < ROOM
  }

  /** Takes a line, without its end. */
  write(line: string): void {
    if (this.#broken) return
    this.#waiting.push(line)
    this.#waitingLength += line.length + 1
    if (this.#writing === 0) this.#next()
  }

  /** Resolves when there is room, at once if there is. */
  async drained(): Promise<void> {
    while (!this.room) await this.#progress()
  }

  /** Resolves when everything is written, or writing has failed. */
  async flushed(): Promise<void> {
    while (!this.#broken && this.#waitingLength + this.#writing > 0) await this.#progress()
  }

  #progress(): Promise<void> {
    return new Promise(resolve => this.#wake.push(resolve))
  }

  #next(): void {
    let lines = 0
    let length = 0
    while (lines < this.#waiting.length && (lines === 0 || length < CHUNK))
      length += this.#waiting[lines++]!.length + 1
    if (lines === 0) return
    const text = this.#waiting.slice(0, lines).join('\n')
    this.#waiting = this.#waiting.slice(lines)
    this.#waitingLength -= length
    this.#writing = length
    this.#put(Buffer.from(`${text}\n`), 0)
  }

  #put(bytes: Buffer, from: number): void {
    write(this.fd, bytes, from, bytes.length - from, null, (error, written) => {
      if (error?.code === 'EAGAIN') return setTimeout(() => this.#put(bytes, from), RETRY_MS)
      if (error) this.#break(error)
      else if (from + written < bytes.length) return this.#put(bytes, from + written)
      else {
        this.#writing = 0
        this.#next()
      }
      for (const wake of this.#wake.splice(0)) wake()
    })
  }

  #break(error: NodeJS.ErrnoException): void {
    this.#broken = true
    this.#waiting = []
    this.#waitingLength = 0
    this.#writing = 0
    if (error.code === 'EPIPE') this.options.onClosed?.()
    else this.options.onError?.(error)
  }
}
