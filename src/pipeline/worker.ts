import { parentPort, workerData } from 'node:worker_threads'
import { runClient } from '../client/client.ts'
import { Control } from '../queue/control.ts'
import { runRunner } from './runner.ts'
import { STOP, type WorkerData, type WorkerMessage } from './shared.ts'

/** What a worker thread does, by the role that it was started with. */
export async function work(): Promise<void> {
  const data = workerData as WorkerData
  const tell = (message: WorkerMessage) => parentPort!.postMessage(message)
  if (data.role === 'runner') await runRunner(data.shared, data.instance, data.worker, tell)
  else
    runClient(data.shared, data.shared.queues[0]!, request => {
      tell({ type: 'full', queue: 0, request })
      new Control(data.shared.control).stop(STOP.queueFull)
    })
  tell({ type: 'finished' })
}
