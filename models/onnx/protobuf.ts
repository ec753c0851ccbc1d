/** Field types of the protobuf wire format that are used here. */
const VARINT = 0
const LENGTH = 2

/** An encoded message in pieces: large fields are views of the caller's memory, not copies. */
export interface Encoded {
  readonly pieces: readonly Uint8Array[]
  readonly bytes: number
}

function varint(value: number | bigint, into: number[]): void {
  let rest = BigInt.asUintN(64, BigInt(value))
  while (rest >= 0x80n) {
    into.push(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  into.push(Number(rest))
}

/** Builds one protobuf message, field by field, in the order of the calls. */
export class Message {
  private readonly pieces: Uint8Array[] = []
  private bytes = 0

  private push(piece: Uint8Array): void {
    this.pieces.push(piece)
    this.bytes += piece.byteLength
  }

  private header(field: number, type: number, value: number | bigint): void {
    const head: number[] = []
    varint((field << 3) | type, head)
    varint(value, head)
    this.push(Uint8Array.from(head))
  }

  /** int32, int64, bool or enum; negative numbers as two's complement of 64 bits. */
  integer(field: number, value: number | bigint): this {
    this.header(field, VARINT, value)
    return this
  }

  /** A repeated integer, packed. */
  integers(field: number, values: readonly number[]): this {
    const packed: number[] = []
    for (const value of values) varint(value, packed)
    return this.data(field, Uint8Array.from(packed))
  }

  data(field: number, bytes: Uint8Array): this {
    this.header(field, LENGTH, bytes.byteLength)
    this.push(bytes)
    return this
  }

  text(field: number, value: string): this {
    return this.data(field, new TextEncoder().encode(value))
  }

  message(field: number, value: Message): this {
    this.header(field, LENGTH, value.bytes)
    for (const piece of value.pieces) this.push(piece)
    return this
  }

  end(): Encoded {
    return { pieces: this.pieces, bytes: this.bytes }
  }
}

/** The message in one piece of memory. */
export function joined(encoded: Encoded): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(new ArrayBuffer(encoded.bytes))
  let at = 0
  for (const piece of encoded.pieces) {
    all.set(piece, at)
    at += piece.byteLength
  }
  return all
}
