/** Reads bits, most significant first. Past the end it gives zeros and says so in `exhausted`. */
export class BitReader {
  private position: number

  constructor(
    private readonly data: Uint8Array,
    start = 0,
  ) {
    this.position = start * 8
  }

  get exhausted(): boolean {
    return this.position > this.data.length * 8
  }

  /** An unsigned number of `count` bits, at most 32. */
  u(count: number): number {
    let value = 0
    for (let i = 0; i < count; i++, this.position++) {
      const byte = this.data[this.position >> 3] ?? 0
      value = value * 2 + ((byte >> (7 - (this.position & 7))) & 1)
    }
    return value
  }

  flag(): boolean {
    return this.u(1) === 1
  }

  skip(count: number): void {
    this.position += count
  }

  /** Exp-Golomb, unsigned: ue(v) of H.264 and HEVC, uvlc() of AV1. */
  ue(): number {
    let zeros = 0
    while (zeros < 32 && !this.flag()) zeros++
    return 2 ** zeros - 1 + this.u(zeros)
  }

  /** Exp-Golomb, signed: se(v). */
  se(): number {
    const code = this.ue()
    return code % 2 === 1 ? (code + 1) / 2 : -code / 2
  }
}
