import { monotonicNs } from '../../ffi/libc.ts'

/** What a thread of an instance does in calls that may hang, in the words of a message. */
const CALLS = {
  create: 'being created',
  'warm-up': 'in its warm-up',
  run: 'at work',
  settle: 'finishing what was under way',
  flush: 'emitting what it held back',
  close: 'closing',
} as const
export type Call = keyof typeof CALLS
const NAMES = Object.keys(CALLS) as Call[]

// Doubles of a thread.
/** When it began, in ns of the monotonic clock; 0 between calls. */
const SINCE = 0
/** A number in `NAMES`. */
const CALL = 1
const FIRST_REQUEST = 2
const REQUESTS = 3
/** Two cache lines, so that no thread disturbs another. */
const STRIDE = 16

/** Shared memory that says of each thread of an instance since when it has been in a call of its step, and in which. */
export const createCalls = (threads: number): SharedArrayBuffer =>
  new SharedArrayBuffer(threads * STRIDE * Float64Array.BYTES_PER_ELEMENT)

/** Where a thread notes that it is in a call of its step: nothing, where nobody watches. */
export class CallNote {
  readonly #row: Float64Array | undefined

  constructor(memory: SharedArrayBuffer | undefined, thread: number) {
    this.#row = memory && new Float64Array(memory, thread * STRIDE * Float64Array.BYTES_PER_ELEMENT, STRIDE)
  }

  /** @param ns now, on the monotonic clock */
  begin(call: Call, ns: number, requests: readonly { request: number }[] = []): void {
    const row = this.#row
    if (!row) return
    row[CALL] = NAMES.indexOf(call)
    row[FIRST_REQUEST] = requests[0]?.request ?? -1
    row[REQUESTS] = requests.length
    row[SINCE] = ns
  }

  end(): void {
    if (this.#row) this.#row[SINCE] = 0
  }

  /** Does `wait`, which is no time of the step's own: it waits for others, one of which may be the one that hangs. */
  pause<T>(wait: () => T): T {
    const row = this.#row
    const since = row?.[SINCE] ?? 0
    if (!row || since === 0) return wait()
    const paused = monotonicNs()
    row[SINCE] = 0
    try {
      return wait()
    } finally {
      row[SINCE] = since + monotonicNs() - paused
    }
  }
}

/** How long calls may take, in ms. */
export interface CallLimits {
  /** Any call once the clock has started. */
  stallMs: number
  /** Creation and warm-up, in which networks are compiled and tuned. */
  startMs: number
}

/** A thread that has been in one call for too long, and what there is to say of it. */
export interface Stall {
  thread: number
  message: string
}

const limitOf = (call: Call, { stallMs, startMs }: CallLimits): number =>
  call === 'create' || call === 'warm-up' ? startMs : stallMs

function place(call: Call, first: number, requests: number): string {
  if (call !== 'run' || requests === 0) return CALLS[call]
  return requests === 1
    ? `at request ${first}`
    : `at a batch of ${requests} requests, ${first} the first of them`
}

/** Looks at what threads note, from time to time. */
export class StallWatch {
  readonly #rows: Float64Array
  /** By thread: the call that it was in when it was last looked at, by its begin, and when that was first seen. */
  readonly #calls: Float64Array
  readonly #seen: Float64Array
  #looked: number
  /** Time that was watched, in ns: not while the process was stopped, say. */
  #watched = 0

  /** @param everyMs how often it will look */
  constructor(
    memory: SharedArrayBuffer,
    readonly limits: CallLimits,
    readonly everyMs: number,
    now = monotonicNs(),
  ) {
    this.#rows = new Float64Array(memory)
    this.#calls = new Float64Array(this.#rows.length / STRIDE)
    this.#seen = new Float64Array(this.#calls.length)
    this.#looked = now
  }

  /** Threads that have been in one call for longer than it may take. @param now on the monotonic clock, in ns */
  look(now = monotonicNs()): Stall[] {
    this.#watched += Math.min(now - this.#looked, 2e6 * this.everyMs)
    this.#looked = now
    return [...this.#calls.keys()].flatMap(thread => this.#stall(thread) ?? [])
  }

  #stall(thread: number): Stall | undefined {
    const row = this.#rows.subarray(thread * STRIDE, (thread + 1) * STRIDE)
    const since = row[SINCE]!
    if (since !== this.#calls[thread]) {
      this.#calls[thread] = since
      this.#seen[thread] = this.#watched
    }
    const call = NAMES[row[CALL]!]!
    const limitMs = limitOf(call, this.limits)
    const ms = (this.#watched - this.#seen[thread]!) / 1e6
    if (since === 0 || ms <= limitMs) return undefined
    const where = place(call, row[FIRST_REQUEST]!, row[REQUESTS]!)
    const most = `${limitMs / 1000} s is the most (--stall-ms)`
    return { thread, message: `it hangs: ${where} for ${(ms / 1000).toFixed(1)} s, and ${most}` }
  }
}
