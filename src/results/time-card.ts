import type { Ledger, LedgerEvent } from './ledger.ts'

/** What time cards need to know of a planned step. */
export interface StepFlow {
  /** The most parts of one request that arrive. */
  parts: number
  /** Parts that the step splits each of its outputs into. */
  segments: number
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

/** Reads time cards: knows how the parts of a request relate from step to step. */
export class TimeCards {
  /** Parts of a request that leave each step before it splits them: 1 after a join. */
  readonly #finishes: number[]

  constructor(
    readonly ledger: Ledger,
    readonly steps: readonly StepFlow[],
  ) {
    this.#finishes = steps.map(({ segments }, s) => (steps[s + 1]?.parts ?? segments) / segments)
  }

  /** Number of parts that can have the event in this step. */
  #parts(step: number, event: LedgerEvent): number {
    return event === 'inferenceFinish' ? this.#finishes[step]! : this.steps[step]!.parts
  }

  /** RnB's columns of times, in RnB's order: events after a fork once for each part, as `name-<part>`. */
  columns(): Column[] {
    const columns: Column[] = [{ name: 'enqueue_filename' }]
    for (const step of this.steps.keys())
      for (const event of EVENT_ORDER) {
        const parts = this.#parts(step, event)
        const name = EVENT_NAMES[event](step)
        for (let part = 0; part < parts; part++)
          columns.push({ name: parts > 1 ? `${name}-${part}` : name, at: { step, part, event } })
      }
    return columns
  }

  /** Columns of devices, `gpu0`, `gpu1-0`, ...: one for each part, but for the step that joins them. */
  deviceColumns(): { name: string; step: number; part: number }[] {
    return this.#finishes.flatMap((parts, step) =>
      Array.from({ length: parts }, (_, part) => ({
        name: parts > 1 ? `gpu${step}-${part}` : `gpu${step}`,
        step,
        part,
      })),
    )
  }

  /** Time of a column in ns; NaN if it did not happen. */
  time(request: number, { at }: Column): number {
    return at ? this.ledger.time(request, at.part, at.step, at.event) : this.ledger.actual(request)
  }

  /** Whether a part of the request came to this step. */
  ran(request: number, part: number, step: number): boolean {
    return !Number.isNaN(this.ledger.time(request, part, step, 'runnerStart'))
  }

  /** End of the last step in ns. */
  finish(request: number): number {
    return this.ledger.time(request, 0, this.steps.length - 1, 'inferenceFinish')
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

  /** Times of each step along the part that was done last. */
  stages(request: number): StageTimes[] {
    const stages: StageTimes[] = new Array(this.steps.length)
    let finish = 0
    for (let step = this.steps.length - 1; step >= 0; step--) {
      const joins = this.#finishes[step]! < this.steps[step]!.parts
      const part = joins ? this.#last(request, step) : finish
      stages[step] = this.partTimes(request, part, step)
      if (step > 0) finish = this.#parent(part, step)
    }
    return stages
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

  /** The part of the step before that a part came from. */
  #parent(part: number, step: number): number {
    return Math.floor((part * this.#finishes[step - 1]!) / this.steps[step]!.parts)
  }

  #before(request: number, part: number, step: number): number {
    if (step === 0) return this.ledger.intended(request)
    return this.ledger.time(request, this.#parent(part, step), step - 1, 'inferenceFinish')
  }
}
