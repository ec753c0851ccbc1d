import { isMainThread, workerData } from 'node:worker_threads'
import { stepKinds } from '../../src/steps/index.ts'
import type { StepContext, StepInstance } from '../../src/steps/step.ts'

// The program, with a fault put into one of its workers by the environment: FAULT_IN is the index of a step, or
// `client`; FAULT says what goes wrong there, and FAULT_AFTER on which of its calls (from 0) if that is in `run`. With
// the fault `stall` the step only takes FAULT_MS longer for that call, with `slow` for every call.
const { FAULT_IN, FAULT, FAULT_AFTER = '0', FAULT_MS = '0' } = process.env

class InjectedError extends Error {
  override readonly name = 'InjectedError'
}

function goWrong(): void {
  if (FAULT === 'exit') process.exit(7)
  // As in a call of a library that does not come back: nothing but the end of the process ends it.
  if (FAULT === 'block') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  throw new InjectedError('put here by a test')
}

/** A step whose `run` goes wrong at one of its calls. */
function faulty(step: StepInstance): StepInstance {
  let left = Number(FAULT_AFTER)
  return {
    warmUp: () => (FAULT === 'warm-up' ? goWrong() : step.warmUp?.()),
    async run(items, emit) {
      const now = left-- === 0
      if (FAULT === 'slow' || (FAULT === 'stall' && now)) Bun.sleepSync(Number(FAULT_MS))
      else if (now && FAULT !== 'warm-up' && FAULT !== 'flush') {
        if (FAULT === 'reject') await Promise.reject(new InjectedError('put here by a test'))
        goWrong()
      }
      await step.run(items, emit)
    },
    settle: emit => step.settle?.(emit),
    flush: emit => (FAULT === 'flush' ? goWrong() : step.flush?.(emit)),
    close: () => step.close?.(),
  }
}

for (const kind of stepKinds) {
  const create = kind.create
  Object.assign(kind, {
    async create(context: StepContext) {
      const own = String(context.step) === FAULT_IN
      if (own && FAULT === 'create') goWrong()
      const step = await create(context)
      return own ? faulty(step) : step
    },
  })
}

if (isMainThread) {
  const { main } = await import('../../src/cli/main.ts')
  await main(process.argv.slice(2))
} else {
  if (FAULT_IN === 'client' && (workerData as { role: string }).role === 'client') goWrong()
  const { work } = await import('../../src/pipeline/worker.ts')
  await work()
}
