import { monotonicNs } from '../../ffi/libc.ts'
import type { VideoErrorCode } from '../errors.ts'
import { Barrier, type BarrierHandle } from '../queue/barrier.ts'
import { encodeItem, itemWords } from '../queue/codec.ts'
import { Control, type ControlHandle } from '../queue/control.ts'
import { Ring, type RingHandle, TIMED_OUT } from '../queue/ring.ts'
import { Semaphore, type SemaphoreHandle } from '../queue/semaphore.ts'
import { Ends } from '../results/ends.ts'
import { Ledger, type LedgerHandle } from '../results/ledger.ts'
import type { StepFlow } from '../results/time-card.ts'
import type { Track } from '../tracing/buffer.ts'
import type { ThreadTrace } from '../tracing/thread.ts'
import type { Overload } from './overload.ts'
import { pace } from './pacer.ts'

/** How long before an arrival the client stops sleeping and looks at the clock instead: a thread's wake-up time. */
const SPIN_NS = 60_000

/** A load that is a number of requests in flight: the next is sent when one is done. */
export interface ClosedLoop {
  permits: SemaphoreHandle
  /** No request is sent later than this after the start; Infinity for no end. */
  durationNs: number
}

/** Of a closed loop: how many more requests may be sent. */
export const permitsOf = ({ closedLoop }: { closedLoop?: ClosedLoop }): Semaphore | undefined =>
  closedLoop && new Semaphore(closedLoop.permits)

export interface ClientShare {
  control: ControlHandle
  ready: BarrierHandle
  ledger: LedgerHandle
  plan: { steps: readonly StepFlow[] }
  overload: Overload
  closedLoop?: ClosedLoop
  /** Intended arrival of each request, float64 ns after the start; without meaning in a closed loop. */
  schedule: SharedArrayBuffer
}

/** Whom the client tells of requests for which the queue had no room. */
export interface ClientListener {
  /** The run ends; nothing more is offered. */
  full(request: number): void
  /** The request was dropped. */
  failed(request: number, code: VideoErrorCode): void
}

/** The way onto the filename queue. */
class Entrance {
  readonly #queue: Ring
  readonly #ledger: Ledger
  readonly #ends: Ends
  readonly #words = new Int32Array(itemWords(1, 0, 0, 0))

  constructor(
    readonly shared: ClientShare,
    filenames: RingHandle,
    readonly listener: ClientListener,
    readonly trace: ThreadTrace,
  ) {
    this.#queue = new Ring(filenames)
    this.#ledger = new Ledger(shared.ledger)
    this.#ends = new Ends(this.#ledger, shared.plan.steps, permitsOf(shared))
  }

  /**
   * Puts a request on the queue, or does what is to be done where there is no room.
   * @returns false if there is no use in going on
   */
  offer(request: number, intendedNs: number, actualNs: number): boolean {
    const { onFull, timeoutNs } = this.shared.overload
    const item = { shares: [{ request, part: 0, parts: 1, clips: 0 }], tensors: [], values: [] }
    const length = encodeItem(item, this.#words)
    // Whoever takes the request reads this.
    this.#ledger.arrive(request, intendedNs, actualNs)
    if (actualNs - intendedNs > timeoutNs) return this.#drop(request, 'timeout')
    while (!this.#queue.put(this.#words, length)) {
      if (onFull === 'drop') return this.#drop(request, 'queue_full')
      if (onFull === 'abort') {
        this.listener.full(request)
        return false
      }
      const status = this.trace.timed('wait for room', () =>
        this.#queue.awaitRoom(intendedNs + timeoutNs, true),
      )
      if (status === TIMED_OUT) return this.#drop(request, 'timeout')
      if (status < 0) return false
      this.#ledger.arrive(request, intendedNs, monotonicNs())
    }
    if (this.trace.track) this.#note(this.trace.track, request, actualNs)
    return true
  }

  #note(track: Track, request: number, beginNs: number): void {
    const now = monotonicNs()
    track.visit('send', beginNs, now, request)
    track.depth(0, now, this.#queue)
  }

  #drop(request: number, code: VideoErrorCode): true {
    if (this.#ends.fail(request, 0)) this.listener.failed(request, code)
    return true
  }

  close(): void {
    this.#queue.close()
  }
}

/** Sends requests as others come to their end, each at the moment when it may be sent. */
function keepInFlight(requests: number, shared: ClientShare, startNs: number, entrance: Entrance): void {
  const permits = permitsOf(shared)!
  const endNs = startNs + shared.closedLoop!.durationNs
  for (let request = 0; request < requests; request++) {
    if (permits.acquire(endNs) < 0) return
    const now = monotonicNs()
    if (now >= endNs || !entrance.offer(request, now, now)) return
  }
}

/** The client's thread: puts each request on the filename queue at its time, or when another is done. */
export function runClient(
  shared: ClientShare,
  filenames: RingHandle,
  listener: ClientListener,
  trace: ThreadTrace,
): void {
  const control = new Control(shared.control)
  const schedule = new Float64Array(shared.schedule)
  const entrance = new Entrance(shared, filenames, listener, trace)
  if (!new Barrier(shared.ready).arriveAndWait()) return

  if (shared.closedLoop) keepInFlight(schedule.length, shared, control.startNs, entrance)
  else
    pace(schedule, control.startNs, {
      now: monotonicNs,
      wait: untilNs => {
        if (untilNs - monotonicNs() > SPIN_NS) return control.sleepUntil(untilNs - SPIN_NS)
        return control.stopped === 0 && !control.draining
      },
      offer: (request, intendedNs, actualNs) => {
        if (control.stopped !== 0 || control.draining) return false
        return entrance.offer(request, intendedNs, actualNs)
      },
    })
  entrance.close()
}
