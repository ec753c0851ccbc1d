/** At so many empty places at its front a list is made shorter. */
const COMPACT_AT = 1024

/** A list that grows at one end and shrinks at the other. */
export class Fifo<T> {
  #values: T[] = []
  #head = 0

  get size(): number {
    return this.#values.length - this.#head
  }

  push(value: T): void {
    this.#values.push(value)
  }

  /** The oldest; undefined if there is none. */
  shift(): T | undefined {
    if (this.#head === this.#values.length) return undefined
    const value = this.#values[this.#head++]
    if (this.#head === this.#values.length) {
      this.#values = []
      this.#head = 0
    } else if (this.#head >= COMPACT_AT && 2 * this.#head > this.#values.length) {
      this.#values = this.#values.slice(this.#head)
      this.#head = 0
    }
    return value
  }
}
