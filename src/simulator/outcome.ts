import type { VideoErrorCode } from '../errors.ts'
import type { PlannedStep } from '../pipeline/plan.ts'
import { Ends } from '../results/ends.ts'
import { STATE } from '../results/ledger.ts'
import type { Clock } from './clock.ts'

/** How each request ended, and when. */
export class Outcomes {
  readonly leaves: number
  /** When all of a request was over, in ns; NaN if it never was. */
  readonly endNs: Float64Array
  readonly failures = new Map<VideoErrorCode, number>()
  readonly ends: Ends
  readonly #states: Uint8Array
  readonly #ended: Uint8Array

  constructor(
    readonly clock: Clock,
    readonly requests: number,
    steps: readonly PlannedStep[],
    permits?: { release(): void },
  ) {
    this.leaves = steps.filter(({ last }) => last).length
    this.endNs = new Float64Array(requests).fill(Number.NaN)
    this.#states = new Uint8Array(requests * this.leaves).fill(STATE.pending)
    this.#ended = new Uint8Array(requests)
    this.ends = new Ends(this, steps, permits)
  }

  state(request: number, leaf = 0): number {
    return this.#states[request * this.leaves + leaf]!
  }

  /** @returns how many of the last steps are done with it now; 0 if this one was before */
  finish(request: number, _top: unknown, leaf = 0): number {
    return this.#end(request, leaf, STATE.done)
  }

  fail(request: number, leaf = 0): number {
    return this.#end(request, leaf, STATE.failed)
  }

  /** Nothing comes of a request from a step on; the first reason counts. */
  lose(request: number, step: number, code: VideoErrorCode): void {
    if (this.ends.fail(request, step)) this.failures.set(code, (this.failures.get(code) ?? 0) + 1)
  }

  /** Whether all of the last steps have a result of it. */
  succeeded(request: number): boolean {
    return this.#all(request, STATE.done)
  }

  #all(request: number, state: number): boolean {
    for (let leaf = 0; leaf < this.leaves; leaf++) if (this.state(request, leaf) !== state) return false
    return true
  }

  #end(request: number, leaf: number, state: number): number {
    if (this.state(request, leaf) !== STATE.pending) return 0
    this.#states[request * this.leaves + leaf] = state
    const ended = this.#ended[request]! + 1
    this.#ended[request] = ended
    if (ended === this.leaves) this.endNs[request] = this.clock.now
    return ended
  }
}
