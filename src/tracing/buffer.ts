import { SharedNames, type SharedNamesHandle } from '../results/shared-names.ts'

/** Kinds of records; what their other fields hold. */
export const RECORD = {
  /** Time spent on something with a name: of `request` (-1: of none in particular), with an amount. */
  span: 0,
  /** A part of a request ran here, in a batch of `amount`; alone, that is a span of its own. */
  visit: 1,
  /** Items in a queue: `request` is its number, `amount` its depth, at the record's begin. */
  depth: 2,
  /** Work of a GPU, of a call for `request`; `part` is the number of its launch's name, 0 without, and `amount` bytes. */
  work: 3,
} as const

// A record: begin and end in float64 ns, then kind and name in one word, request, part, amount.
const RECORD_BYTES = 32
const RECORD_TIMES = RECORD_BYTES / 8
const RECORD_WORDS = RECORD_BYTES / 4
const FIRST_WORD = 4
/** Records written so far are counted before the first one, in a float64. */
const HEADER_BYTES = RECORD_BYTES
const KIND_BITS = 2
const MOST_NAMES = 512

/** Records that a track keeps, 1 MiB: some seconds of a thread that has ten thousand requests a second. */
export const TRACK_RECORDS = 2 ** 15 - 1

/** A thread notes a queue's depth at most so often, in ns: looking at it costs the threads that use the queue. */
const DEPTH_EVERY_NS = 200_000

/** Plain data, sent once to the thread that writes the track. */
export interface TrackHandle {
  memory: SharedArrayBuffer
  names: SharedNamesHandle
}

/** A record as it is read. */
export interface TraceRecord {
  kind: number
  /** Of a span, or of a GPU's work. */
  name: string
  /** The launch of a network that a GPU's work is part of. */
  launch?: string
  beginNs: number
  endNs: number
  request: number
  part: number
  amount: number
}

/** Names that the spans of one trace have. */
export const createNames = (): SharedNamesHandle => SharedNames.create(MOST_NAMES)

/**
 * What happened on one track of a trace (a thread, or a GPU's stream), in shared memory: times are of `monotonicNs`, as the
 * ledger's. One thread writes; another reads when that has ended. The memory is bounded: of more records than there is room
 * for, the last stay.
 */
export class Track {
  readonly #times: Float64Array
  readonly #words: Int32Array
  readonly #names: SharedNames
  readonly #capacity: number
  /** Of the thread that writes: numbers of names, when it last looked at each queue, records written, and the last one. */
  readonly #numbers = new Map<string, number>()
  readonly #looked: number[] = []
  #count = 0
  #at = 0

  static create(names: SharedNamesHandle, records = TRACK_RECORDS): TrackHandle {
    if (!Number.isInteger(records) || records < 1) throw new RangeError(`a track of ${records} records`)
    return { memory: new SharedArrayBuffer(HEADER_BYTES + records * RECORD_BYTES), names }
  }

  constructor({ memory, names }: TrackHandle) {
    this.#times = new Float64Array(memory)
    this.#words = new Int32Array(memory)
    this.#names = new SharedNames(names)
    this.#capacity = (memory.byteLength - HEADER_BYTES) / RECORD_BYTES
  }

  span(name: string, beginNs: number, endNs: number, request = -1, amount = 0): void {
    this.#write(RECORD.span | this.#head(name), beginNs, endNs, request, 0, amount)
  }

  visit(name: string, beginNs: number, endNs: number, request: number, part = 0, batch = 1): void {
    this.#write(RECORD.visit | this.#head(name), beginNs, endNs, request, part, batch)
  }

  work(name: string, beginNs: number, endNs: number, request: number, launch?: string, bytes = 0): void {
    const of = launch === undefined ? 0 : this.#head(launch) >> KIND_BITS
    this.#write(RECORD.work | this.#head(name), beginNs, endNs, request, of, Math.min(bytes, 2 ** 31 - 1))
  }

  /** Notes the depth of a queue now, if that is due. */
  depth(queue: number, ns: number, ring: { readonly depth: number }): void {
    if (ns - (this.#looked[queue] ?? 0) < DEPTH_EVERY_NS) return
    this.#looked[queue] = ns
    this.#write(RECORD.depth, ns, ns, queue, 0, ring.depth)
  }

  #head(name: string): number {
    let number = this.#numbers.get(name)
    if (number === undefined) {
      number = this.#names.number(name)
      this.#numbers.set(name, number)
    }
    return number << KIND_BITS
  }

  #write(head: number, begin: number, end: number, request: number, part: number, amount: number): void {
    this.#at = this.#at === this.#capacity ? 1 : this.#at + 1
    const time = this.#at * RECORD_TIMES
    this.#times[time] = begin
    this.#times[time + 1] = end
    const word = this.#at * RECORD_WORDS + FIRST_WORD
    this.#words[word] = head
    this.#words[word + 1] = request
    this.#words[word + 2] = part
    this.#words[word + 3] = amount
    this.#times[0] = ++this.#count
  }

  /** Records that were written. */
  get written(): number {
    return this.#times[0]!
  }

  /** Of these, how many gave way to later ones. */
  get lost(): number {
    return Math.max(0, this.written - this.#capacity)
  }

  /** The records that are left, oldest first. */
  *records(): Generator<TraceRecord> {
    const { written } = this
    for (let n = this.lost; n < written; n++) {
      const record = 1 + (n % this.#capacity)
      const word = record * RECORD_WORDS + FIRST_WORD
      const head = this.#words[word]!
      const kind = head & ((1 << KIND_BITS) - 1)
      const launch = kind === RECORD.work ? this.#names.name(this.#words[word + 2]!) : undefined
      yield {
        kind,
        name: this.#names.name(head >> KIND_BITS) ?? 'other',
        beginNs: this.#times[record * RECORD_TIMES]!,
        endNs: this.#times[record * RECORD_TIMES + 1]!,
        request: this.#words[word + 1]!,
        part: this.#words[word + 2]!,
        amount: this.#words[word + 3]!,
        ...(launch !== undefined && { launch }),
      }
    }
  }
}
