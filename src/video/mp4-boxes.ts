/** A box of an ISO base media file. */
export interface Box {
  type: string
  /** Of its content. */
  start: number
  end: number
}

/** A big-endian view of a box's content; reading past the end throws a RangeError, as a DataView does. */
export class Content {
  private readonly view: DataView

  constructor(
    readonly data: Uint8Array,
    private at = 0,
  ) {
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  }
  get left(): number {
    return this.data.length - this.at
  }
  u8(): number {
    return this.view.getUint8(this.at++)
  }
  u16(): number {
    this.at += 2
    return this.view.getUint16(this.at - 2)
  }
  u32(): number {
    this.at += 4
    return this.view.getUint32(this.at - 4)
  }
  i32(): number {
    this.at += 4
    return this.view.getInt32(this.at - 4)
  }
  u64(): number {
    return this.u32() * 2 ** 32 + this.u32()
  }
  i64(): number {
    return this.i32() * 2 ** 32 + this.u32()
  }
  type(): string {
    return String.fromCharCode(this.u8(), this.u8(), this.u8(), this.u8())
  }
  skip(bytes: number): void {
    this.at += bytes
  }
}

/** The box whose header is at `offset` of the data, its end as it says. */
export function boxAt(data: Uint8Array, offset: number): Box | undefined {
  if (data.length - offset < 8) return undefined
  const content = new Content(data, offset)
  let size = content.u32()
  const type = content.type()
  let start = offset + 8
  if (size === 1) {
    if (data.length - offset < 16) return undefined
    size = content.u64()
    start += 8
  }
  return offset + size < start ? undefined : { type, start, end: offset + size }
}

/** The boxes that lie in some content one after the other, as far as they are whole. */
export function* boxesIn(data: Uint8Array, from = 0): Generator<Box> {
  for (let at = from; at < data.length; ) {
    const box = boxAt(data, at)
    if (box === undefined) return
    yield box
    at = box.end
  }
}
