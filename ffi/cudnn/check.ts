import { NativeError } from '../error.ts'
import { CUDNN_STATUS_SUCCESS } from './constants.ts'
import { libcudnn } from './library.ts'
import type { CudnnCall } from './symbols.ts'

const LAST_BYTES = 1024

/** Why the last call of this thread failed, in cuDNN's words. */
function lastError(): string {
  const bytes = new Uint8Array(new ArrayBuffer(LAST_BYTES))
  libcudnn().symbols.cudnnGetLastErrorString(bytes, LAST_BYTES)
  return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0))).trim()
}

/** The one place where a status of cuDNN is looked at. @throws {NativeError} unless it is CUDNN_STATUS_SUCCESS */
export function check(call: CudnnCall, status: number, what = ''): void {
  if (status === CUDNN_STATUS_SUCCESS) return
  const name = String(libcudnn().symbols.cudnnGetErrorString(status))
  throw new NativeError('cuDNN', call, status, name, [what, lastError()].filter(text => text).join(': '))
}
