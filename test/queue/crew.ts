import { Worker } from 'node:worker_threads'
import type { Job, JobResult } from './jobs.ts'

/** A job without what the crew adds. */
export type Task<J = Job> = J extends Job ? Omit<J, 'seed' | 'witness'> : never

const start = (): Worker => new Worker(new URL('./worker.ts', import.meta.url))

/** Gives a worker one job. @returns its answer; rejects if the worker fails or ends instead. */
export function order(worker: Worker, job: Job): Promise<JobResult> {
  const { promise, resolve, reject } = Promise.withResolvers<JobResult>()
  const exited = (code: number) => reject(new Error(`worker ended with code ${code} in ${job.kind}`))
  worker.once('message', resolve).once('error', reject).once('exit', exited)
  worker.postMessage(job)
  return promise.finally(() => worker.off('message', resolve).off('error', reject).off('exit', exited))
}

/** Worker threads that stay for many jobs, since starting one costs more than most jobs do. */
export class Crew {
  private readonly workers: Worker[] = []

  /**
   * Starts all jobs at once, each on its own thread.
   * @param first number of the first thread to use.
   * @returns their results, in order.
   */
  work(
    tasks: readonly Task[],
    seed = 1,
    witness = new SharedArrayBuffer(64),
    first = 0,
  ): Promise<JobResult>[] {
    return tasks.map((task, i) => order(this.worker(first + i), { ...task, seed: seed + i, witness } as Job))
  }

  worker(number: number): Worker {
    const known = this.workers[number]
    if (known) return known
    const worker = start()
    this.workers[number] = worker
    return worker
  }

  /** Kills a thread wherever it is; the next job gets a new one. */
  async kill(number: number): Promise<void> {
    const worker = this.worker(number)
    delete this.workers[number]
    await worker.terminate()
  }

  /** Ends all threads, those that hang included. */
  async end(): Promise<void> {
    await Promise.all(this.workers.map(worker => worker?.terminate()))
  }
}

/** Resolves when `condition` holds, looking at it between events. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setImmediate(resolve))
}
