import { EVENT_WORDS, EventCount } from './eventcount.ts'
import { STOPPED, TIMED_OUT, WOULD_BLOCK } from './status.ts'

const STOP = 0
const DRAIN = 1
const EVENTS = 2
/** A float64, in units of float64. */
const START_NS = 2
const FIRST_EVENT = 32

/** Plain data to send to any thread. */
export interface ControlHandle {
  memory: SharedArrayBuffer
}

/**
 * What all threads of a run share besides their queues: whether to go on, when the clock started, and every place
 * where a thread can wait. Rings, pools and barriers take their eventcounts from here, which is why any thread can
 * wake all others without knowing what they wait for.
 */
export class Control {
  private readonly words: Int32Array
  private readonly sleepers: EventCount

  /**
   * @param maxEvents how many places to wait it has: a ring and a barrier take two, a pool and a semaphore one.
   * @param epoch first epoch of their eventcounts; tests start it where 32 bits wrap around.
   */
  static create(maxEvents = 1024, epoch = 0): ControlHandle {
    const memory = new SharedArrayBuffer((FIRST_EVENT + (maxEvents + 1) * EVENT_WORDS) * 4)
    const words = new Int32Array(memory)
    if (epoch !== 0) for (let at = FIRST_EVENT; at < words.length; at += EVENT_WORDS) words[at] = epoch
    words[EVENTS] = 1 // the first is for `sleepUntil`
    return { memory }
  }

  constructor(readonly handle: ControlHandle) {
    this.words = new Int32Array(handle.memory)
    this.sleepers = this.event(0)
  }

  /** Takes an unused eventcount; its number goes into the handle of what uses it. */
  addEvent(): number {
    const event = Atomics.add(this.words, EVENTS, 1)
    if (FIRST_EVENT + (event + 1) * EVENT_WORDS > this.words.length)
      throw new RangeError('Control: more places to wait than it was created for')
    return event
  }

  event(number: number): EventCount {
    return new EventCount(this.words, FIRST_EVENT + number * EVENT_WORDS)
  }

  /** Reason given to `stop`; 0 while the run goes on. */
  get stopped(): number {
    return Atomics.load(this.words, STOP)
  }

  /**
   * Ends the run: every wait, now or later, in any thread, returns STOPPED. The first reason stays.
   * @param reason not 0.
   * @returns whether this call was the first.
   */
  stop(reason: number): boolean {
    if ((reason | 0) !== reason || reason === 0)
      throw new RangeError(`Control.stop: the reason must be an integer other than 0, not ${reason}`)
    const first = Atomics.compareExchange(this.words, STOP, 0, reason) === 0
    this.wakeAll()
    return first
  }

  /** Whether producers of new work should produce no more, while all else goes on to the end. */
  get draining(): boolean {
    return Atomics.load(this.words, DRAIN) !== 0
  }

  /** Asks for that, and ends every wait that a drain ends. */
  drain(): void {
    Atomics.store(this.words, DRAIN, 1)
    this.wakeAll()
  }

  /** Has everybody who waits look again. */
  private wakeAll(): void {
    const events = Atomics.load(this.words, EVENTS)
    for (let number = 0; number < events; number++) this.event(number).wake()
  }

  /** Start of the measured time on the clock of `monotonicNs`; 0 before. Set it before a barrier is released. */
  get startNs(): number {
    return new Float64Array(this.handle.memory)[START_NS]!
  }

  set startNs(ns: number) {
    new Float64Array(this.handle.memory)[START_NS] = ns
  }

  /**
   * Blocks until a time on the clock of `monotonicNs`, later by what the system needs to wake a thread.
   * @returns true at that time; false as soon as the run is stopped or drained.
   */
  sleepUntil(deadlineNs: number): boolean {
    const attempt = () => (this.stopped !== 0 || this.draining ? STOPPED : WOULD_BLOCK)
    return this.sleepers.wait(attempt, deadlineNs) === TIMED_OUT
  }
}
