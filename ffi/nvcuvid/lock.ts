import type { Pointer } from 'bun:ffi'
import type { CUcontext } from '../cuda/types.ts'
import { check } from './check.ts'
import { nvcuvid } from './library.ts'

declare const lockBrand: unique symbol
/** A CUvideoctxlock: makes decoders of several threads take turns in using one context. */
export type ContextLock = Pointer & { readonly [lockBrand]: true }

/** @throws {NativeError} */
export function createContextLock(context: CUcontext): ContextLock {
  const cell = new BigUint64Array(new ArrayBuffer(8))
  check('cuvidCtxLockCreate', nvcuvid().symbols.cuvidCtxLockCreate(cell, context))
  return Number(cell[0]) as ContextLock
}

export function destroyContextLock(lock: ContextLock): void {
  check('cuvidCtxLockDestroy', nvcuvid().symbols.cuvidCtxLockDestroy(lock))
}

/** Runs `use` while holding the lock, with its context current. */
export function withContextLock<T>(lock: ContextLock, use: () => T): T {
  const { cuvidCtxLock, cuvidCtxUnlock } = nvcuvid().symbols
  check('cuvidCtxLock', cuvidCtxLock(lock, 0))
  try {
    return use()
  } finally {
    check('cuvidCtxUnlock', cuvidCtxUnlock(lock, 0))
  }
}
