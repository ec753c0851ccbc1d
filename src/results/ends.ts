import { type Ledger, STATE, type TopClass } from './ledger.ts'
import { leavesOf, pathTo, type StepFlow } from './time-card.ts'

/** For each step, the places of the last steps that it leads to. */
export function leavesAfter(steps: readonly StepFlow[]): number[][] {
  const paths = leavesOf(steps).map(leaf => new Set(pathTo(steps, leaf)))
  return [...steps.keys()].map(step => paths.flatMap((path, leaf) => (path.has(step) ? [leaf] : [])))
}

/** How requests end, as the threads see it that have them: in each of the last steps, done or failed. */
export class Ends {
  readonly #leavesAfter: number[][]

  constructor(
    readonly ledger: Pick<Ledger, 'state' | 'finish' | 'fail' | 'leaves'>,
    readonly steps: readonly StepFlow[],
    /** Of a closed loop: a request that is over gives its permit back. */
    readonly permits?: { release(): void },
  ) {
    this.#leavesAfter = leavesAfter(steps)
  }

  /** Whether a last step that this step leads to has yet to come to the request's end. */
  awaits(request: number, step: number): boolean {
    return this.#leavesAfter[step]!.some(leaf => this.ledger.state(request, leaf) === STATE.pending)
  }

  /** A last step has a result for a request. @returns whether it was still to come */
  finish(request: number, top: readonly TopClass[], leaf: number): boolean {
    return this.#count(this.ledger.finish(request, top, leaf))
  }

  /** Nothing comes of a request from this step on. @returns whether something was still to come */
  fail(request: number, step: number): boolean {
    let first = false
    for (const leaf of this.#leavesAfter[step]!)
      if (this.#count(this.ledger.fail(request, leaf))) first = true
    return first
  }

  #count(ended: number): boolean {
    if (ended === this.ledger.leaves) this.permits?.release()
    return ended > 0
  }
}
