import { Control, type ControlHandle } from './control.ts'
import type { EventCount } from './eventcount.ts'
import { STOPPED, WOULD_BLOCK } from './status.ts'

// Words of the board.
/** Rows on which there is a piece to be had. */
const OPEN = 0
/** Pieces that were offered, and those of them that others did. */
const OFFERED = 1
const HELPED = 2
const ROWS = 32

// Words of a row; what others write lies on other cache lines than what is only read.
/** First piece that nobody has, and the end of these: 16 bits each. Equal where there is none. */
const LEFT = 0
/** Pieces that others are done with, one bit each of those that failed, and sums of what they say. */
const DONE = 32
const FAILED = 33
const MARKS = 34
const SUMS = 35
/** The message, and its length. */
const LENGTH = 64
const MESSAGE = 65
const ALIGNMENT = 32

/** Pieces of one offer at most: each has a bit. */
export const MOST_PIECES = 31
/** Numbers that are summed over the pieces that others did. */
export const BOARD_SUMS = 4

/** Plain data to send to any thread. */
export interface BoardHandle {
  memory: SharedArrayBuffer
  threads: number
  messageWords: number
  control: ControlHandle
  event: number
}

/** A piece of another thread's work: only its taker has it, and has to say when it is done. */
export interface Claim {
  owner: number
  piece: number
}

/** What others did of an offer. */
export interface Helped {
  /** Pieces that failed, by their numbers. */
  failed: number[]
  /** Bits that any of them set. */
  marks: number
  sums: number[]
}

/** From which end of what is offered a piece is taken. */
export type End = 'first' | 'last'

/**
 * Where threads offer pieces of their work to others that have nothing to do: a row for each thread, which has one offer at
 * a time on it. Whoever takes a piece moves one of the two ends of the row's range, in one exchange; the row's
 * message is read after that, when its owner cannot be done with it.
 */
export class Board {
  readonly threads: number
  readonly messageWords: number
  private readonly words: Int32Array
  private readonly stride: number
  private readonly control: Control
  private readonly finished: EventCount

  /** @param messageWords of the longest message */
  static create(threads: number, messageWords: number, control: Control): BoardHandle {
    const memory = new SharedArrayBuffer((ROWS + threads * strideFor(messageWords)) * 4)
    return { memory, threads, messageWords, control: control.handle, event: control.addEvent() }
  }

  constructor(handle: BoardHandle) {
    this.threads = handle.threads
    this.messageWords = handle.messageWords
    this.words = new Int32Array(handle.memory)
    this.stride = strideFor(handle.messageWords)
    this.control = new Control(handle.control)
    this.finished = this.control.event(handle.event)
  }

  /**
   * Offers pieces 0 to `pieces` - 1, of which the owner has taken one: the first, or the last.
   * @param pieces 2 to MOST_PIECES
   */
  offer(owner: number, pieces: number, own: End, message: Int32Array, length: number): void {
    if (!(pieces >= 2 && pieces <= MOST_PIECES)) throw new RangeError(`Board: ${pieces} pieces`)
    if (length > this.messageWords || length > message.length)
      throw new RangeError(`Board: a message of ${length} words, where ${this.messageWords} fit`)
    const row = this.row(owner)
    const { words } = this
    words[row + LENGTH] = length
    for (let i = 0; i < length; i++) words[row + MESSAGE + i] = message[i]!
    for (const word of [DONE, FAILED, MARKS]) Atomics.store(words, row + word, 0)
    for (let sum = 0; sum < BOARD_SUMS; sum++) Atomics.store(words, row + SUMS + sum, 0)
    Atomics.add(words, OFFERED, pieces)
    Atomics.store(words, row + LEFT, own === 'first' ? range(1, pieces) : range(0, pieces - 1))
    Atomics.add(words, OPEN, 1)
  }

  /** Whether there is a piece of an owner that `helps` accepts. */
  open(helps: (owner: number) => boolean): boolean {
    if (Atomics.load(this.words, OPEN) <= 0) return false
    for (let owner = 0; owner < this.threads; owner++) if (this.left(owner) > 0 && helps(owner)) return true
    return false
  }

  /** Takes a piece of one of those owners, if there is any. */
  claim(helps: (owner: number) => boolean, end: End): Claim | undefined {
    if (Atomics.load(this.words, OPEN) <= 0) return undefined
    for (let owner = 0; owner < this.threads; owner++) {
      if (!helps(owner)) continue
      const piece = this.take(owner, end)
      if (piece !== undefined) return { owner, piece }
    }
    return undefined
  }

  /** Takes a piece of a thread's own offer that nobody else has. */
  take(owner: number, end: End): number | undefined {
    const at = this.row(owner) + LEFT
    let left = Atomics.load(this.words, at)
    for (;;) {
      const [first, stop] = [left >>> 16, left & 0xffff]
      if (first >= stop) return undefined
      const next = end === 'first' ? range(first + 1, stop) : range(first, stop - 1)
      const before = Atomics.compareExchange(this.words, at, left, next)
      if (before === left) {
        if (stop - first === 1) Atomics.sub(this.words, OPEN, 1)
        return end === 'first' ? first : stop - 1
      }
      left = before
    }
  }

  /** Copies the message of an offer of which the caller has a piece. @returns its length */
  read(owner: number, into: Int32Array): number {
    const row = this.row(owner)
    const length = this.words[row + LENGTH]!
    for (let i = 0; i < length; i++) into[i] = this.words[row + MESSAGE + i]!
    return length
  }

  /** The piece is done, and all that was written for it can be seen. @param marks bits */
  finish({ owner }: Claim, marks: number, sums: readonly number[]): void {
    const row = this.row(owner)
    for (const [i, sum] of sums.slice(0, BOARD_SUMS).entries()) Atomics.add(this.words, row + SUMS + i, sum)
    Atomics.or(this.words, row + MARKS, marks)
    Atomics.add(this.words, HELPED, 1)
    this.over(row)
  }

  /** The piece came to nothing: its owner will see to it. */
  fail({ owner, piece }: Claim): void {
    const row = this.row(owner)
    Atomics.or(this.words, row + FAILED, 1 << piece)
    this.over(row)
  }

  /**
   * Waits until others are done with what they took of an offer, of which nothing is left.
   * @param others so many pieces
   * @returns undefined if the run was stopped
   */
  await(owner: number, others: number): Helped | undefined {
    const row = this.row(owner)
    const attempt = () => {
      if (this.control.stopped !== 0) return STOPPED
      return Atomics.load(this.words, row + DONE) >= others ? 0 : WOULD_BLOCK
    }
    const first = attempt()
    const result = first === WOULD_BLOCK ? this.finished.wait(attempt, Number.POSITIVE_INFINITY) : first
    if (result < 0) return undefined
    const failed = Atomics.load(this.words, row + FAILED)
    return {
      failed: Array.from({ length: MOST_PIECES }, (_, piece) => piece).filter(piece => failed & (1 << piece)),
      marks: Atomics.load(this.words, row + MARKS),
      sums: Array.from({ length: BOARD_SUMS }, (_, i) => Atomics.load(this.words, row + SUMS + i)),
    }
  }

  /** Pieces that were offered since the start, those that owners kept included, and how many of them others did. */
  get counts(): { offered: number; helped: number } {
    return { offered: Atomics.load(this.words, OFFERED), helped: Atomics.load(this.words, HELPED) }
  }

  private over(row: number): void {
    Atomics.add(this.words, row + DONE, 1)
    this.finished.notify()
  }

  private left(owner: number): number {
    const left = Atomics.load(this.words, this.row(owner) + LEFT)
    return (left & 0xffff) - (left >>> 16)
  }

  private row(owner: number): number {
    return ROWS + owner * this.stride
  }
}

const range = (first: number, end: number): number => (first << 16) | end

const strideFor = (messageWords: number): number =>
  Math.ceil((MESSAGE + messageWords) / ALIGNMENT) * ALIGNMENT
