import { monotonicNs } from '../libc.ts'
import { check } from './check.ts'
import { libcupti } from './library.ts'

/** What CUPTI's clock showed at a moment of the monotonic one. */
export interface ClockReading {
  monotonicNs: number
  /** In ns since 1970, which no number holds exactly. */
  cupti: bigint
  /** The true moment is at most so far from `monotonicNs`, either way. */
  errorNs: number
}

/** Looks at the two clocks in turn; an interruption in between widens a bracket, so the narrowest of many counts. */
const LOOKS = 200

/** Reads both clocks. @throws {NativeError} */
export function readClocks(): ClockReading {
  const { cuptiGetTimestamp } = libcupti().symbols
  const cell = new BigUint64Array(new ArrayBuffer(8))
  let best: ClockReading | undefined
  for (let look = 0; look < LOOKS; look++) {
    const before = monotonicNs()
    const status = cuptiGetTimestamp(cell)
    const after = monotonicNs()
    check('cuptiGetTimestamp', status)
    const errorNs = (after - before) / 2
    if (best === undefined || errorNs < best.errorNs)
      best = { monotonicNs: before + errorNs, cupti: cell[0]!, errorNs }
  }
  return best!
}

/**
 * Moments of CUPTI's clock as moments of the monotonic one, from readings of both at two times: what the one gains on the
 * other in between is even. They count from the first reading, so that a number holds them exactly.
 */
export class ClockAlignment {
  readonly #passedNs: number
  readonly #slope: number

  constructor(
    readonly first: ClockReading,
    readonly last: ClockReading,
  ) {
    this.#passedNs = Number(last.cupti - first.cupti)
    this.#slope = this.#passedNs === 0 ? 1 : (last.monotonicNs - first.monotonicNs) / this.#passedNs
  }

  /** @param sinceFirst - ns of CUPTI's clock since the first reading */
  monotonic(sinceFirst: number): number {
    return this.first.monotonicNs + sinceFirst * this.#slope
  }

  /** By how much a moment may be wrong, as far as reading the clocks goes. */
  get errorNs(): number {
    return Math.max(this.first.errorNs, this.last.errorNs)
  }

  /** What CUPTI's clock gained from the first reading to the last. */
  get driftNs(): number {
    return this.#passedNs - (this.last.monotonicNs - this.first.monotonicNs)
  }
}
