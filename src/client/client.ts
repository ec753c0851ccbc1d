import { monotonicNs } from '../../ffi/libc.ts'
import { Barrier, type BarrierHandle } from '../queue/barrier.ts'
import { encodeItem, itemWords } from '../queue/codec.ts'
import { Control, type ControlHandle } from '../queue/control.ts'
import { Ring, type RingHandle } from '../queue/ring.ts'
import { Ledger, type LedgerHandle } from '../results/ledger.ts'
import { pace } from './pacer.ts'

/** How long before an arrival the client stops sleeping and looks at the clock instead: a thread's wake-up time. */
const SPIN_NS = 60_000

export interface ClientShare {
  control: ControlHandle
  ready: BarrierHandle
  ledger: LedgerHandle
  /** Intended arrival of each request, float64 ns after the start. */
  schedule: SharedArrayBuffer
}

/**
 * The client's thread: puts each request on the filename queue at its time.
 * @param onFull is told of the request for which the queue had no room; nothing is offered after it
 */
export function runClient(
  shared: ClientShare,
  filenames: RingHandle,
  onFull: (request: number) => void,
): void {
  const control = new Control(shared.control)
  const queue = new Ring(filenames)
  const ledger = new Ledger(shared.ledger)
  const schedule = new Float64Array(shared.schedule)
  const words = new Int32Array(itemWords(1, 0, 0, 0))
  if (!new Barrier(shared.ready).arriveAndWait()) return

  pace(schedule, control.startNs, {
    now: monotonicNs,
    wait: untilNs => {
      if (untilNs - monotonicNs() > SPIN_NS) return control.sleepUntil(untilNs - SPIN_NS)
      return control.stopped === 0 && !control.draining
    },
    offer: (request, intendedNs, actualNs) => {
      if (control.stopped !== 0 || control.draining) return false
      ledger.arrive(request, intendedNs, actualNs)
      const item = { shares: [{ request, part: 0, parts: 1, clips: 0 }], tensors: [], values: [] }
      if (queue.put(words, encodeItem(item, words))) return true
      onFull(request)
      return false
    },
  })
  queue.close()
}
