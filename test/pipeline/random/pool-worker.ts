import { parentPort } from 'node:worker_threads'
import type { WorkerData } from '../../../src/pipeline/shared.ts'
import { perform } from '../../../src/pipeline/worker.ts'
import { stepKinds } from '../../../src/steps/index.ts'
import type { StepContext } from '../../../src/steps/step.ts'
import { type Fault, faulty, goWrong } from './fault.ts'
import type { PoolMessage } from './pool.ts'

const say = (message: PoolMessage) => parentPort!.postMessage(message)
let fault: Fault | undefined

for (const kind of stepKinds) {
  const create = kind.create
  Object.assign(kind, {
    async create(context: StepContext) {
      if (context.step !== fault?.step) return create(context)
      if (fault.call === 'create') goWrong(fault)
      return faulty(await create(context), fault)
    },
  })
}

parentPort!.on('message', async (given: { data: WorkerData; fault?: Fault }) => {
  fault = given.fault
  try {
    await perform(given.data, message => say({ kind: 'said', message }))
    say({ kind: 'done' })
  } catch (error) {
    say({ kind: 'thrown', error: error as Error })
  }
})
