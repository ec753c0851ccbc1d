import type { Ledger, LedgerEvent } from './ledger.ts'

/** What time cards need to know of a planned step. */
export interface StepFlow {
  /** The most parts of one request that arrive; those of several sources follow each other. */
  parts: number
  /** Parts that the step splits each of its outputs into. */
  segments: number
  /** The most parts of one request that leave, to each step that reads from it. */
  leaving: number
  /** Indices of the steps that it reads from, all of them before it; none where it takes from the client. */
  sources: readonly number[]
}

/** One column of RnB's log: an event of one part in one step, or the arrival. */
export interface Column {
  /** `enqueue_filename`, `runner0_start`, `inference1_finish-0`, ... */
  name: string
  /** Undefined for the arrival. */
  at?: { step: number; part: number; event: LedgerEvent }
}

/** Times of one step in ns, along the path of the part that was done last: they add up to the latency. */
export interface StageTimes {
  /** From the end of the step before (or the intended arrival) until an instance took it. */
  queue: number
  /** From there until its batch began; where parts are joined, waiting for the other parts is in here. */
  wait: number
  /** From there to the end of the step. */
  run: number
}

const EVENT_NAMES: Record<LedgerEvent, (step: number) => string> = {
  runnerStart: step => `runner${step}_start`,
  inferenceStart: step => `inference${step}_start`,
  inferenceFinish: step => `inference${step}_finish`,
}
const EVENT_ORDER: LedgerEvent[] = ['runnerStart', 'inferenceStart', 'inferenceFinish']

/** Indices of the steps that no other reads from: each gives a result of its own. */
export const leavesOf = (steps: readonly StepFlow[]): number[] =>
  [...steps.keys()].filter(step => !steps.some(({ sources }) => sources.includes(step)))

/** Indices of a step and of all that lead to it, ascending. */
export function pathTo(steps: readonly StepFlow[], step: number): number[] {
  const found = new Set([step])
  // A set's iteration comes to what is added meanwhile.
  for (const at of found) for (const source of steps[at]!.sources) found.add(source)
  return [...found].sort((a, b) => a - b)
}

/** Reads time cards: knows how the parts of a request relate from step to step. */
export class TimeCards {
  /** Steps that no other reads from, in order. */
  readonly leaves: readonly number[]
  /** Parts of a request that leave each step before it splits them: 1 after a join. */
  readonly #finishes: number[]

  constructor(
    readonly ledger: Ledger,
    readonly steps: readonly StepFlow[],
  ) {
    this.leaves = leavesOf(steps)
    this.#finishes = steps.map(({ segments, leaving }) => leaving / segments)
  }

  /** Number of parts that can have the event in this step. */
  #parts(step: number, event: LedgerEvent): number {
    return event === 'inferenceFinish' ? this.#finishes[step]! : this.steps[step]!.parts
  }

  /**
   * RnB's columns of times, in RnB's order: events after a fork once for each part, as `name-<part>`.
   * @param path the steps that a result came through
   */
  columns(path: readonly number[] = [...this.steps.keys()]): Column[] {
    const columns: Column[] = [{ name: 'enqueue_filename' }]
    for (const step of path)
      for (const event of EVENT_ORDER) {
        const parts = this.#parts(step, event)
        const name = EVENT_NAMES[event](step)
        for (let part = 0; part < parts; part++)
          columns.push({ name: parts > 1 ? `${name}-${part}` : name, at: { step, part, event } })
      }
    return columns
  }

  /** Columns of devices, `gpu0`, `gpu1-0`, ...: one for each part, but for the step that joins them. */
  deviceColumns(path: readonly number[] = [...this.steps.keys()]): {
    name: string
    step: number
    part: number
  }[] {
    return path.flatMap(step => {
      const parts = this.#finishes[step]!
      return Array.from({ length: parts }, (_, part) => ({
        name: parts > 1 ? `gpu${step}-${part}` : `gpu${step}`,
        step,
        part,
      }))
    })
  }

  /** Time of a column in ns; NaN if it did not happen. */
  time(request: number, { at }: Column): number {
    return at ? this.ledger.time(request, at.part, at.step, at.event) : this.ledger.actual(request)
  }

  /** Whether a part of the request came to this step. */
  ran(request: number, part: number, step: number): boolean {
    return !Number.isNaN(this.ledger.time(request, part, step, 'runnerStart'))
  }

  /** End of a last step in ns; NaN if it gave no result. */
  finishOf(request: number, step: number): number {
    return this.ledger.time(request, 0, step, 'inferenceFinish')
  }

  /** End of the last of the last steps that gave a result, in ns; NaN if none did. */
  finish(request: number): number {
    let latest = Number.NaN
    for (const step of this.leaves) {
      const time = this.finishOf(request, step)
      if (!(time <= latest) && !Number.isNaN(time)) latest = time
    }
    return latest
  }

  /** Times of one part in one step, in ns; NaN where it did not happen. */
  partTimes(request: number, part: number, step: number): StageTimes {
    const { ledger } = this
    const runnerStart = ledger.time(request, part, step, 'runnerStart')
    const joins = this.#finishes[step]! < this.steps[step]!.parts
    const began = joins
      ? ledger.time(request, this.#last(request, step), step, 'inferenceStart')
      : ledger.time(request, part, step, 'inferenceStart')
    const finished = ledger.time(request, joins ? 0 : part, step, 'inferenceFinish')
    return {
      queue: runnerStart - this.#before(request, part, step),
      wait: began - runnerStart,
      run: finished - began,
    }
  }

  /**
   * Times of each step along the part that was done last: back from the last step that ended last; then, where steps
   * are left, back from the last of these.
   */
  stages(request: number): StageTimes[] {
    const stages: StageTimes[] = new Array(this.steps.length)
    const ends = this.leaves.toSorted((a, b) => this.finishOf(request, b) - this.finishOf(request, a))
    for (const end of ends) this.#walkBack(request, end, 0, stages)
    for (let step = this.steps.length - 1; step >= 0; step--)
      if (!stages[step]) this.#walkBack(request, step, this.#last(request, step), stages)
    return stages
  }

  /** Notes times from a step's part back along the parts that it came from, as far as they are not noted yet. */
  #walkBack(request: number, end: number, finish: number, stages: StageTimes[]): void {
    let step = end
    let finished = finish
    while (!stages[step]) {
      const joins = this.#finishes[step]! < this.steps[step]!.parts
      const part = joins ? this.#last(request, step) : finished
      stages[step] = this.partTimes(request, part, step)
      const parent = this.#parent(part, step)
      if (!parent) return
      step = parent.step
      finished = parent.part
    }
  }

  /** The part that came to a joining step last: the one that the others waited for. */
  #last(request: number, step: number): number {
    let last = 0
    let latest = Number.NEGATIVE_INFINITY
    for (let part = 0; part < this.steps[step]!.parts; part++) {
      const began = this.ledger.time(request, part, step, 'inferenceStart')
      if (began > latest) {
        latest = began
        last = part
      }
    }
    return last
  }

  /** The step that a part came from, and which of its finishes that was; undefined if it came from the client. */
  #parent(part: number, step: number): { step: number; part: number } | undefined {
    let first = 0
    for (const source of this.steps[step]!.sources) {
      const { leaving, segments } = this.steps[source]!
      if (part < first + leaving) return { step: source, part: Math.floor((part - first) / segments) }
      first += leaving
    }
    return undefined
  }

  #before(request: number, part: number, step: number): number {
    const parent = this.#parent(part, step)
    if (!parent) return this.ledger.intended(request)
    return this.ledger.time(request, parent.part, parent.step, 'inferenceFinish')
  }
}
