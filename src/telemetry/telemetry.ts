import { Worker } from 'node:worker_threads'
import type { Sample } from './sample.ts'
import type { TelemetryData, TelemetryMessage } from './worker.ts'

/** Samples that are kept: a longer run keeps every second one, then every fourth... */
const MOST_SAMPLES = 1 << 14

/** Keeps samples of a run of any length in bounded memory, evenly over time. */
export class Samples {
  #stride = 1
  #count = 0
  #kept: Sample[] = []
  #last: Sample | undefined

  constructor(readonly most = MOST_SAMPLES) {}

  add(sample: Sample): void {
    this.#last = sample
    if (this.#count++ % this.#stride !== 0) return
    this.#kept.push(sample)
    if (this.#kept.length < this.most) return
    this.#kept = this.#kept.filter((_, i) => i % 2 === 0)
    this.#stride *= 2
  }

  /** In order of time; the last one is always among them. */
  get all(): readonly Sample[] {
    const last = this.#last
    return last && this.#kept.at(-1) !== last ? [...this.#kept, last] : this.#kept
  }
}

/** Sensors that are read in a thread of their own while a run goes on. */
export class Telemetry {
  readonly samples = new Samples()
  readonly #worker: Worker
  readonly #ended: Promise<void>

  /** @param onProblem is told what cannot be read */
  constructor(data: Omit<TelemetryData, 'role'>, onProblem: (message: string) => void) {
    this.#worker = new Worker(Bun.main, { workerData: { role: 'telemetry', ...data }, name: 'telemetry' })
    this.#worker.on('message', (message: TelemetryMessage) => {
      if (message.type === 'sample') this.samples.add(message.sample)
      else onProblem(message.message)
    })
    this.#ended = new Promise(resolve => {
      this.#worker.on('error', error => {
        onProblem(error instanceof Error ? error.message : String(error))
        resolve()
      })
      this.#worker.on('exit', () => resolve())
    })
  }

  /** Reads once more, and ends the thread. */
  async stop(): Promise<readonly Sample[]> {
    this.#worker.postMessage('stop')
    await this.#ended
    return this.samples.all
  }
}
