import { Worker } from 'node:worker_threads'
import { releaseContext, retainContext } from '../../../ffi/cuda/context.ts'
import { Owner } from '../../../ffi/cuda/owner.ts'
import { startActivity, stopActivity } from '../../../ffi/cupti/activity.ts'
import { readClocks } from '../../../ffi/cupti/clock.ts'
import type { SharedNamesHandle } from '../../results/shared-names.ts'
import type { GraphFacts, ThreadFacts } from './facts.ts'
import type { GpuRecords, GpuTraceData, GpuTraceMessage, GpuTraceRequest } from './thread.ts'

export interface GpuTraceOptions {
  /** GPUs of the run: their contexts stay until all records are there. */
  devices: readonly number[]
  /** As they are numbered in the run. */
  threads: ThreadFacts[]
  names: SharedNamesHandle
  /** Records to keep of each stream. */
  trackRecords: number
  /** Is told what goes wrong: the run goes on, and its records end. */
  onProblem(message: string): void
}

/** Records what a run's threads put on GPUs. There can be one at a time. */
export class GpuTrace {
  readonly #owner = new Owner()
  readonly #worker: Worker
  readonly #started = new SharedArrayBuffer(8)
  readonly #ended: Promise<void>
  #records: GpuRecords | undefined

  /**
   * Before the run's threads make graphs.
   * @throws {LibraryError} without CUPTI @throws {NativeError}
   */
  constructor(readonly options: GpuTraceOptions) {
    const buffers = startActivity()
    for (const device of options.devices) this.#owner.own(retainContext(device), releaseContext)
    const { threads, names, trackRecords } = options
    const data: GpuTraceData = {
      role: 'gpu-trace',
      buffers,
      names,
      trackRecords,
      threads,
      clock: readClocks(),
      started: this.#started,
    }
    this.#worker = new Worker(Bun.main, { workerData: data, name: 'gpu-trace' })
    this.#worker.on('message', (message: GpuTraceMessage) => {
      if (message.type === 'records') this.#records = message.records
      else options.onProblem(message.message)
    })
    this.#ended = new Promise(resolve => {
      this.#worker.on('error', error => {
        options.onProblem(error instanceof Error ? error.message : String(error))
        resolve()
      })
      this.#worker.on('exit', () => resolve())
    })
    // A run that does not start after all leaves it behind, and must not wait for it.
    this.#worker.unref()
  }

  /** Work from this time of the monotonic clock on is the run's; before, it is warming up. */
  started(ns: number): void {
    new Float64Array(this.#started)[0] = ns
  }

  /** A graph that a thread of the run will launch. */
  graph(facts: GraphFacts): void {
    this.#say({ type: 'graph', facts })
  }

  #say(request: GpuTraceRequest): void {
    this.#worker.postMessage(request)
  }

  /** All that was recorded, when the run has ended; undefined if something went wrong, which has been said. */
  async stop(): Promise<GpuRecords | undefined> {
    this.#worker.ref()
    this.#say({ type: 'stop' })
    await this.#ended
    try {
      stopActivity()
      this.#owner.close()
    } catch (error) {
      // A device that was lost refuses this, too; why the run ended is known.
      this.options.onProblem((error as Error).message)
    }
    return this.#records
  }
}
