/** Plain data, structured-cloneable: sent once to each thread. */
export interface SharedTextsHandle {
  /** Bytes that each column has room for, in UTF-8; 0 if it is never written. */
  widths: readonly number[]
  buffer: SharedArrayBuffer
}

const LENGTH_BYTES = 4

const strideOf = (width: number): number =>
  width === 0 ? 0 : LENGTH_BYTES + Math.ceil(width / LENGTH_BYTES) * LENGTH_BYTES

/**
 * Short texts in shared memory, in rows and columns. Each is written once and by one thread; who reads it has heard of
 * it by means that order memory. Pages are taken from the system when they are first written.
 */
export class SharedTexts {
  readonly #widths: readonly number[]
  readonly #lengths: Int32Array
  readonly #bytes: Uint8Array
  /** Byte offset of each column within a row. */
  readonly #columns: number[] = []
  readonly #rowBytes: number

  /** @param widths the most bytes of a text of each column */
  static create(rows: number, widths: readonly number[]): SharedTextsHandle {
    const rowBytes = widths.reduce((sum, width) => sum + strideOf(width), 0)
    return { widths, buffer: new SharedArrayBuffer(rows * rowBytes) }
  }

  constructor({ widths, buffer }: SharedTextsHandle) {
    this.#widths = widths
    this.#lengths = new Int32Array(buffer)
    this.#bytes = new Uint8Array(buffer)
    let at = 0
    for (const width of widths) {
      this.#columns.push(at)
      at += strideOf(width)
    }
    this.#rowBytes = at
  }

  #at(row: number, column: number): number {
    return row * this.#rowBytes + this.#columns[column]!
  }

  /** @throws {RangeError} saying how long the text is, and how long it may be */
  write(row: number, column: number, text: string): void {
    const bytes = new TextEncoder().encode(text)
    const width = this.#widths[column] ?? 0
    if (bytes.length > width) throw new RangeError(`${bytes.length} bytes, where there is room for ${width}`)
    const at = this.#at(row, column)
    this.#bytes.set(bytes, at + LENGTH_BYTES)
    // One more than its bytes: 0 is what nobody wrote.
    this.#lengths[at / LENGTH_BYTES] = bytes.length + 1
  }

  /** Undefined if nothing was written. */
  read(row: number, column: number): string | undefined {
    if (!this.#widths[column]) return undefined
    const at = this.#at(row, column)
    const length = this.#lengths[at / LENGTH_BYTES]! - 1
    if (length < 0) return undefined
    // A copy: decoders do not take shared memory.
    return new TextDecoder().decode(this.#bytes.slice(at + LENGTH_BYTES, at + LENGTH_BYTES + length))
  }
}
