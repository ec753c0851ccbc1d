import { monotonicNs } from '../../ffi/libc.ts'

const NS_PER_S = 1e9

/** Readings of both clocks; the pair that was read fastest counts. */
const READINGS = 16

/**
 * Maps times of the monotonic clock to Unix time by one offset, taken once: a step of the system's clock during
 * a run moves nothing, and differences stay exact to the nanosecond.
 */
export class UnixClock {
  /** Unix time minus monotonic time: whole seconds, and nanoseconds of 0 to 1e9. */
  readonly #seconds: number
  readonly #nanoseconds: number

  /** @param offsetNs Unix time minus monotonic time, in ns */
  constructor(offsetNs: number) {
    this.#seconds = Math.floor(offsetNs / NS_PER_S)
    this.#nanoseconds = offsetNs - this.#seconds * NS_PER_S
  }

  /** The system's clock, now. */
  static now(): UnixClock {
    let fastest = Number.POSITIVE_INFINITY
    let offsetNs = 0
    for (let reading = 0; reading < READINGS; reading++) {
      const before = monotonicNs()
      const unixMs = performance.timeOrigin + performance.now()
      const after = monotonicNs()
      if (after - before >= fastest) continue
      fastest = after - before
      offsetNs = Math.round(unixMs * 1e6 - (before + after) / 2)
    }
    return new UnixClock(offsetNs)
  }

  /** Unix seconds of a monotonic time; a float64 holds them to about a quarter of a microsecond. */
  seconds(ns: number): number {
    return ns / NS_PER_S + (this.#seconds + this.#nanoseconds / NS_PER_S)
  }

  /** Unix seconds with nine decimals, all of them true; `nan` for NaN. */
  text(ns: number): string {
    if (Number.isNaN(ns)) return 'nan'
    const whole = Math.floor(ns / NS_PER_S)
    const rest = Math.round(ns - whole * NS_PER_S + this.#nanoseconds)
    const carry = Math.floor(rest / NS_PER_S)
    const decimals = String(rest - carry * NS_PER_S).padStart(9, '0')
    return `${whole + this.#seconds + carry}.${decimals}`
  }
}
