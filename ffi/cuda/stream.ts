import { check, cudaError } from './check.ts'
import {
  CU_EVENT_BLOCKING_SYNC,
  CU_EVENT_DISABLE_TIMING,
  CU_STREAM_NON_BLOCKING,
  CUDA_ERROR_NOT_READY,
  CUDA_SUCCESS,
} from './constants.ts'
import { cuda, out, out2, outFloat, outNumber, outWord2 } from './library.ts'
import type { CudaCall } from './symbols.ts'
import type { CUevent, CUstream } from './types.ts'

/** The priority of streams that have none; the smaller, the more urgent. */
const COMMON = 0

function mostUrgent(): number {
  check('cuCtxGetStreamPriorityRange', cuda().cuCtxGetStreamPriorityRange(out, out2))
  return outWord2()
}

/**
 * A stream of this thread's device, which does not wait for the default stream.
 * @param priority - where the GPU has room for a block of either, an `urgent` stream's kernels come before a `common` one's
 * @throws {NativeError}
 */
export function createStream(priority: 'common' | 'urgent' = 'common'): CUstream {
  const value = priority === 'urgent' ? mostUrgent() : COMMON
  check('cuStreamCreateWithPriority', cuda().cuStreamCreateWithPriority(out, CU_STREAM_NON_BLOCKING, value))
  return outNumber() as CUstream
}

export function destroyStream(stream: CUstream): void {
  check('cuStreamDestroy_v2', cuda().cuStreamDestroy_v2(stream))
}

/** Blocks until the stream has nothing left to do. @throws {NativeError} also of what failed on it before */
export function synchronizeStream(stream: CUstream): void {
  check('cuStreamSynchronize', cuda().cuStreamSynchronize(stream))
}

/** Whether `call` found everything done. */
function done(call: CudaCall, status: number): boolean {
  if (status === CUDA_SUCCESS) return true
  if (status === CUDA_ERROR_NOT_READY) return false
  throw cudaError(call, status)
}

/** Whether the stream has nothing left to do. @throws {NativeError} */
export const streamIsIdle = (stream: CUstream): boolean => done('cuStreamQuery', cuda().cuStreamQuery(stream))

/** What an event is used for. `order`: streams and polling. `wait`: a thread sleeps until it is there. `time`: timing. */
export type EventUse = 'order' | 'wait' | 'time'

const EVENT_FLAGS: Record<EventUse, number> = {
  order: CU_EVENT_DISABLE_TIMING,
  wait: CU_EVENT_DISABLE_TIMING | CU_EVENT_BLOCKING_SYNC,
  time: 0,
}

/** An event of this thread's device. @throws {NativeError} */
export function createEvent(use: EventUse): CUevent {
  check('cuEventCreate', cuda().cuEventCreate(out, EVENT_FLAGS[use]))
  return outNumber() as CUevent
}

export function destroyEvent(event: CUevent): void {
  check('cuEventDestroy_v2', cuda().cuEventDestroy_v2(event))
}

/** The event stands for what the stream was asked so far. @throws {NativeError} */
export function recordEvent(event: CUevent, stream: CUstream): void {
  check('cuEventRecord', cuda().cuEventRecord(event, stream))
}

/** What the stream is asked from now on waits for the event, of any device. @throws {NativeError} */
export function waitForEvent(stream: CUstream, event: CUevent): void {
  check('cuStreamWaitEvent', cuda().cuStreamWaitEvent(stream, event, 0))
}

/** Blocks until the event is there. @throws {NativeError} also of what failed before it */
export function synchronizeEvent(event: CUevent): void {
  check('cuEventSynchronize', cuda().cuEventSynchronize(event))
}

/** Whether the event is there. @throws {NativeError} */
export const eventIsDone = (event: CUevent): boolean => done('cuEventQuery', cuda().cuEventQuery(event))

/** Milliseconds between two events made for `time`, both there. @throws {NativeError} */
export function elapsedMs(start: CUevent, end: CUevent): number {
  check('cuEventElapsedTime', cuda().cuEventElapsedTime(out, start, end))
  return outFloat()
}
