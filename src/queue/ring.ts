import { atomicMax } from './atomic.ts'
import { Control, type ControlHandle } from './control.ts'
import type { EventCount } from './eventcount.ts'
import { CLOSED, ELSEWHERE, STOPPED, WOULD_BLOCK } from './status.ts'

export { CLOSED, ELSEWHERE, STOPPED, TIMED_OUT } from './status.ts'

// What different threads write lies on different pairs of cache lines.
const HEAD = 0
const TAIL = 32
const HIGH_WATER = 64
const CLOSED_BY = 65
const CELLS = 96
// A cell: sequence number, length, payload.
const SEQUENCE = 0
const LENGTH = 1
const PAYLOAD = 2
const CELL_ALIGNMENT = 16

/** Plain data to send to any thread. */
export interface RingHandle {
  memory: SharedArrayBuffer
  capacity: number
  wordsPerMessage: number
  producers: number
  control: ControlHandle
  /** Eventcount of those who wait for a message. */
  event: number
  /** And of those who wait for room. */
  roomEvent: number
}

/**
 * A bounded queue of messages of 1 to `wordsPerMessage` Int32 words in shared memory, for any number of producers
 * and consumers (after D. Vyukov's bounded MPMC queue).
 *
 * Positions count up and wrap at 32 bits; the cell of a position is its low bits, so there are as many cells as the
 * power of two from `capacity` up, and the bound is the difference of the positions. A producer claims the tail
 * position, fills its cell and publishes it by writing position + 1 as the cell's sequence number. A consumer copies
 * a published cell and then claims the head position; if another claimed it first, the copy may be torn and is
 * thrown away. So a consumer never holds a cell: none that is slow, or dies, makes the ring look full. A producer that
 * dies between claim and publication leaves a hole at which consumers wait until the run is stopped.
 */
export class Ring {
  readonly capacity: number
  readonly wordsPerMessage: number
  private readonly words: Int32Array
  private readonly mask: number
  private readonly stride: number
  private readonly producers: number
  private readonly control: Control
  private readonly filled: EventCount
  private readonly emptied: EventCount
  private closed = false

  /**
   * @param capacity messages, any number from 1 to 2^24.
   * @param wordsPerMessage length of the longest message.
   * @param producers how many `close` calls end it.
   * @param start first position; tests start it where 32 bits wrap around.
   */
  static create(
    capacity: number,
    wordsPerMessage: number,
    producers: number,
    control: Control,
    start = 0,
  ): RingHandle {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > 2 ** 24)
      throw new RangeError(`Ring: capacity ${capacity} is not an integer from 1 to 2^24`)
    if (!Number.isInteger(wordsPerMessage) || wordsPerMessage < 1)
      throw new RangeError(`Ring: ${wordsPerMessage} words per message`)
    const cells = cellsFor(capacity)
    const stride = strideFor(wordsPerMessage)
    const memory = new SharedArrayBuffer((CELLS + cells * stride) * 4)
    const words = new Int32Array(memory)
    words[HEAD] = start
    words[TAIL] = start
    // No cell may look published: any number but the cell's first position + 1 will do.
    for (let i = 0; i < cells; i++) {
      const position = (start + i) | 0
      words[CELLS + (position & (cells - 1)) * stride + SEQUENCE] = position
    }
    return {
      memory,
      capacity,
      wordsPerMessage,
      producers,
      control: control.handle,
      event: control.addEvent(),
      roomEvent: control.addEvent(),
    }
  }

  constructor(handle: RingHandle) {
    this.capacity = handle.capacity
    this.wordsPerMessage = handle.wordsPerMessage
    this.producers = handle.producers
    this.words = new Int32Array(handle.memory)
    this.mask = cellsFor(handle.capacity) - 1
    this.stride = strideFor(handle.wordsPerMessage)
    this.control = new Control(handle.control)
    this.filled = this.control.event(handle.event)
    this.emptied = this.control.event(handle.roomEvent)
  }

  /**
   * Appends the first `length` words; never blocks.
   * @returns false if the ring is full.
   */
  put(words: Int32Array, length: number): boolean {
    if (this.closed) throw new Error('Ring: put after close')
    if (!(length >= 1 && length <= this.wordsPerMessage && length <= words.length))
      throw new RangeError(`Ring: a message of ${length} words, where 1 to ${this.wordsPerMessage} fit`)
    const shared = this.words
    for (;;) {
      // The tail first: it then still is the tail when the exchange succeeds, and the head can only have moved on,
      // so the bound holds; and if this finds the ring full, it was when the head was read.
      const tail = Atomics.load(shared, TAIL)
      const depth = (tail - Atomics.load(shared, HEAD)) | 0
      if (depth >= this.capacity) return false
      const next = (tail + 1) | 0
      if (Atomics.compareExchange(shared, TAIL, tail, next) !== tail) continue
      if (depth >= shared[HIGH_WATER]!) atomicMax(shared, HIGH_WATER, depth + 1)
      const cell = CELLS + (tail & this.mask) * this.stride
      shared[cell + LENGTH] = length
      for (let i = 0; i < length; i++) shared[cell + PAYLOAD + i] = words[i]!
      Atomics.store(shared, cell + SEQUENCE, next)
      this.filled.notify(1)
      return true
    }
  }

  /**
   * Blocks until there is room; another producer may take it first.
   * @param deadlineNs of `monotonicNs`; passed already (0), it means not to wait.
   * @param beforeDrain whether a drain ends it too.
   * @returns 0 once there was room, or STOPPED (a drain included) or TIMED_OUT.
   */
  awaitRoom(deadlineNs = Number.POSITIVE_INFINITY, beforeDrain = false): number {
    const attempt = () => {
      if (this.control.stopped !== 0 || (beforeDrain && this.control.draining)) return STOPPED
      return this.depth < this.capacity ? 0 : WOULD_BLOCK
    }
    const result = attempt()
    return result === WOULD_BLOCK ? this.emptied.wait(attempt, deadlineNs) : result
  }

  /**
   * Takes the oldest message, waiting for one. What `into` holds is undefined unless a message was taken.
   * @param into at least `wordsPerMessage` words.
   * @param deadlineNs of `monotonicNs`; passed already (0), it means not to wait.
   * @param elsewhere whether there is something else to do for who would wait or leave; it is asked again after `callTakers`.
   * @returns the message's length in words (> 0), or CLOSED, STOPPED or TIMED_OUT, or ELSEWHERE.
   */
  take(into: Int32Array, deadlineNs = Number.POSITIVE_INFINITY, elsewhere?: () => boolean): number {
    const result = this.attemptOr(into, elsewhere)
    return result === WOULD_BLOCK
      ? this.filled.wait(() => this.attemptOr(into, elsewhere), deadlineNs)
      : result
  }

  /** Has all who wait for a message ask again whether there is something else to do. */
  callTakers(): void {
    this.filled.notify()
  }

  /** As `take`, for a thread that must not block. A pending call does not keep the process alive. */
  takeAsync(into: Int32Array, deadlineNs = Number.POSITIVE_INFINITY): Promise<number> {
    return this.filled.waitAsync(() => this.attempt(into), deadlineNs)
  }

  /**
   * Says that this producer is done. When all are, consumers take what is left and then get CLOSED. A second call
   * through the same object does nothing.
   */
  close(): void {
    if (this.closed) return
    this.closed = true
    if (Atomics.add(this.words, CLOSED_BY, 1) + 1 === this.producers) this.filled.notify()
  }

  /** Messages in it, those being written included; never more than `capacity`. */
  get depth(): number {
    // The head first would let a full ring seem to hold more than it can.
    const tail = Atomics.load(this.words, TAIL)
    return Math.max(0, (tail - Atomics.load(this.words, HEAD)) | 0)
  }

  /** The greatest depth that it had. */
  get highWater(): number {
    return Atomics.load(this.words, HIGH_WATER)
  }

  private attemptOr(into: Int32Array, elsewhere: (() => boolean) | undefined): number {
    const result = this.attempt(into)
    if (elsewhere === undefined || (result !== WOULD_BLOCK && result !== CLOSED)) return result
    return elsewhere() ? ELSEWHERE : result
  }

  private attempt(into: Int32Array): number {
    if (into.length < this.wordsPerMessage)
      throw new RangeError(
        `Ring: room for ${into.length} words, where a message may have ${this.wordsPerMessage}`,
      )
    if (this.control.stopped !== 0) return STOPPED
    const shared = this.words
    for (;;) {
      const head = Atomics.load(shared, HEAD)
      const next = (head + 1) | 0
      if (this.published(head)) {
        const cell = CELLS + (head & this.mask) * this.stride
        const length = shared[cell + LENGTH]!
        for (let i = 0; i < length; i++) into[i] = shared[cell + PAYLOAD + i]!
        if (Atomics.compareExchange(shared, HEAD, head, next) !== head) continue
        // A producer that was overtaken publishes several messages at once for others, and wakes one consumer only.
        if (this.filled.awaited && this.published(next)) this.filled.wake(1)
        this.emptied.notify(1)
        return length
      }
      // In this order: after the last close the tail stays.
      const closed = Atomics.load(shared, CLOSED_BY) >= this.producers
      const tail = Atomics.load(shared, TAIL)
      if (Atomics.load(shared, HEAD) === head) return closed && tail === head ? CLOSED : WOULD_BLOCK
    }
  }

  private published(position: number): boolean {
    const cell = CELLS + (position & this.mask) * this.stride
    return Atomics.load(this.words, cell + SEQUENCE) === ((position + 1) | 0)
  }
}

const cellsFor = (capacity: number): number => 2 ** Math.ceil(Math.log2(capacity))

const strideFor = (wordsPerMessage: number): number =>
  Math.ceil((wordsPerMessage + PAYLOAD) / CELL_ALIGNMENT) * CELL_ALIGNMENT
