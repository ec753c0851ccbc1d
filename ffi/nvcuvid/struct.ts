import offsets from './offsets.json'

type Offsets = typeof offsets
/** The fields of a struct of nvcuvid's. */
export type Field<S extends keyof Offsets> = Exclude<keyof Offsets[S], 'sizeof'>

/** Memory of one struct that C reads or fills; all zero at first. */
export class Struct<S extends keyof Offsets> {
  readonly #view: DataView
  readonly #offsets: Offsets[S]
  /** What calls are given. */
  readonly bytes: Uint8Array<ArrayBuffer>

  constructor(name: S) {
    this.#offsets = offsets[name]
    this.bytes = new Uint8Array(new ArrayBuffer((this.#offsets as { sizeof: number }).sizeof))
    this.#view = new DataView(this.bytes.buffer)
  }

  /** Bytes from the start of the struct. */
  #at(field: Field<S>): number {
    return this.#offsets[field] as number
  }

  u8(field: Field<S>): number {
    return this.#view.getUint8(this.#at(field))
  }

  u16(field: Field<S>): number {
    return this.#view.getUint16(this.#at(field), true)
  }

  i32(field: Field<S>): number {
    return this.#view.getInt32(this.#at(field), true)
  }

  setI16(field: Field<S>, value: number): this {
    this.#view.setInt16(this.#at(field), value, true)
    return this
  }

  setI32(field: Field<S>, value: number): this {
    this.#view.setInt32(this.#at(field), value, true)
    return this
  }

  /** A C `long`, a pointer, or a 64-bit number: whole and at most 2^53 either way. */
  setI64(field: Field<S>, value: number): this {
    this.#view.setInt32(this.#at(field), value | 0, true)
    this.#view.setInt32(this.#at(field) + 4, Math.floor(value / 2 ** 32), true)
    return this
  }
}
