import { Control, type ControlHandle } from './control.ts'
import type { EventCount } from './eventcount.ts'
import { STOPPED, WOULD_BLOCK } from './status.ts'

const ARRIVED = 0
const PHASE = 1

/** Plain data to send to any thread. */
export interface BarrierHandle {
  memory: SharedArrayBuffer
  parties: number
  control: ControlHandle
  /** Eventcounts: of who waits for the release, and of who waits for all to arrive. */
  events: [released: number, arrived: number]
}

/**
 * Holds workers until all have arrived and the main thread, which does not block, lets them go. It can be used
 * again once released.
 */
export class Barrier {
  private readonly words: Int32Array
  private readonly control: Control
  private readonly released: EventCount
  private readonly allThere: EventCount
  readonly parties: number

  /** @param parties how many workers arrive. */
  static create(parties: number, control: Control): BarrierHandle {
    const memory = new SharedArrayBuffer(8)
    return { memory, parties, control: control.handle, events: [control.addEvent(), control.addEvent()] }
  }

  constructor(handle: BarrierHandle) {
    this.words = new Int32Array(handle.memory)
    this.parties = handle.parties
    this.control = new Control(handle.control)
    this.released = this.control.event(handle.events[0])
    this.allThere = this.control.event(handle.events[1])
  }

  /** How many wait now. */
  get arrived(): number {
    return Atomics.load(this.words, ARRIVED)
  }

  /** Blocks until `release`. @returns false if the run was stopped instead. */
  arriveAndWait(): boolean {
    const phase = Atomics.load(this.words, PHASE)
    Atomics.add(this.words, ARRIVED, 1)
    this.allThere.notify()
    const attempt = () => {
      if (this.control.stopped !== 0) return STOPPED
      return Atomics.load(this.words, PHASE) === phase ? WOULD_BLOCK : 0
    }
    return this.released.wait(attempt, Number.POSITIVE_INFINITY) === 0
  }

  /** For the main thread. @returns 0 once all have arrived, or STOPPED, or TIMED_OUT. */
  allArrived(deadlineNs = Number.POSITIVE_INFINITY): Promise<number> {
    const attempt = () => {
      if (this.control.stopped !== 0) return STOPPED
      return this.arrived < this.parties ? WOULD_BLOCK : 0
    }
    return this.allThere.waitAsync(attempt, deadlineNs)
  }

  /** Lets all who arrived go on; call it after `allArrived`. */
  release(): void {
    Atomics.store(this.words, ARRIVED, 0)
    Atomics.add(this.words, PHASE, 1)
    this.released.notify()
  }
}
