import { leavesAfter } from './ends.ts'
import type { RunFacts } from './facts.ts'
import { STATE } from './ledger.ts'
import type { LineWriter } from './line-writer.ts'
import { type LeafErrors, Outcomes } from './outcome.ts'
import type { ErrorLine, ResultLine, SummaryLine } from './schema.ts'
import { type RunEnd, summarise } from './summary.ts'
import { TimeCards } from './time-card.ts'

/**
 * Takes the outcomes of a run on the main thread, in whatever order they come: each request once, the first
 * outcome counts. Where the pipeline has several last steps, a request has come to its outcome when all of them have,
 * and is done if one of them has a result. Writes a line for each to all writers as it comes; while a reader is slow, it remembers the
 * requests' numbers only and reads the rest from the ledger later.
 */
export class Collector {
  readonly cards: TimeCards
  readonly #outcomes: Outcomes
  readonly #writers: readonly LineWriter[]
  /** Outcome of each request, 0 while it is unknown. */
  readonly #outcome: Uint8Array
  /** The same for each of its last steps, in their order. */
  readonly #leafOutcome: Uint8Array
  /** For each step, the places of the last steps that it leads to. */
  readonly #leavesAfter: number[][]
  /** Requests in the order of their outcomes. */
  readonly #order: Uint32Array
  #count = 0
  #written = 0
  /** Errors that are not written yet, by request and place of the last step that has no result. */
  readonly #errors = new Map<number, Map<number, ErrorLine>>()
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
    const { leaves } = this.cards
    this.#leafOutcome = new Uint8Array(ledger.size.requests * leaves.length)
    this.#leavesAfter = leavesAfter(plan.steps)
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

  /** Number of failures so far, by code. */
  get failures(): ReadonlyMap<string, number> {
    return this.#failures
  }

  /** Requests that came to their outcomes after the first `count` ones, in that order. */
  outcomesSince(count: number): { request: number; done: boolean }[] {
    return Array.from(this.#order.subarray(count, this.#count), request => ({
      request,
      done: this.#outcome[request] === STATE.done,
    }))
  }

  /** Completed requests, in the order in which they came. */
  get done(): Uint32Array {
    return this.#order.subarray(0, this.#count).filter(request => this.#outcome[request] === STATE.done)
  }

  /**
   * A last step has finished a request. Returns false if its outcome there was known.
   * @param leaf which of the last steps
   */
  complete(request: number, leaf = 0): boolean {
    if (!this.#takeLeaf(request, leaf, STATE.done)) return false
    this.#settle(request)
    return true
  }

  /** A step failed a request: the last steps after it have no result. Returns false if all their outcomes were known. */
  fail(request: number, step: number, code: string, message: string): boolean {
    const failed = this.#leavesAfter[step]!.filter(leaf => this.#takeLeaf(request, leaf, STATE.failed))
    if (failed.length === 0) return false
    this.#failures.set(code, (this.#failures.get(code) ?? 0) + 1)
    const errors = this.#errors.get(request) ?? new Map<number, ErrorLine>()
    this.#errors.set(request, errors)
    const error = this.#outcomes.error(request, this.#startNs, { step, code, message })
    for (const leaf of failed) {
      this.facts.ledger.fail(request, leaf)
      errors.set(leaf, error)
    }
    this.#settle(request)
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
      leaves: this.cards.leaves.map((_, leaf) => ({
        done: this.#requestsAt(leaf, STATE.done),
        failed: this.#requestsAt(leaf, STATE.failed).length,
      })),
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

  /** Requests, ascending, that have come to this outcome in one of the last steps. */
  #requestsAt(leaf: number, outcome: number): Uint32Array {
    const leaves = this.cards.leaves.length
    return Uint32Array.from(this.#outcome.keys()).filter(
      request => this.#leafOutcome[request * leaves + leaf] === outcome,
    )
  }

  #takeLeaf(request: number, leaf: number, outcome: number): boolean {
    const at = request * this.cards.leaves.length + leaf
    if (this.#leafOutcome[at] !== STATE.pending) return false
    this.#leafOutcome[at] = outcome
    return true
  }

  /** The request's outcome, once all of its last steps have theirs. */
  #settle(request: number): void {
    const leaves = this.cards.leaves.length
    const outcomes = this.#leafOutcome.subarray(request * leaves, (request + 1) * leaves)
    if (outcomes.includes(STATE.pending)) return
    const done = outcomes.includes(STATE.done)
    this.#outcome[request] = done ? STATE.done : STATE.failed
    if (done) this.#completed++
    else this.#failed++
    this.#order[this.#count++] = request
    this.#pump()
  }

  /** The line of a request that has come to its outcome. */
  #line(request: number, errors: LeafErrors | undefined): ResultLine | ErrorLine {
    if (this.#outcome[request] === STATE.done) return this.#outcomes.result(request, this.#startNs, errors)
    const [first] = errors!.values()
    return { ...first!, ...this.#outcomes.branches(request, errors) }
  }

  #pump(): void {
    if (this.#pumping) return
    this.#writeWhileRoom()
    if (this.#written < this.#count) this.#pumping = this.#writeSlowly()
  }

  #writeWhileRoom(): void {
    while (this.#written < this.#count && this.#writers.every(writer => writer.room)) {
      const request = this.#order[this.#written++]!
      const errors = this.#errors.get(request)
      this.#errors.delete(request)
      if (this.#writers.every(writer => writer.broken)) continue
      const line = JSON.stringify(this.#line(request, errors))
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
