import type { Item } from '../../../src/queue/item.ts'
import type { StepInstance } from '../../../src/steps/step.ts'

/** Calls of a step that can go wrong. */
export type Faulty = 'create' | 'warm-up' | 'run' | 'settle' | 'flush' | 'close'

/** Something that goes wrong in one step of a run; or `hold`: it keeps what it made until its next call, as networks on GPUs do. */
export interface Fault {
  step: number
  kind: 'throw' | 'exit' | 'hang' | 'hold'
  call: Faulty
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

/** What a call does that goes wrong. */
export function goWrong({ kind, gate }: Fault): void {
  if (kind === 'throw') throw new InjectedError()
  if (kind === 'exit') process.exit(7)
  Atomics.wait(new Int32Array(gate!), 0, 0)
}

/** A step that emits what it made when it is called again, when nothing waits, and at the end. */
function holding(step: StepInstance): StepInstance {
  const held: Item[] = []
  const letGo: StepInstance['settle'] = emit => {
    for (const item of held.splice(0)) emit(item)
  }
  return {
    ...(step.help && { help: (out, piece) => step.help!(out, piece) }),
    async run(items, emit) {
      letGo(emit)
      await step.run(items, item => held.push(item))
    },
    settle: letGo,
    close: () => step.close?.(),
  }
}

/** A step of which a call goes wrong. */
export function faulty(step: StepInstance, fault: Fault): StepInstance {
  if (fault.kind === 'hold') return holding(step)
  let left = fault.after
  const at = (call: Faulty) => {
    if (call === fault.call && left-- === 0) goWrong(fault)
  }
  return {
    ...(step.help && { help: (out, piece) => step.help!(out, piece) }),
    warmUp() {
      at('warm-up')
      return step.warmUp?.()
    },
    run(items, emit) {
      at('run')
      return step.run(items, emit)
    },
    settle(emit) {
      at('settle')
      return step.settle?.(emit)
    },
    flush(emit) {
      at('flush')
      return step.flush?.(emit)
    },
    close() {
      at('close')
      step.close?.()
    },
  }
}
