import { check, cudaError } from './check.ts'
import { CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, CUDA_SUCCESS } from './constants.ts'
import { cudaDevice } from './device.ts'
import { cuda, out, outNumber } from './library.ts'
import type { CUcontext, CUdevice } from './types.ts'

/** A device's primary context, retained: one and the same in every thread, so that addresses mean the same in all. */
export interface DeviceContext {
  /** As numbered under CUDA_VISIBLE_DEVICES. */
  readonly index: number
  readonly device: CUdevice
  readonly handle: CUcontext
}

/**
 * Retains the primary context of a device and makes it this thread's. Every worker that uses the device calls it, and
 * `releaseContext` once it has freed what it made.
 * @throws {NativeError}
 */
export function retainContext(index: number): DeviceContext {
  const device = cudaDevice(index)
  check('cuDevicePrimaryCtxRetain', cuda().cuDevicePrimaryCtxRetain(out, device))
  const context: DeviceContext = { index, device, handle: outNumber() as CUcontext }
  makeCurrent(context)
  return context
}

/** Makes a context this thread's: what is created from now on belongs to its device. @throws {NativeError} */
export function makeCurrent({ handle }: DeviceContext): void {
  check('cuCtxSetCurrent', cuda().cuCtxSetCurrent(handle))
}

/** The last thread that does so ends the context, and everything in it. @throws {NativeError} */
export function releaseContext({ device, handle }: DeviceContext): void {
  check('cuCtxGetCurrent', cuda().cuCtxGetCurrent(out))
  if (outNumber() === handle) check('cuCtxSetCurrent', cuda().cuCtxSetCurrent(null))
  check('cuDevicePrimaryCtxRelease_v2', cuda().cuDevicePrimaryCtxRelease_v2(device))
}

/** Waits for everything that was asked of this thread's device: for warm-up and tests. @throws {NativeError} */
export function synchronize(): void {
  check('cuCtxSynchronize', cuda().cuCtxSynchronize())
}

/** Lets this thread's context use memory of another device in place. @throws {NativeError} if it cannot */
export function enablePeerAccess({ handle }: DeviceContext): void {
  const status = cuda().cuCtxEnablePeerAccess(handle, 0)
  if (status === CUDA_SUCCESS || status === CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED) return
  throw cudaError('cuCtxEnablePeerAccess', status)
}
