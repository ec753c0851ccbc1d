import { CString, type Pointer, ptr, read, toArrayBuffer } from 'bun:ffi'

/** A NUL-terminated string for a C argument. */
export const text = (value: string): Uint8Array => Buffer.from(`${value}\0`)

/** The string at an address, or an empty one. */
export const textAt = (address: number): string => (address === 0 ? '' : `${new CString(address as Pointer)}`)

/** The pointer stored at an address; 0 for none. */
export const pointerAt = (address: number, offset = 0): number => read.ptr(address as Pointer, offset)

/** The `int` stored at an address. */
export const intAt = (address: number, offset = 0): number => read.i32(address as Pointer, offset)

/** A `T *` that a function may set or clear through its address. */
export class PointerCell {
  readonly cell = new BigUint64Array(new ArrayBuffer(8))
  constructor(value = 0) {
    this.cell[0] = BigInt(value)
  }
  get value(): number {
    return Number(this.cell[0])
  }
}

/** Native memory as 32-bit words; for structs, which C keeps alive as long as the view is used. */
export const wordsAt = (address: number, bytes: number): Int32Array =>
  new Int32Array(toArrayBuffer(address as Pointer, 0, bytes))

/** Native memory as bytes, without copying; valid as long as C keeps it. */
export const bytesAt = (address: number, bytes: number): Uint8Array =>
  new Uint8Array(toArrayBuffer(address as Pointer, 0, bytes))

/** The pointer in words `i` and `i + 1` of a struct. */
export const pointerIn = (words: Int32Array, i: number): number =>
  (words[i]! >>> 0) + (words[i + 1]! >>> 0) * 2 ** 32

const NO_VALUE = -(2 ** 31)
/** The int64 in words `i` and `i + 1` of a struct; undefined for AV_NOPTS_VALUE. Exact up to 2^53. */
export function int64In(words: Int32Array, i: number): number | undefined {
  const low = words[i]!
  const high = words[i + 1]!
  return low === 0 && high === NO_VALUE ? undefined : high * 2 ** 32 + (low >>> 0)
}

/** Writes an int64 (or AV_NOPTS_VALUE for undefined) to words `i` and `i + 1` of a struct. */
export function setInt64In(words: Int32Array, i: number, value: number | undefined): void {
  words[i] = value === undefined ? 0 : value | 0
  words[i + 1] = value === undefined ? NO_VALUE : Math.floor(value / 2 ** 32)
}

/** Writes a pointer to words `i` and `i + 1` of a struct. */
export function setPointerIn(words: Int32Array, i: number, address: number): void {
  words[i] = address | 0
  words[i + 1] = Math.floor(address / 2 ** 32)
}

/** The address of a view's first byte, as a plain number; the caller keeps the view referenced. */
export const addressOf = (view: NodeJS.TypedArray): number => ptr(view)
