import type { StepInstance } from '../../../src/steps/step.ts'

/** Something that goes wrong in one step of a run. */
export interface Fault {
  step: number
  /** `throw`, `exit` and `hang` in a call of `run`, the others where they say. */
  kind: 'throw' | 'exit' | 'hang' | 'create' | 'warm-up' | 'flush'
  /** On which call of an instance, from 0. */
  after: number
  /** Where a call that hangs waits, until the test has seen what came of it. */
  gate?: SharedArrayBuffer
}

export class InjectedError extends Error {
  override readonly name = 'InjectedError'
  constructor() {
    super('put here by a test')
  }
}

/** A step of which a call goes wrong. */
export function faulty(step: StepInstance, { kind, after, gate }: Fault): StepInstance {
  let left = after
  return {
    warmUp() {
      if (kind === 'warm-up') throw new InjectedError()
      return step.warmUp?.()
    },
    run(items, emit) {
      if (left-- === 0) {
        if (kind === 'throw') throw new InjectedError()
        if (kind === 'exit') process.exit(7)
        if (kind === 'hang') Atomics.wait(new Int32Array(gate!), 0, 0)
      }
      return step.run(items, emit)
    },
    settle: emit => step.settle?.(emit),
    flush(emit) {
      if (kind === 'flush') throw new InjectedError()
      return step.flush?.(emit)
    },
    close: () => step.close?.(),
  }
}
