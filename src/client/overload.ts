/**
 * What becomes of an item that finds a queue full: the run is aborted (RnB's rule), the item is dropped and its
 * requests with it, or whoever brings it waits for room.
 */
export const ON_FULL = ['abort', 'drop', 'wait'] as const
export type OnFull = (typeof ON_FULL)[number]

/** What a run does when requests come faster than it serves them. */
export interface Overload {
  onFull: OnFull
  /** No step begins a request later than this after its intended arrival, in ns; Infinity for no deadline. */
  timeoutNs: number
}

/** RnB's. */
export const ABORT: Overload = { onFull: 'abort', timeoutNs: Number.POSITIVE_INFINITY }

/** What a request that a full queue cost is told. */
export const wasFull = ({ name, capacity }: { name: string; capacity: number }): string =>
  `the queue '${name}' was full (${capacity} ${capacity === 1 ? 'item' : 'items'})`

/** What a request that is too late is told. */
export const wasLate = (timeoutNs: number): string =>
  `this step did not begin it within ${timeoutNs / 1e6} ms of its intended arrival`
