import { monotonicNs } from '../../ffi/libc.ts'

/** Shared memory that says of each thread of an instance since when it has been in a call of its step. */
export const createCalls = (threads: number): SharedArrayBuffer =>
  new SharedArrayBuffer(threads * Float64Array.BYTES_PER_ELEMENT)

/** Where a thread notes that it is in a call of its step: nothing, where nobody watches. */
export class CallNote {
  /** Since when, in ns of the monotonic clock; 0 between calls. */
  readonly #since: Float64Array | undefined

  constructor(memory: SharedArrayBuffer | undefined, thread: number) {
    this.#since = memory && new Float64Array(memory, thread * Float64Array.BYTES_PER_ELEMENT, 1)
  }

  begin(ns: number): void {
    if (this.#since) this.#since[0] = ns
  }

  end(): void {
    if (this.#since) this.#since[0] = 0
  }

  /** Does `wait`, which is no time of the step's own: it waits for others, one of which may be the one that hangs. */
  pause<T>(wait: () => T): T {
    const since = this.#since?.[0] ?? 0
    if (!this.#since || since === 0) return wait()
    const paused = monotonicNs()
    this.#since[0] = 0
    try {
      return wait()
    } finally {
      this.#since[0] = since + monotonicNs() - paused
    }
  }
}

/** Threads that have been in one call for longer than `limitNs`. */
export function stalled(memory: SharedArrayBuffer, limitNs: number): number[] {
  const now = monotonicNs()
  return [...new Float64Array(memory)].flatMap((since, thread) =>
    since !== 0 && now - since > limitNs ? [thread] : [],
  )
}
