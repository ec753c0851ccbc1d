import { type Pointer, ptr } from 'bun:ffi'
import offsets from './offsets.json'

type Offsets = typeof offsets
/** Structs of parameters: each begins with its size, by which CUPTI knows what fields there are. */
export type ParametersName = Extract<keyof Offsets, `${string}_Params`>
type Field<S extends ParametersName> = Exclude<keyof Offsets[S], 'sizeof' | 'structSize' | `${string} bytes`>

/** The parameters of one call, for as long as C may read them; all zero at first but their size. */
export class Parameters<S extends ParametersName> {
  readonly #view: DataView
  readonly #offsets: Offsets[S]
  readonly address: Pointer
  /** What pointers in it lead to. */
  readonly #held: unknown[] = []

  constructor(name: S, values: Partial<Record<Field<S>, number | Uint8Array>> = {}) {
    this.#offsets = offsets[name]
    const { sizeof, structSize } = offsets[name]
    const bytes = new Uint8Array(new ArrayBuffer(sizeof))
    this.#view = new DataView(bytes.buffer)
    this.address = ptr(bytes)
    this.#view.setBigUint64(structSize, BigInt(sizeof), true)
    for (const [field, value] of Object.entries(values) as [Field<S>, number | Uint8Array][])
      this.#set(field, value)
  }

  /** Bytes from the start of the struct to a field, and of the field itself. */
  #place(field: Field<S>): { at: number; bytes: number } {
    const places = this.#offsets as Record<string, number>
    return { at: places[field as string]!, bytes: places[`${String(field)} bytes`]! }
  }

  #set(field: Field<S>, value: number | Uint8Array): void {
    const { at, bytes } = this.#place(field)
    if (typeof value !== 'number') this.#held.push(value)
    const number = typeof value === 'number' ? value : ptr(value)
    if (bytes === 2) this.#view.setUint16(at, number, true)
    else if (bytes === 4) this.#view.setUint32(at, number, true)
    else this.#view.setBigUint64(at, BigInt(number), true)
  }

  /** A size or a pointer that the call wrote. */
  get(field: Field<S>): number {
    return Number(this.#view.getBigUint64(this.#place(field).at, true))
  }

  /** A flag that the call wrote. */
  flag(field: Field<S>): boolean {
    return this.#view.getUint8(this.#place(field).at) !== 0
  }
}

/** Text as C has it. */
export function cText(text: string): Uint8Array<ArrayBuffer> {
  const bytes = Buffer.from(`${text}\0`)
  const own = new Uint8Array(new ArrayBuffer(bytes.length))
  own.set(bytes)
  return own
}

/** An array of texts as C has it, and what it leads to. */
export function cTexts(texts: readonly string[]): { array: Uint8Array<ArrayBuffer>; held: unknown } {
  const held = texts.map(cText)
  const array = new Uint8Array(new ArrayBuffer(8 * Math.max(1, texts.length)))
  const view = new DataView(array.buffer)
  for (const [i, text] of held.entries()) view.setBigUint64(8 * i, BigInt(ptr(text)), true)
  return { array, held }
}
