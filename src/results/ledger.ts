import { SharedNames, type SharedNamesHandle } from './shared-names.ts'
import { SharedTexts, type SharedTextsHandle } from './shared-texts.ts'

/** Events of one part of a request in one step, in the order in which they happen. */
export const EVENTS = { runnerStart: 0, inferenceStart: 1, inferenceFinish: 2 } as const
export type LedgerEvent = keyof typeof EVENTS

/** How far a request has come. */
export const STATE = { pending: 0, done: 1, failed: 2 } as const

/** A class and its probability. */
export interface TopClass {
  index: number
  score: number
}

/** What the loader saw of a request's video; `decoder` is the name of what decoded it. */
export interface LedgerFacts {
  clips: number
  framesNeeded: number
  framesDecoded: number
  decoder: string
}

export interface LedgerSize {
  /** Rows: requests are numbered from 0. */
  requests: number
  /** For each step, the most parts of one request that arrive there (1 where nothing is split). */
  parts: readonly number[]
  /** Classes kept of each result. */
  top: number
  /** For each step, bytes that its values take as JSON for one part of a request; 0 or absent if it has none. */
  values?: readonly number[]
}

/** Plain data, structured-cloneable: sent once to each thread. */
export interface LedgerHandle {
  size: LedgerSize
  buffer: SharedArrayBuffer
  decoders: SharedNamesHandle
  values: SharedTextsHandle
}

const ARRIVAL_TIMES = 2
const CELL_TIMES = 3
/** State, clips, frames needed, frames decoded. */
const ROW_COUNTS = 4
/** Decoder, length of the top list. */
const ROW_SHORTS = 2
/** Device, replica, batch. */
const CELL_SHORTS = 3
const MOST_DECODERS = 64
const LARGEST_SHORT = 32767

/** Byte offsets within a row. Times come first: they need eight-byte alignment. */
function layout({ parts, top }: LedgerSize) {
  const cells = parts.reduce((sum, count) => sum + count, 0)
  const counts = 8 * (ARRIVAL_TIMES + CELL_TIMES * cells)
  const shorts = counts + 4 * ROW_COUNTS
  const indices = Math.ceil((shorts + 2 * (ROW_SHORTS + CELL_SHORTS * cells)) / 4) * 4
  const scores = indices + 4 * top
  const bytes = Math.ceil((scores + 4 * top) / 8) * 8
  return { counts, shorts, indices, scores, bytes }
}

/**
 * The time cards of a run in shared memory, one row a request: the client writes arrivals, runners write what
 * happened in their step, the main thread reads. Times are float64 nanoseconds of the monotonic clock; an
 * event that has not happened reads NaN. A row of two steps and five classes takes 136 bytes.
 *
 * Nobody locks: each field has one writer, and a row is read after `finish`, or after a queue handed the
 * request on, both of which order memory.
 */
export class Ledger {
  readonly size: LedgerSize
  readonly #offsets: ReturnType<typeof layout>
  /** First cell of each step. */
  readonly #firstCell: number[] = []
  readonly #times: Float64Array
  readonly #words: Int32Array
  readonly #shorts: Int16Array
  readonly #scores: Float32Array
  readonly #decoders: SharedNames
  readonly #values: SharedTexts

  static create(size: LedgerSize): LedgerHandle {
    return {
      size: { ...size, parts: [...size.parts] },
      buffer: new SharedArrayBuffer(size.requests * layout(size).bytes),
      decoders: SharedNames.create(MOST_DECODERS),
      values: SharedTexts.create(
        size.requests,
        size.parts.flatMap((parts, step) => Array<number>(parts).fill(size.values?.[step] ?? 0)),
      ),
    }
  }

  constructor({ size, buffer, decoders, values }: LedgerHandle) {
    this.size = size
    this.#offsets = layout(size)
    let cells = 0
    for (const parts of size.parts) {
      this.#firstCell.push(cells)
      cells += parts
    }
    this.#times = new Float64Array(buffer)
    this.#words = new Int32Array(buffer)
    this.#shorts = new Int16Array(buffer)
    this.#scores = new Float32Array(buffer)
    this.#decoders = new SharedNames(decoders)
    this.#values = new SharedTexts(values)
  }

  /** Bytes of a row. */
  get rowBytes(): number {
    return this.#offsets.bytes
  }

  #row(request: number): number {
    if (!(request >= 0 && request < this.size.requests))
      throw new RangeError(`request ${request} is not in a ledger of ${this.size.requests}`)
    return request * this.#offsets.bytes
  }

  #cell(part: number, step: number): number {
    if (!(part >= 0 && part < (this.size.parts[step] ?? 0)))
      throw new RangeError(`part ${part} of step ${step} is not in the ledger`)
    return this.#firstCell[step]! + part
  }

  #time(request: number, index: number): number {
    const time = this.#times[this.#row(request) / 8 + index]!
    return time === 0 ? Number.NaN : time
  }

  #count(request: number, index: number): number {
    return (this.#row(request) + this.#offsets.counts) / 4 + index
  }

  #short(request: number, index: number): number {
    return (this.#row(request) + this.#offsets.shorts) / 2 + index
  }

  // Writers.

  /** The client put the request on its queue. */
  arrive(request: number, intendedNs: number, actualNs: number): void {
    const row = this.#row(request) / 8
    this.#times[row] = intendedNs
    this.#times[row + 1] = actualNs
  }

  /**
   * Notes when an event happened. A step that splits a request stamps its finish under the part that came in;
   * a step that joins parts stamps its finish under part 0.
   */
  stamp(request: number, part: number, step: number, event: LedgerEvent, ns: number): void {
    this.#times[
      this.#row(request) / 8 + ARRIVAL_TIMES + CELL_TIMES * this.#cell(part, step) + EVENTS[event]
    ] = ns
  }

  /** Notes where a part of a request ran, and with how many items in one batch. */
  place(request: number, part: number, step: number, device: number, replica: number, batch: number): void {
    const at = this.#short(request, ROW_SHORTS + CELL_SHORTS * this.#cell(part, step))
    this.#shorts[at] = device
    this.#shorts[at + 1] = replica
    this.#shorts[at + 2] = Math.min(batch, LARGEST_SHORT)
  }

  /** Notes what the loader saw. */
  note(request: number, facts: LedgerFacts): void {
    const at = this.#count(request, 0)
    this.#words[at + 1] = facts.clips
    this.#words[at + 2] = facts.framesNeeded
    this.#words[at + 3] = facts.framesDecoded
    this.#shorts[this.#short(request, 0)] = this.#decoders.number(facts.decoder)
  }

  /** Keeps what a step says of a part of a request, as JSON. @throws {RangeError} if it is longer than was planned */
  keep(request: number, part: number, step: number, json: string): void {
    this.#values.write(request, this.#cell(part, step), json)
  }

  /** The last step's result, most probable class first; classes past the ledger's `top` are dropped. */
  finish(request: number, top: readonly TopClass[]): void {
    const row = this.#row(request)
    const kept = Math.min(top.length, this.size.top)
    for (let k = 0; k < kept; k++) {
      this.#words[(row + this.#offsets.indices) / 4 + k] = top[k]!.index
      this.#scores[(row + this.#offsets.scores) / 4 + k] = top[k]!.score
    }
    this.#shorts[this.#short(request, 1)] = kept
    Atomics.store(this.#words, this.#count(request, 0), STATE.done)
  }

  /** The request has no result. */
  fail(request: number): void {
    Atomics.store(this.#words, this.#count(request, 0), STATE.failed)
  }

  // Readers.

  /** One of STATE. */
  state(request: number): number {
    return Atomics.load(this.#words, this.#count(request, 0))
  }

  /** When the schedule wanted the request to arrive; NaN before the client came to it. */
  intended(request: number): number {
    return this.#time(request, 0)
  }

  /** When the client put it on the queue. */
  actual(request: number): number {
    return this.#time(request, 1)
  }

  time(request: number, part: number, step: number, event: LedgerEvent): number {
    return this.#time(request, ARRIVAL_TIMES + CELL_TIMES * this.#cell(part, step) + EVENTS[event])
  }

  device(request: number, part: number, step: number): number {
    return this.#shorts[this.#short(request, ROW_SHORTS + CELL_SHORTS * this.#cell(part, step))]!
  }

  replica(request: number, part: number, step: number): number {
    return this.#shorts[this.#short(request, ROW_SHORTS + CELL_SHORTS * this.#cell(part, step)) + 1]!
  }

  batch(request: number, part: number, step: number): number {
    return this.#shorts[this.#short(request, ROW_SHORTS + CELL_SHORTS * this.#cell(part, step)) + 2]!
  }

  clips(request: number): number {
    return this.#words[this.#count(request, 1)]!
  }

  framesNeeded(request: number): number {
    return this.#words[this.#count(request, 2)]!
  }

  framesDecoded(request: number): number {
    return this.#words[this.#count(request, 3)]!
  }

  /** Name of the decoder; undefined if nothing was noted. */
  decoder(request: number): string | undefined {
    return this.#decoders.name(this.#shorts[this.#short(request, 0)]!)
  }

  /** JSON of what a step said of a part of a request; undefined if it said nothing. */
  values(request: number, part: number, step: number): string | undefined {
    return this.#values.read(request, this.#cell(part, step))
  }

  top(request: number): TopClass[] {
    const row = this.#row(request)
    return Array.from({ length: this.#shorts[this.#short(request, 1)]! }, (_, k) => ({
      index: this.#words[(row + this.#offsets.indices) / 4 + k]!,
      score: this.#scores[(row + this.#offsets.scores) / 4 + k]!,
    }))
  }
}
