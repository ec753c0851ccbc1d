import type { Pointer } from 'bun:ffi'

declare const brand: unique symbol
type Handle<Name extends string> = Pointer & { readonly [brand]: Name }

// Each a type of its own: a stream cannot be passed for an event. All are the same in every thread of the process.
export type CUcontext = Handle<'context'>
export type CUstream = Handle<'stream'>
export type CUevent = Handle<'event'>
export type CUmodule = Handle<'module'>
export type CUfunction = Handle<'function'>
export type CUgraph = Handle<'graph'>
export type CUgraphExec = Handle<'graph ready to launch'>
/** An address in a device's memory. */
export type DevicePointer = Handle<'device memory'>
/** An address in page-locked memory of the host. */
export type PinnedPointer = Handle<'pinned memory'>

/** A device by the driver's number: 0 and up, in the order of CUDA_VISIBLE_DEVICES. */
export type CUdevice = number & { readonly [brand]: 'device' }

/** The address `bytes` after another. */
export const offset = (pointer: DevicePointer, bytes: number): DevicePointer =>
  (pointer + bytes) as DevicePointer
