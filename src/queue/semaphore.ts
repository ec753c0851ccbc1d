import { Control, type ControlHandle } from './control.ts'
import type { EventCount } from './eventcount.ts'
import { STOPPED, WOULD_BLOCK } from './status.ts'

/** Plain data to send to any thread. */
export interface SemaphoreHandle {
  memory: SharedArrayBuffer
  control: ControlHandle
  event: number
}

/** A number of permits: threads take them, and any thread gives them back. */
export class Semaphore {
  private readonly words: Int32Array
  private readonly control: Control
  private readonly given: EventCount

  static create(permits: number, control: Control): SemaphoreHandle {
    if (!Number.isInteger(permits) || permits < 1) throw new RangeError(`Semaphore: ${permits} permits`)
    const memory = new SharedArrayBuffer(4)
    new Int32Array(memory)[0] = permits
    return { memory, control: control.handle, event: control.addEvent() }
  }

  constructor(handle: SemaphoreHandle) {
    this.words = new Int32Array(handle.memory)
    this.control = new Control(handle.control)
    this.given = this.control.event(handle.event)
  }

  /** Permits that nobody has. */
  get free(): number {
    return Atomics.load(this.words, 0)
  }

  /**
   * Takes a permit, waiting for one until the run is stopped or drained.
   * @param deadlineNs of `monotonicNs`; passed already (0), it means not to wait.
   * @returns 0, or STOPPED or TIMED_OUT.
   */
  acquire(deadlineNs = Number.POSITIVE_INFINITY): number {
    const result = this.attempt()
    return result === WOULD_BLOCK ? this.given.wait(() => this.attempt(), deadlineNs) : result
  }

  /** Gives a permit back. */
  release(): void {
    Atomics.add(this.words, 0, 1)
    this.given.notify(1)
  }

  private attempt(): number {
    if (this.control.stopped !== 0 || this.control.draining) return STOPPED
    let free = this.free
    while (free > 0) {
      const before = Atomics.compareExchange(this.words, 0, free, free - 1)
      if (before === free) return 0
      free = before
    }
    return WOULD_BLOCK
  }
}
