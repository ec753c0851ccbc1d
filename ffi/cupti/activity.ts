import { ptr } from 'bun:ffi'
import type { CUgraphExec } from '../cuda/types.ts'
import { NativeError } from '../error.ts'
import { Buffers, type BuffersHandle, callbacksFor } from './buffers.ts'
import { check } from './check.ts'
import {
  CUPTI_ACTIVITY_FLAG_FLUSH_FORCED,
  CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
  CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION,
  CUPTI_ACTIVITY_KIND_MEMCPY,
  CUPTI_ACTIVITY_KIND_MEMCPY2,
  CUPTI_ACTIVITY_KIND_MEMSET,
  CUPTI_ACTIVITY_KIND_OVERHEAD,
  CUPTI_DRIVER_TRACE_CBID_cuGraphLaunch,
  CUPTI_DRIVER_TRACE_CBID_cuLaunchKernel,
  CUPTI_DRIVER_TRACE_CBID_cuLaunchKernelEx,
  CUPTI_DRIVER_TRACE_CBID_cuMemcpyDtoDAsync_v2,
  CUPTI_DRIVER_TRACE_CBID_cuMemcpyDtoHAsync_v2,
  CUPTI_DRIVER_TRACE_CBID_cuMemcpyHtoDAsync_v2,
  CUPTI_DRIVER_TRACE_CBID_cuMemcpyPeerAsync,
  CUPTI_DRIVER_TRACE_CBID_cuMemsetD8Async,
  CUPTI_DRIVER_TRACE_CBID_cuMemsetD32Async,
  CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0,
} from './constants.ts'
import { libcupti } from './library.ts'

const KINDS = [
  CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
  CUPTI_ACTIVITY_KIND_MEMCPY,
  CUPTI_ACTIVITY_KIND_MEMCPY2,
  CUPTI_ACTIVITY_KIND_MEMSET,
  CUPTI_ACTIVITY_KIND_OVERHEAD,
  CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION,
]

/**
 * Calls that put work on a GPU. An external id is recorded only beside a record of the call that it is for, and of all
 * other calls (events, queries) there are to be no records: they cost time.
 */
const CALLS = [
  CUPTI_DRIVER_TRACE_CBID_cuLaunchKernel,
  CUPTI_DRIVER_TRACE_CBID_cuLaunchKernelEx,
  CUPTI_DRIVER_TRACE_CBID_cuGraphLaunch,
  CUPTI_DRIVER_TRACE_CBID_cuMemcpyHtoDAsync_v2,
  CUPTI_DRIVER_TRACE_CBID_cuMemcpyDtoHAsync_v2,
  CUPTI_DRIVER_TRACE_CBID_cuMemcpyDtoDAsync_v2,
  CUPTI_DRIVER_TRACE_CBID_cuMemcpyPeerAsync,
  CUPTI_DRIVER_TRACE_CBID_cuMemsetD8Async,
  CUPTI_DRIVER_TRACE_CBID_cuMemsetD32Async,
]

let registered: BuffersHandle | undefined

/**
 * Has CUPTI record what this process's threads put on GPUs from now on, contexts and graphs made later included.
 * @returns the memory that it writes into, always the same: CUPTI keeps what it was given
 * @throws {LibraryError} @throws {NativeError} such as where another profiler has the process
 */
export function startActivity(): BuffersHandle {
  const { symbols } = libcupti()
  if (registered === undefined) {
    const handle = Buffers.create()
    const { requested, completed } = callbacksFor(handle)
    check('cuptiActivityRegisterCallbacks', symbols.cuptiActivityRegisterCallbacks(requested, completed))
    registered = handle
  }
  for (const kind of KINDS) check('cuptiActivityEnable', symbols.cuptiActivityEnable(kind))
  for (const call of CALLS)
    check('cuptiActivityEnableDriverApi', symbols.cuptiActivityEnableDriverApi(call, 1))
  return registered
}

/** Ends that; what is recorded and not handed over yet comes with a flush. @throws {NativeError} */
export function stopActivity(): void {
  const { symbols } = libcupti()
  for (const call of CALLS)
    check('cuptiActivityEnableDriverApi', symbols.cuptiActivityEnableDriverApi(call, 0))
  for (const kind of KINDS) check('cuptiActivityDisable', symbols.cuptiActivityDisable(kind))
}

/** Has CUPTI hand over buffers whose records are complete; with `all`, every one. @throws {NativeError} */
export function flushActivity(all = false): void {
  const flags = all ? CUPTI_ACTIVITY_FLAG_FLUSH_FORCED : 0
  check('cuptiActivityFlushAll', libcupti().symbols.cuptiActivityFlushAll(flags))
}

const cell = new BigUint64Array(new ArrayBuffer(8))
const at = ptr(cell)

/** Records that CUPTI dropped since it was last asked. @throws {NativeError} */
export function droppedRecords(): number {
  check(
    'cuptiActivityGetNumDroppedRecords',
    libcupti().symbols.cuptiActivityGetNumDroppedRecords(null, 0, at),
  )
  return Number(cell[0])
}

/** What this thread puts on GPUs from now on is recorded with this id, a whole number of at most 2^53. @throws {NativeError} */
export function pushExternalId(id: number): void {
  check(
    'cuptiActivityPushExternalCorrelationId',
    libcupti().symbols.cuptiActivityPushExternalCorrelationId(CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0, id),
  )
}

/** Ends what the last `pushExternalId` of this thread began. @throws {NativeError} */
export function popExternalId(): void {
  check(
    'cuptiActivityPopExternalCorrelationId',
    libcupti().symbols.cuptiActivityPopExternalCorrelationId(CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0, at),
  )
}

/** The number by which records call an executable graph. @throws {NativeError} */
export function graphId(graph: CUgraphExec): number {
  check('cuptiGetGraphExecId', libcupti().symbols.cuptiGetGraphExecId(graph, at))
  return Number(cell[0]! & 0xffff_ffffn)
}

/** Whether an error is CUPTI's. */
export const isCuptiError = (error: unknown): error is NativeError =>
  error instanceof NativeError && error.library === 'CUPTI'
