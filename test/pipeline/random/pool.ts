import { EventEmitter } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { RunWorker } from '../../../src/pipeline/launch.ts'
import type { WorkerData, WorkerMessage } from '../../../src/pipeline/shared.ts'
import type { Fault } from './fault.ts'

/** What a thread of the pool answers: what workers say, or how its work ended. */
export type PoolMessage =
  | { kind: 'said'; message: WorkerMessage }
  | { kind: 'done' }
  | { kind: 'thrown'; error: Error }

/** A thread of the pool while it does one worker's work; it behaves as a thread of its own would. */
class Lease extends EventEmitter implements RunWorker {
  unref(): void {}
}

/**
 * Threads that do the work of one run's workers after the other's: starting a thread costs more than a small run. They
 * run the program's own code for workers.
 */
export class Pool {
  readonly #idle: Worker[] = []
  readonly #all = new Set<Worker>()

  start(data: WorkerData, fault?: Fault): RunWorker {
    const worker = this.#idle.pop() ?? this.#make()
    const lease = new Lease()
    const end = (code: number, reusable: boolean) => {
      worker.removeAllListeners()
      if (reusable) this.#idle.push(worker)
      else this.#all.delete(worker)
      lease.emit('exit', code)
    }
    worker.on('message', (message: PoolMessage) => {
      if (message.kind === 'said') lease.emit('message', message.message)
      else if (message.kind === 'done') {
        lease.emit('message', { type: 'finished' })
        end(0, true)
      } else {
        lease.emit('error', message.error)
        end(1, true)
      }
    })
    worker.on('exit', code => end(code, false))
    worker.postMessage({ data, fault })
    return lease
  }

  #make(): Worker {
    const worker = new Worker(new URL('pool-worker.ts', import.meta.url).pathname)
    this.#all.add(worker)
    return worker
  }

  async close(): Promise<void> {
    for (const worker of this.#all) worker.removeAllListeners()
    await Promise.all([...this.#all].map(worker => worker.terminate()))
  }
}
