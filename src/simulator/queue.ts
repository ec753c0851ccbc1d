import type { Item } from '../queue/item.ts'
import { type Body, type Clock, Waiters } from './clock.ts'
import { Fifo } from './fifo.ts'

/** A bounded queue, as `src/queue/ring.ts` has it: any thread that is awake may come before one that is woken. */
export class SimulatedQueue {
  highWater = 0
  readonly #items = new Fifo<Item>()
  readonly #filled: Waiters
  readonly #emptied: Waiters

  /**
   * @param producers how many close it before those that take from it hear of the end
   * @param handOverNs until a thread that waited here runs
   */
  constructor(
    readonly clock: Clock,
    readonly capacity: number,
    public producers: number,
    handOverNs?: () => number,
  ) {
    this.#filled = new Waiters(clock, handOverNs)
    this.#emptied = new Waiters(clock, handOverNs)
  }

  get depth(): number {
    return this.#items.size
  }

  /** @returns false if it is full */
  put(item: Item): boolean {
    if (this.depth >= this.capacity) return false
    this.#items.push(item)
    this.highWater = Math.max(this.highWater, this.depth)
    this.#filled.wakeOne()
    return true
  }

  /** Waits until there is room. @returns whether there is: another may take it first; not at the deadline */
  *awaitRoom(deadline = Number.POSITIVE_INFINITY): Body<boolean> {
    while (this.depth >= this.capacity) {
      if (deadline <= this.clock.now) return false
      this.#emptied.join(deadline)
      yield
    }
    return true
  }

  /** Has all who wait for an item look whether there is something else to do. */
  callTakers(): void {
    this.#filled.wakeAll()
  }

  /**
   * The oldest item; where there is none, `elsewhere` once that says that there is something else to do; undefined at the deadline,
   * and at the end.
   */
  *take(
    deadline = Number.POSITIVE_INFINITY,
    elsewhere?: () => boolean,
  ): Body<Item | 'elsewhere' | undefined> {
    for (;;) {
      const item = this.#items.shift()
      if (item) {
        this.#emptied.wakeOne()
        return item
      }
      if (elsewhere?.()) return 'elsewhere'
      if (this.producers === 0 || deadline <= this.clock.now) return undefined
      this.#filled.join(deadline)
      yield
    }
  }

  close(): void {
    this.producers--
    if (this.producers === 0) this.#filled.wakeAll()
  }
}
