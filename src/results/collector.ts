import type { RunFacts } from './facts.ts'
import { STATE } from './ledger.ts'
import type { LineWriter } from './line-writer.ts'
import { Outcomes } from './outcome.ts'
import type { ErrorLine, SummaryLine } from './schema.ts'
import { type RunEnd, summarise } from './summary.ts'
import { TimeCards } from './time-card.ts'

/**
 * Takes the outcomes of a run on the main thread, in whatever order they come: each request once, the first
 * outcome counts. Writes a line for each to all writers as it comes; while a reader is slow, it remembers the
 * requests' numbers only and reads the rest from the ledger later.
 */
export class Collector {
  readonly cards: TimeCards
  readonly #outcomes: Outcomes
  readonly #writers: readonly LineWriter[]
  /** Outcome of each request, 0 while it is unknown. */
  readonly #outcome: Uint8Array
  /** Requests in the order of their outcomes. */
  readonly #order: Uint32Array
  #count = 0
  #written = 0
  /** Errors that are not written yet, by request. */
  readonly #errors = new Map<number, ErrorLine>()
  readonly #failures = new Map<string, number>()
  readonly #warnings: string[] = []
  readonly #notes: string[] = []
  #startNs = 0
  #completed = 0
  #failed = 0
  #pumping: Promise<void> | undefined

  /** @param writers take a line for each outcome, and the summary; none if only statistics are wanted */
  constructor(
    readonly facts: RunFacts,
    writers: readonly LineWriter[] = [],
  ) {
    const { ledger, plan } = facts
    this.cards = new TimeCards(ledger, plan.steps)
    this.#outcomes = new Outcomes(facts, this.cards)
    this.#writers = writers
    this.#outcome = new Uint8Array(ledger.size.requests)
    this.#order = new Uint32Array(ledger.size.requests)
  }

  /** The clock starts. */
  start(startNs: number): void {
    this.#startNs = startNs
  }

  get completed(): number {
    return this.#completed
  }

  get failed(): number {
    return this.#failed
  }

  /** Completed requests, in the order in which they came. */
  get done(): Uint32Array {
    return this.#order.subarray(0, this.#count).filter(request => this.#outcome[request] === STATE.done)
  }

  /** The last step has finished a request. Returns false if its outcome was known. */
  complete(request: number): boolean {
    if (!this.#take(request, STATE.done)) return false
    this.#completed++
    this.#pump()
    return true
  }

  /** A step failed a request. Returns false if its outcome was known. */
  fail(request: number, step: number, code: string, message: string): boolean {
    if (!this.#take(request, STATE.failed)) return false
    this.#failed++
    this.#failures.set(code, (this.#failures.get(code) ?? 0) + 1)
    this.facts.ledger.fail(request)
    this.#errors.set(request, this.#outcomes.error(request, step, code, message))
    this.#pump()
    return true
  }

  /** Something that the summary should say of the run. */
  note(message: string): void {
    if (!this.#notes.includes(message)) this.#notes.push(message)
  }

  /** Something that limits the use of the summary's figures. */
  warn(message: string): void {
    if (!this.#warnings.includes(message)) this.#warnings.push(message)
  }

  /** What the run came to; call it when nothing more will come. */
  summary(end: RunEnd): SummaryLine {
    return summarise(this.facts, this.cards, {
      ...end,
      startNs: this.#startNs,
      done: this.done.sort(),
      failed: this.#failed,
      failures: Object.fromEntries([...this.#failures].sort(([a], [b]) => (a < b ? -1 : 1))),
      notes: this.#notes,
      warnings: this.#warnings,
    })
  }

  /** Waits until all lines are written, or their readers have gone. */
  async written(): Promise<void> {
    while (this.#pumping) await this.#pumping
    for (const writer of this.#writers) await writer.flushed()
  }

  #take(request: number, outcome: number): boolean {
    if (this.#outcome[request] !== STATE.pending) return false
    this.#outcome[request] = outcome
    this.#order[this.#count++] = request
    return true
  }

  #pump(): void {
    if (this.#pumping) return
    this.#writeWhileRoom()
    if (this.#written < this.#count) this.#pumping = this.#writeSlowly()
  }

  #writeWhileRoom(): void {
    while (this.#written < this.#count && this.#writers.every(writer => writer.room)) {
      const request = this.#order[this.#written++]!
      const error = this.#errors.get(request)
      this.#errors.delete(request)
      if (this.#writers.every(writer => writer.broken)) continue
      const line = JSON.stringify(error ?? this.#outcomes.result(request, this.#startNs))
      for (const writer of this.#writers) writer.write(line)
    }
  }

  async #writeSlowly(): Promise<void> {
    while (this.#written < this.#count) {
      for (const writer of this.#writers) await writer.drained()
      this.#writeWhileRoom()
    }
    this.#pumping = undefined
  }
}
