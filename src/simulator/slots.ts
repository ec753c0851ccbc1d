import { type Body, type Clock, Waiters } from './clock.ts'

/** The output slots of an instance, each with a count of those that still read it. */
export class SimulatedSlots {
  readonly #readers: Int32Array
  readonly #free: number[]
  readonly #freed: Waiters

  constructor(
    clock: Clock,
    readonly count: number,
    handOverNs?: () => number,
  ) {
    this.#readers = new Int32Array(count)
    this.#free = Array.from({ length: count }, (_, i) => count - 1 - i)
    this.#freed = new Waiters(clock, handOverNs)
  }

  get held(): number {
    return this.count - this.#free.length
  }

  /** Whether a slot is free. */
  get room(): boolean {
    return this.#free.length > 0
  }

  /** A free slot, which has one reader then; waits while there is none. */
  *acquire(): Body<number> {
    for (;;) {
      const slot = this.#free.pop()
      if (slot !== undefined) {
        this.#readers[slot] = 1
        return slot
      }
      this.#freed.join()
      yield
    }
  }

  retain(slot: number, more: number): void {
    this.#readers[slot]! += more
  }

  /** @throws {RangeError} if nobody held it: slots would be lost or shared */
  release(slot: number): void {
    if (!(this.#readers[slot]! > 0)) throw new RangeError(`slot ${slot} is free already`)
    if (--this.#readers[slot]! > 0) return
    this.#free.push(slot)
    this.#freed.wakeOne()
  }
}
