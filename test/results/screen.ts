import { Writable } from 'node:stream'

/** Keeps what is written; a terminal or not. */
export class Screen extends Writable {
  text = ''
  constructor(readonly isTTY: boolean) {
    super()
  }
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk
    done()
  }
  // What the library asks of a terminal.
  columns = 100
  cursorTo(): boolean {
    return true
  }
  moveCursor(): boolean {
    return true
  }
  clearLine(): boolean {
    return true
  }
}
