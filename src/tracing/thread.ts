import { monotonicNs } from '../../ffi/libc.ts'
import { Track, type TrackHandle } from './buffer.ts'

/** What a thread notes on its track of the trace: nothing, where the run is not traced. */
export class ThreadTrace {
  readonly track: Track | undefined
  /** The request that the thread is at; -1 where there are none or several. */
  request = -1

  constructor(handle: TrackHandle | undefined) {
    this.track = handle && new Track(handle)
  }

  /** Does `work`, and notes how long that took; of a promise, until it is settled. */
  timed<T>(what: string, work: () => T): T {
    if (!this.track) return work()
    const begin = monotonicNs()
    const { request } = this
    const note = () => this.track!.span(what, begin, monotonicNs(), request)
    let pending = false
    try {
      const result = work()
      if (result instanceof Promise) {
        pending = true
        return result.finally(note) as T
      }
      return result
    } finally {
      if (!pending) note()
    }
  }
}
