import { captureGraph, destroyGraph, launchGraph } from '../../../ffi/cuda/graph.ts'
import { Owner } from '../../../ffi/cuda/owner.ts'
import {
  createEvent,
  destroyEvent,
  elapsedMs,
  recordEvent,
  synchronizeEvent,
} from '../../../ffi/cuda/stream.ts'
import type { CUevent, CUstream } from '../../../ffi/cuda/types.ts'

/** Runs shorter than this are measured in a graph: the time to launch them would hide theirs. */
const SHORT_MS = 0.2
/** Measures work of a stream by events, again and again. */
export class StreamTimer {
  readonly #owner = new Owner()
  readonly #start: CUevent
  readonly #end: CUevent

  constructor(readonly stream: CUstream) {
    try {
      this.#start = this.#owner.own(createEvent('time'), destroyEvent)
      this.#end = this.#owner.own(createEvent('time'), destroyEvent)
    } catch (error) {
      this.#owner.close()
      throw error
    }
  }

  #once(work: () => void): number {
    recordEvent(this.#start, this.stream)
    work()
    recordEvent(this.#end, this.stream)
    synchronizeEvent(this.#end)
    return elapsedMs(this.#start, this.#end)
  }

  /**
   * Milliseconds of `work`: of one run after the first if that is above `limitMs`, else the least of several.
   * @throws {NativeError} of the work, too
   */
  time(work: () => void, limitMs: number): number {
    // The first run also loads the kernels.
    this.#once(work)
    const first = this.#once(work)
    if (first > Math.max(limitMs, SHORT_MS)) return first
    if (first > SHORT_MS) {
      const times = [first, this.#once(work), this.#once(work)]
      return Math.min(...times)
    }
    const runs = Math.min(20, Math.max(4, Math.round(0.2 / first)))
    const graph = captureGraph(this.stream, () => {
      for (let i = 0; i < runs; i++) work()
    })
    try {
      launchGraph(graph, this.stream)
      return Math.min(...[0, 1].map(() => this.#once(() => launchGraph(graph, this.stream)))) / runs
    } finally {
      destroyGraph(graph)
    }
  }

  close(): void {
    this.#owner.close()
  }
}
