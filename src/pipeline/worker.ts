import { parentPort, workerData } from 'node:worker_threads'
import { type ClientListener, runClient } from '../client/client.ts'
import { wasFull, wasLate } from '../client/overload.ts'
import { Control } from '../queue/control.ts'
import { hasModules } from '../steps/user/module.ts'
import { runTelemetry, type TelemetryData } from '../telemetry/worker.ts'
import { type GpuTraceData, runGpuTrace } from '../tracing/gpu/thread.ts'
import { ThreadTrace } from '../tracing/thread.ts'
import { runRunner } from './runner.ts'
import { type SharedRun, STOP, type WorkerData, type WorkerMessage } from './shared.ts'

type Tell = (message: WorkerMessage) => void

/** Requests that do not get past the client are the first step's. */
const listenTo = ({ control, plan, overload }: SharedRun, tell: Tell): ClientListener => ({
  full(request) {
    tell({ type: 'full', queue: 0, request })
    new Control(control).stop(STOP.queueFull)
  },
  failed(request, code) {
    const message = code === 'queue_full' ? wasFull(plan.queues[0]!) : wasLate(overload.timeoutNs)
    tell({ type: 'failure', request, step: 0, code, message })
  },
})

/** The work of one thread of a run, by its role. */
export async function perform(data: WorkerData, tell: Tell): Promise<void> {
  if (data.role === 'runner') await runRunner(data, tell)
  else
    runClient(data.shared, data.shared.queues[0]!, listenTo(data.shared, tell), new ThreadTrace(data.track))
}

/** What a worker thread of this program does. */
export async function work(): Promise<void> {
  const data = workerData as WorkerData | TelemetryData | GpuTraceData
  if (data.role === 'telemetry') return runTelemetry(data)
  if (data.role === 'gpu-trace') return runGpuTrace(data)
  const tell: Tell = message => parentPort!.postMessage(message)
  await perform(data, tell)
  // A promise of a module's that nobody waited for may have failed: that is said in a turn of the event loop.
  if (hasModules()) await new Promise(resolve => setImmediate(resolve))
  tell({ type: 'finished' })
  // What a module of the user's left behind (a timer, a socket) would keep this thread for ever.
  if (hasModules()) process.exit()
}
