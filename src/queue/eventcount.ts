import { monotonicNs } from '../../ffi/libc.ts'
import { TIMED_OUT, WOULD_BLOCK } from './status.ts'

/** Words that one eventcount takes: two cache lines, since CPUs fetch lines in pairs. */
export const EVENT_WORDS = 32
const EPOCH = 0
const WAITERS = 1

/** Tries without waiting: the result, or WOULD_BLOCK. Must see whatever was done before a `notify`. */
export type Attempt = () => number

/**
 * Lets threads wait until a condition over shared memory holds, and costs those who change it one load while
 * nobody waits (an "eventcount").
 *
 * A waiter counts itself, reads the epoch, tries once more, and sleeps only while the epoch is still that one.
 * Whoever changes the condition does so before looking for waiters. JavaScript's atomics have one total order, so
 * either the waiter's last try sees the change or the notifier sees the waiter, and no wake-up is lost. A thread
 * that dies while it waits leaves the count too high: notifying then costs more and is still right.
 */
export class EventCount {
  /** @param words holds the eventcount at `offset`, EVENT_WORDS long. */
  constructor(
    private readonly words: Int32Array,
    private readonly offset: number,
  ) {}

  /** Whether somebody waits or is about to. */
  get awaited(): boolean {
    return Atomics.load(this.words, this.offset + WAITERS) > 0
  }

  /** Wakes up to `count` waiters if there are any; call it after the change that they wait for. */
  notify(count = Number.POSITIVE_INFINITY): void {
    if (this.awaited) this.wake(count)
  }

  /** Wakes up to `count` waiters. */
  wake(count = Number.POSITIVE_INFINITY): void {
    Atomics.add(this.words, this.offset + EPOCH, 1)
    Atomics.notify(this.words, this.offset + EPOCH, count)
  }

  /**
   * Blocks this thread until `attempt` succeeds.
   * @param deadlineNs of `monotonicNs`; passed already, it means a single attempt.
   * @returns what `attempt` did, or TIMED_OUT.
   */
  wait(attempt: Attempt, deadlineNs: number): number {
    for (;;) {
      const epoch = this.enter()
      try {
        const result = attempt()
        if (result !== WOULD_BLOCK) return result
        const timeoutMs = remainingMs(deadlineNs)
        if (timeoutMs <= 0) return TIMED_OUT
        Atomics.wait(this.words, this.offset + EPOCH, epoch, timeoutMs)
      } finally {
        this.leave()
      }
    }
  }

  /** As `wait`, for a thread that must not block. A pending wait does not keep the process alive. */
  async waitAsync(attempt: Attempt, deadlineNs: number): Promise<number> {
    for (;;) {
      const epoch = this.enter()
      try {
        const result = attempt()
        if (result !== WOULD_BLOCK) return result
        const timeoutMs = remainingMs(deadlineNs)
        if (timeoutMs <= 0) return TIMED_OUT
        const wait = Atomics.waitAsync(this.words, this.offset + EPOCH, epoch, timeoutMs)
        if (wait.async) await wait.value
      } finally {
        this.leave()
      }
    }
  }

  private enter(): number {
    Atomics.add(this.words, this.offset + WAITERS, 1)
    return Atomics.load(this.words, this.offset + EPOCH)
  }

  private leave(): void {
    Atomics.sub(this.words, this.offset + WAITERS, 1)
  }
}

const remainingMs = (deadlineNs: number): number =>
  deadlineNs === Number.POSITIVE_INFINITY ? deadlineNs : (deadlineNs - monotonicNs()) / 1e6
