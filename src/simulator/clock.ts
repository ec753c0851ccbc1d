import { EventHeap } from './events.ts'
import { Fifo } from './fifo.ts'

/** What a simulated thread does: it has arranged to be woken where it yields. */
export type Body<T = void> = Generator<void, T, void>

/** A thread of the simulated program. */
export class Thread {
  /** Counts its suspensions: whoever would wake it from an earlier one comes too late. */
  ticket = 0
  ended = false

  constructor(readonly body: Body) {}
}

/** A suspension of a thread that something may end. */
export interface Wake {
  readonly thread: Thread
  readonly ticket: number
}

const stale = ({ thread, ticket }: Wake): boolean => thread.ended || thread.ticket !== ticket

/** Simulated time, in ns, and the threads that live in it. One runs at a time, and takes none by itself. */
export class Clock {
  now = 0
  #stopped = false
  #current: Thread | undefined
  readonly #later = new EventHeap<Wake>()
  readonly #ready = new Fifo<Wake>()
  #alive = 0

  start(body: Body): void {
    const thread = new Thread(body)
    this.#alive++
    this.#ready.push({ thread, ticket: 0 })
  }

  /** Wakes a thread, so many ns from now; at the present time, after those that were woken before it. */
  wake(wake: Wake, afterNs = 0): void {
    if (afterNs > 0) this.#later.push(this.now + afterNs, wake)
    else this.#ready.push(wake)
  }

  /** The suspension that the running thread is about to begin. @param deadline ends it at the latest */
  suspension(deadline = Number.POSITIVE_INFINITY): Wake {
    const thread = this.#current!
    const wake = { thread, ticket: thread.ticket }
    if (deadline < Number.POSITIVE_INFINITY) this.#later.push(Math.max(this.now, deadline), wake)
    return wake
  }

  *sleepUntil(time: number): Body {
    if (time <= this.now) return
    this.suspension(time)
    yield
  }

  /** Nothing happens any more. */
  stop(): void {
    this.#stopped = true
  }

  /**
   * Lets time pass until no thread has anything to do.
   * @returns threads that have not ended: they wait for what never comes, unless it was stopped
   */
  run(): number {
    while (!this.#stopped) {
      const wake = this.#ready.shift() ?? this.#nextLater()
      if (!wake) break
      if (!stale(wake)) this.#resume(wake.thread)
    }
    return this.#alive
  }

  #nextLater(): Wake | undefined {
    while (this.#later.size > 0) {
      const time = this.#later.nextTime
      const wake = this.#later.pop()
      // Time does not pass for a deadline that was met.
      if (stale(wake)) continue
      this.now = time
      return wake
    }
    return undefined
  }

  #resume(thread: Thread): void {
    thread.ticket++
    this.#current = thread
    thread.ended = thread.body.next().done === true
    if (thread.ended) this.#alive--
  }
}

/** Threads that wait for the same thing, in the order in which they came. */
export class Waiters {
  readonly #wakes = new Fifo<Wake>()

  /** @param delayNs what passes until a woken thread runs: drawn for each */
  constructor(
    readonly clock: Clock,
    readonly delayNs?: () => number,
  ) {}

  /** The running thread waits here from its next yield on. */
  join(deadline?: number): void {
    this.#wakes.push(this.clock.suspension(deadline))
  }

  /** Wakes the one that has waited longest. @returns whether there was one */
  wakeOne(): boolean {
    for (let wake = this.#wakes.shift(); wake; wake = this.#wakes.shift()) {
      if (stale(wake)) continue
      this.clock.wake(wake, this.delayNs?.())
      return true
    }
    return false
  }

  wakeAll(): void {
    while (this.#wakes.size > 0) this.wakeOne()
  }
}
