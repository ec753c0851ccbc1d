import type { BarrierHandle } from '../../src/queue/barrier.ts'
import type { BoardHandle } from '../../src/queue/board.ts'
import type { ControlHandle } from '../../src/queue/control.ts'
import type { RingHandle } from '../../src/queue/ring.ts'
import type { SemaphoreHandle } from '../../src/queue/semaphore.ts'
import type { SlotPoolHandle } from '../../src/queue/slots.ts'

/** Words of shared memory that the tests keep beside what they test, to judge it by. */
export const WITNESS = { sent: 0, takesBegun: 1, counter: 2, slots: 16 } as const
/** From WITNESS.slots on, for each slot: how many hold it, and the stamp of who acquired it. */
export const SLOT_WITNESS_WORDS = 2

interface Common {
  /** Of the random pauses between operations. */
  seed: number
  witness: SharedArrayBuffer
}

/** What a worker is told to do; it answers with `JobResult`. */
export type Job = Common &
  /** Where there is no room, waits for it or asks again and again. */
  (
    | { kind: 'produce'; ring: RingHandle; producer: number; count: number; waits: boolean }
    /** Puts without waiting until the ring is full. */
    | { kind: 'fill'; ring: RingHandle }
    | { kind: 'consume'; ring: RingHandle }
    /** Takes messages, and offers the others, who do the same, pieces of its work at each; `done` has a word for each thread. */
    | { kind: 'team'; ring: RingHandle; board: BoardHandle; worker: number; done: SharedArrayBuffer }
    | { kind: 'acquire'; pool: SlotPoolHandle; ring: RingHandle; sender: number; count: number }
    | { kind: 'release'; pool: SlotPoolHandle; ring: RingHandle }
    /** Takes `rounds` messages from one ring and puts each into the other. */
    | { kind: 'relay'; from: RingHandle; to: RingHandle; rounds: number }
    | { kind: 'arrive'; barrier: BarrierHandle; rounds: number }
    /** A single call that may block. */
    | { kind: 'take'; ring: RingHandle }
    | { kind: 'slot'; pool: SlotPoolHandle }
    | { kind: 'room'; ring: RingHandle; beforeDrain: boolean }
    | { kind: 'permit'; semaphore: SemaphoreHandle }
    /** Takes and gives back a permit, `rounds` times. */
    | { kind: 'share'; semaphore: SemaphoreHandle; permits: number; rounds: number }
    | { kind: 'sleep'; control: ControlHandle }
    | { kind: 'stop'; control: ControlHandle; reason: number }
    /** Ends the thread while it holds a slot. */
    | { kind: 'die'; pool: SlotPoolHandle }
  )

export interface JobResult {
  /** The last status that an operation returned, or what the job counted. */
  status: number
  /** What went against a rule. */
  violations: string[]
  /** Consumed messages as (producer, number) pairs, in order. */
  messages: Int32Array
}
