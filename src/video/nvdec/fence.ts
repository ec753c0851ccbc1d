import { createEvent, destroyEvent, recordEvent, synchronizeEvent } from '../../../ffi/cuda/stream.ts'
import type { CUstream } from '../../../ffi/cuda/types.ts'
import type { Fence } from './mapped.ts'

/** Makes fences of a stream: events that a thread sleeps on. */
export const fencesOf =
  (stream: CUstream): (() => Fence) =>
  () => {
    const event = createEvent('wait')
    return {
      record: () => recordEvent(event, stream),
      wait: () => synchronizeEvent(event),
      close: () => destroyEvent(event),
    }
  }
