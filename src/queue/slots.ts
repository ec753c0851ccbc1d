import { atomicMin } from './atomic.ts'
import { Control, type ControlHandle } from './control.ts'
import type { EventCount } from './eventcount.ts'
import { STOPPED, WOULD_BLOCK } from './status.ts'

const FREE = 0
const LOW_WATER = 1
/** Bit i of word w is set while slot 32 w + i is free. */
const BITMAP = 32

/** Plain data to send to any thread. */
export interface SlotPoolHandle {
  memory: SharedArrayBuffer
  slots: number
  control: ControlHandle
  event: number
}

/**
 * Hands out slots 0..slots-1, each with a count of its holders. The lowest free slot goes first, so that no more
 * memory is touched than was ever needed at once.
 *
 * The number of free slots is a semaphore: whoever lowers it may, and will, find a set bit in the map.
 */
export class SlotPool {
  readonly slots: number
  private readonly words: Int32Array
  private readonly counts: number
  private readonly control: Control
  private readonly freed: EventCount

  static create(slots: number, control: Control): SlotPoolHandle {
    if (!Number.isInteger(slots) || slots < 1) throw new RangeError(`SlotPool: ${slots} slots`)
    const memory = new SharedArrayBuffer((countsOffset(slots) + slots) * 4)
    const words = new Int32Array(memory)
    words[FREE] = slots
    words[LOW_WATER] = slots
    for (let slot = 0; slot < slots; slot++) words[BITMAP + (slot >> 5)]! |= 1 << (slot & 31)
    return { memory, slots, control: control.handle, event: control.addEvent() }
  }

  constructor(handle: SlotPoolHandle) {
    this.slots = handle.slots
    this.words = new Int32Array(handle.memory)
    this.counts = countsOffset(handle.slots)
    this.control = new Control(handle.control)
    this.freed = this.control.event(handle.event)
  }

  /**
   * Takes a free slot, with one holder, waiting for one.
   * @param deadlineNs of `monotonicNs`; passed already (0), it means not to wait.
   * @returns the slot, or STOPPED or TIMED_OUT.
   */
  acquire(deadlineNs = Number.POSITIVE_INFINITY): number {
    const result = this.tryAcquire()
    return result === WOULD_BLOCK ? this.freed.wait(() => this.tryAcquire(), deadlineNs) : result
  }

  /** @returns the slot, or STOPPED, or WOULD_BLOCK if none is free. */
  tryAcquire(): number {
    if (this.control.stopped !== 0) return STOPPED
    let free = Atomics.load(this.words, FREE)
    for (;;) {
      if (free <= 0) return WOULD_BLOCK
      const before = Atomics.compareExchange(this.words, FREE, free, free - 1)
      if (before === free) break
      free = before
    }
    atomicMin(this.words, LOW_WATER, free - 1)
    const slot = this.takeLowest()
    Atomics.store(this.words, this.counts + slot, 1)
    return slot
  }

  /** Adds a holder to a slot that the caller holds. */
  retain(slot: number): void {
    this.changeCount(slot, 1)
  }

  /** Removes a holder; the slot is free after the last. */
  release(slot: number): void {
    if (this.changeCount(slot, -1) > 0) return
    Atomics.or(this.words, BITMAP + (slot >> 5), 1 << (slot & 31))
    Atomics.add(this.words, FREE, 1)
    this.freed.notify(1)
  }

  /** Slots that nobody holds. */
  get free(): number {
    return Atomics.load(this.words, FREE)
  }

  /** The fewest that were ever free. */
  get lowWater(): number {
    return Atomics.load(this.words, LOW_WATER)
  }

  private takeLowest(): number {
    for (;;) {
      for (let word = BITMAP; word < this.counts; word++) {
        let bits = Atomics.load(this.words, word)
        while (bits !== 0) {
          const lowest = bits & -bits
          bits = Atomics.and(this.words, word, ~lowest)
          if (bits & lowest) return (word - BITMAP) * 32 + 31 - Math.clz32(lowest)
        }
      }
      // Every bit seen was taken by another, and one below was set meanwhile: look again.
    }
  }

  /** Changes the count of a slot that is held, and leaves it alone if it is not. */
  private changeCount(slot: number, by: number): number {
    if (!(slot >= 0 && slot < this.slots)) throw new RangeError(`SlotPool: no slot ${slot} of ${this.slots}`)
    const index = this.counts + slot
    let count = Atomics.load(this.words, index)
    for (;;) {
      if (count <= 0) throw new Error(`SlotPool: slot ${slot} has no holder`)
      const before = Atomics.compareExchange(this.words, index, count, count + by)
      if (before === count) return count + by
      count = before
    }
  }
}

/** Counts start on a new pair of cache lines after the map. */
const countsOffset = (slots: number): number => BITMAP + Math.ceil(slots / 1024) * 32
