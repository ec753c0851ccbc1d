const EMPTY = 0
const CLAIMED = 1
const READY = 2

/** Words of a slot's head: its state, and the length of its name in bytes. */
const HEAD_BYTES = 8
const NAME_BYTES = 120
const SLOT_BYTES = HEAD_BYTES + NAME_BYTES

/** Plain data, structured-cloneable. */
export interface SharedNamesHandle {
  buffer: SharedArrayBuffer
}

/**
 * A table of short names that threads fill together, so that shared memory can hold a small number in place
 * of a text. A name may get two numbers if two threads add it at once: numbers are looked up, never compared.
 */
export class SharedNames {
  readonly #heads: Int32Array
  readonly #bytes: Uint8Array
  readonly #numbers = new Map<string, number>()

  static create(names: number): SharedNamesHandle {
    return { buffer: new SharedArrayBuffer(names * SLOT_BYTES) }
  }

  constructor({ buffer }: SharedNamesHandle) {
    this.#heads = new Int32Array(buffer)
    this.#bytes = new Uint8Array(buffer)
  }

  /** The number of a name, from 1; 0 if the table is full. A name is cut to 120 bytes of UTF-8. */
  number(name: string): number {
    const known = this.#numbers.get(name) ?? this.#find(name) ?? this.#add(name)
    this.#numbers.set(name, known)
    return known
  }

  /** The name of a number, or undefined for 0 and for a number that nothing has. */
  name(number: number): string | undefined {
    const slot = number - 1
    if (slot < 0 || slot >= this.#slots || Atomics.load(this.#heads, this.#head(slot)) !== READY)
      return undefined
    const from = slot * SLOT_BYTES + HEAD_BYTES
    // TextDecoder refuses shared memory, hence the copy.
    return new TextDecoder().decode(this.#bytes.slice(from, from + this.#heads[this.#head(slot) + 1]!))
  }

  get #slots(): number {
    return this.#bytes.length / SLOT_BYTES
  }

  #head(slot: number): number {
    return (slot * SLOT_BYTES) / 4
  }

  #find(name: string): number | undefined {
    for (let slot = 0; slot < this.#slots; slot++) if (this.name(slot + 1) === name) return slot + 1
    return undefined
  }

  #add(name: string): number {
    const text = new Uint8Array(NAME_BYTES)
    const { written } = new TextEncoder().encodeInto(name, text)
    for (let slot = 0; slot < this.#slots; slot++) {
      const head = this.#head(slot)
      if (Atomics.compareExchange(this.#heads, head, EMPTY, CLAIMED) !== EMPTY) continue
      this.#bytes.set(text.subarray(0, written), slot * SLOT_BYTES + HEAD_BYTES)
      this.#heads[head + 1] = written
      Atomics.store(this.#heads, head, READY)
      return slot + 1
    }
    return 0
  }
}
