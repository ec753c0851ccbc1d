import { SharedNames, type SharedNamesHandle } from './shared-names.ts'
import { SharedTexts, type SharedTextsHandle } from './shared-texts.ts'

/** Events of one part of a request in one step, in the order in which they happen. */
export const EVENTS = { runnerStart: 0, inferenceStart: 1, inferenceFinish: 2 } as const
export type LedgerEvent = keyof typeof EVENTS

/** How far a request has come, in one last step. */
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
  /** Processor time of the thread that did it, in microseconds, where that is known. */
  cpuUs?: number
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
  /** Last steps, each of which gives a result of its own (1). */
  leaves?: number
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
/** Clips, frames needed, frames decoded, microseconds of a processor, last steps that it has come to the end of; then the state in each of them. */
const ROW_COUNTS = 5
const ENDED = 4
/** Decoder; then the length of each last step's top list. */
const ROW_SHORTS = 1
/** Device, replica, batch. */
const CELL_SHORTS = 3
const MOST_DECODERS = 64
const LARGEST_SHORT = 32767

/** Byte offsets within a row. Times come first: they need eight-byte alignment. */
function layout({ parts, top, leaves = 1 }: LedgerSize) {
  const cells = parts.reduce((sum, count) => sum + count, 0)
  const counts = 8 * (ARRIVAL_TIMES + CELL_TIMES * cells)
  const shorts = counts + 4 * (ROW_COUNTS + leaves)
  const firstCell = ROW_SHORTS + leaves
  const indices = Math.ceil((shorts + 2 * (firstCell + CELL_SHORTS * cells)) / 4) * 4
  const scores = indices + 4 * top * leaves
  const bytes = Math.ceil((scores + 4 * top * leaves) / 8) * 8
  return { counts, shorts, firstCell, indices, scores, bytes }
}

/**
 * The time cards of a run in shared memory, one row a request: the client writes arrivals, runners write what
 * happened in their step, the main thread reads. Times are float64 nanoseconds of the monotonic clock; an
 * event that has not happened reads NaN. A row of two steps and five classes takes 144 bytes.
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

  /** Last steps, each of which comes to an end of its own for each request. */
  get leaves(): number {
    return this.size.leaves ?? 1
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

  /** Where a last step's top list begins, in words: its classes and its scores. */
  #lists(request: number, leaf: number): { indices: number; scores: number } {
    const row = this.#row(request)
    const first = leaf * this.size.top
    return {
      indices: (row + this.#offsets.indices) / 4 + first,
      scores: (row + this.#offsets.scores) / 4 + first,
    }
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
    const at = this.#short(request, this.#offsets.firstCell + CELL_SHORTS * this.#cell(part, step))
    this.#shorts[at] = device
    this.#shorts[at + 1] = replica
    this.#shorts[at + 2] = Math.min(batch, LARGEST_SHORT)
  }

  /** Notes what the loader saw. */
  note(request: number, facts: LedgerFacts): void {
    const at = this.#count(request, 0)
    this.#words[at] = facts.clips
    this.#words[at + 1] = facts.framesNeeded
    this.#words[at + 2] = facts.framesDecoded
    this.#words[at + 3] = facts.cpuUs ?? 0
    this.#shorts[this.#short(request, 0)] = this.#decoders.number(facts.decoder)
  }

  /** Keeps what a step says of a part of a request, as JSON. @throws {RangeError} if it is longer than was planned */
  keep(request: number, part: number, step: number, json: string): void {
    this.#values.write(request, this.#cell(part, step), json)
  }

  /**
   * A last step's result, most probable class first; classes past the ledger's `top` are dropped.
   * @param leaf which of the last steps
   * @returns how many of the last steps the request has come to the end of, with this one; 0 if this one knew its end
   */
  finish(request: number, top: readonly TopClass[], leaf = 0): number {
    if (this.state(request, leaf) !== STATE.pending) return 0
    const { indices, scores } = this.#lists(request, leaf)
    const kept = Math.min(top.length, this.size.top)
    for (let k = 0; k < kept; k++) {
      this.#words[indices + k] = top[k]!.index
      this.#scores[scores + k] = top[k]!.score
    }
    this.#shorts[this.#short(request, ROW_SHORTS + leaf)] = kept
    return this.#end(request, leaf, STATE.done)
  }

  /** The request has no result in a last step. Any thread may say so, and the first is heard. @returns as `finish` does */
  fail(request: number, leaf = 0): number {
    return this.#end(request, leaf, STATE.failed)
  }

  #end(request: number, leaf: number, state: number): number {
    const { pending } = STATE
    const at = this.#count(request, ROW_COUNTS + leaf)
    if (Atomics.compareExchange(this.#words, at, pending, state) !== pending) return 0
    return Atomics.add(this.#words, this.#count(request, ENDED), 1) + 1
  }

  // Readers.

  /** One of STATE: how far it has come in one of the last steps. */
  state(request: number, leaf = 0): number {
    return Atomics.load(this.#words, this.#count(request, ROW_COUNTS + leaf))
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
    return this.#shorts[this.#short(request, this.#offsets.firstCell + CELL_SHORTS * this.#cell(part, step))]!
  }

  replica(request: number, part: number, step: number): number {
    return this.#shorts[
      this.#short(request, this.#offsets.firstCell + CELL_SHORTS * this.#cell(part, step)) + 1
    ]!
  }

  batch(request: number, part: number, step: number): number {
    return this.#shorts[
      this.#short(request, this.#offsets.firstCell + CELL_SHORTS * this.#cell(part, step)) + 2
    ]!
  }

  clips(request: number): number {
    return this.#words[this.#count(request, 0)]!
  }

  framesNeeded(request: number): number {
    return this.#words[this.#count(request, 1)]!
  }

  framesDecoded(request: number): number {
    return this.#words[this.#count(request, 2)]!
  }

  /** Microseconds of a processor; undefined if they were not noted. */
  cpuUs(request: number): number | undefined {
    return this.#words[this.#count(request, 3)]! || undefined
  }

  /** Name of the decoder; undefined if nothing was noted. */
  decoder(request: number): string | undefined {
    return this.#decoders.name(this.#shorts[this.#short(request, 0)]!)
  }

  /** JSON of what a step said of a part of a request; undefined if it said nothing. */
  values(request: number, part: number, step: number): string | undefined {
    return this.#values.read(request, this.#cell(part, step))
  }

  /** Result of a last step. */
  top(request: number, leaf = 0): TopClass[] {
    const { indices, scores } = this.#lists(request, leaf)
    return Array.from({ length: this.#shorts[this.#short(request, ROW_SHORTS + leaf)]! }, (_, k) => ({
      index: this.#words[indices + k]!,
      score: this.#scores[scores + k]!,
    }))
  }
}
