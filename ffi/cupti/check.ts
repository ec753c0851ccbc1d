import { CString, type Pointer } from 'bun:ffi'
import { NativeError } from '../error.ts'
import {
  CUPTI_ERROR_INSUFFICIENT_PRIVILEGES,
  CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES,
  CUPTI_SUCCESS,
} from './constants.ts'
import { libcupti } from './library.ts'
import type { CuptiCall } from './symbols.ts'

const DENIED: ReadonlySet<number> = new Set([
  CUPTI_ERROR_INSUFFICIENT_PRIVILEGES,
  CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES,
])

/** What to do where a GPU's counters are for administrators only, as they are unless the driver is told otherwise. */
const ALLOW =
  "the driver keeps a GPU's counters for administrators: run as root, or give the process CAP_SYS_ADMIN, or load the " +
  'driver with NVreg_RestrictProfilingToAdminUsers=0'

/** Whether a call failed as this user may not read counters. */
export const isDenied = (error: unknown): boolean =>
  error instanceof NativeError && error.library === 'CUPTI' && DENIED.has(error.status)

function nameOf(status: number): string {
  const cell = new BigUint64Array(new ArrayBuffer(8))
  const known = libcupti().symbols.cuptiGetResultString(status, cell) === CUPTI_SUCCESS
  const text = known ? Number(cell[0]) : 0
  return text ? String(new CString(text as Pointer)) : `CUptiResult ${status}`
}

/** The one place where a status of CUPTI's is looked at. @throws {NativeError} unless it is CUPTI_SUCCESS */
export function check(call: CuptiCall, status: number): void {
  if (status === CUPTI_SUCCESS) return
  throw new NativeError('CUPTI', call, status, nameOf(status), DENIED.has(status) ? ALLOW : '')
}
