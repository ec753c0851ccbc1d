import { monotonicNs } from '../../ffi/libc.ts'

const NS_PER_S = 1e9

/** Readings of both clocks; the pair that was read fastest counts. */
const READINGS = 16

/**
 * Maps times of the monotonic clock to Unix time by one offset, taken once: a step of the system's clock during
 * a run moves nothing, and differences stay exact to the nanosecond.
 */
export class UnixClock {
  /** @param seconds and nanoseconds (0 to 1e9): Unix time minus monotonic time */
  constructor(
    readonly offsetSeconds: number,
    readonly offsetNanoseconds: number,
  ) {}

  /** The system's clock, now. */
  static now(): UnixClock {
    let fastest = Number.POSITIVE_INFINITY
    let seconds = 0
    let nanoseconds = 0
    for (let reading = 0; reading < READINGS; reading++) {
      const before = monotonicNs()
      const unixMs = performance.timeOrigin + performance.now()
      const after = monotonicNs()
      if (after - before >= fastest) continue
      fastest = after - before
      const whole = Math.floor(unixMs / 1000)
      const rest = Math.round((unixMs - whole * 1000) * 1e6 - (before + after) / 2)
      seconds = whole + Math.floor(rest / NS_PER_S)
      nanoseconds = rest - Math.floor(rest / NS_PER_S) * NS_PER_S
    }
    return new UnixClock(seconds, nanoseconds)
  }

  /** Unix seconds of a monotonic time; a float64 holds them to about a quarter of a microsecond. */
  seconds(ns: number): number {
    return ns / NS_PER_S + (this.offsetSeconds + this.offsetNanoseconds / NS_PER_S)
  }

  /** Unix seconds with nine decimals, all of them true; `nan` for NaN. */
  text(ns: number): string {
    if (Number.isNaN(ns)) return 'nan'
    const whole = Math.floor(ns / NS_PER_S)
    const rest = Math.round(ns - whole * NS_PER_S + this.offsetNanoseconds)
    const carry = Math.floor(rest / NS_PER_S)
    const decimals = String(rest - carry * NS_PER_S).padStart(9, '0')
    return `${whole + this.offsetSeconds + carry}.${decimals}`
  }
}
