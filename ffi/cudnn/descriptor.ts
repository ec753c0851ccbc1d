import type { Pointer } from 'bun:ffi'
import { check } from './check.ts'
import { type ATTRIBUTE, ATTRIBUTE as ATTRIBUTES, DESCRIPTOR, TYPE } from './constants.ts'
import { libcudnn } from './library.ts'

declare const brand: unique symbol
export type CudnnHandle = Pointer & { readonly [brand]: 'cudnn handle' }
type DescriptorHandle = Pointer & { readonly [brand]: 'cudnn descriptor' }

export type AttributeName = keyof typeof ATTRIBUTE
export type AttributeType = keyof typeof TYPE
export type DescriptorType = keyof typeof DESCRIPTOR

/** Bytes of an element; 4 for every enumeration. */
const BYTES: Partial<Record<AttributeType, number>> = {
  HANDLE: 8,
  BOOLEAN: 1,
  INT64: 8,
  DOUBLE: 8,
  VOID_PTR: 8,
  BACKEND_DESCRIPTOR: 8,
  CHAR: 1,
}

/** Values as C sees them. */
function encode(type: AttributeType, values: readonly number[]): Uint8Array<ArrayBuffer> {
  const size = BYTES[type] ?? 4
  const memory = new ArrayBuffer(Math.max(8, size * values.length))
  const view = new DataView(memory)
  for (const [i, value] of values.entries()) {
    if (type === 'FLOAT') view.setFloat32(4 * i, value, true)
    else if (type === 'DOUBLE') view.setFloat64(8 * i, value, true)
    else if (size === 1) view.setUint8(i, value)
    else if (size === 4) view.setInt32(4 * i, value, true)
    else view.setBigInt64(8 * i, BigInt(value), true)
  }
  return new Uint8Array(memory)
}

const count = new BigInt64Array(new ArrayBuffer(8))
const made = new BigUint64Array(new ArrayBuffer(8))

/** One of cuDNN's backend descriptors: attributes are set, it is finalized, and then they can be read. */
export class Descriptor {
  readonly handle: DescriptorHandle

  /** @throws {NativeError} */
  constructor(readonly type: DescriptorType) {
    const { cudnnBackendCreateDescriptor: create } = libcudnn().symbols
    check('cudnnBackendCreateDescriptor', create(DESCRIPTOR[type], made), type)
    this.handle = Number(made[0]) as DescriptorHandle
  }

  /** @throws {NativeError} */
  set(name: AttributeName, type: AttributeType, ...values: number[]): this {
    const bytes = encode(type, values)
    const { cudnnBackendSetAttribute: set } = libcudnn().symbols
    const status = set(this.handle, ATTRIBUTES[name], TYPE[type], values.length, bytes)
    check('cudnnBackendSetAttribute', status, name)
    return this
  }

  /** @throws {NativeError} */
  setDescriptors(name: AttributeName, ...values: Descriptor[]): this {
    return this.set(name, 'BACKEND_DESCRIPTOR', ...values.map(value => value.handle))
  }

  /** A C string. @throws {NativeError} */
  setText(name: AttributeName, text: string): this {
    return this.set(name, 'CHAR', ...Buffer.from(`${text}\0`))
  }

  /** @throws {NativeError} whose status says why, if cuDNN cannot do what is described */
  finalize(): this {
    check('cudnnBackendFinalize', libcudnn().symbols.cudnnBackendFinalize(this.handle), this.type)
    return this
  }

  /** Up to `most` whole numbers of 4 or 8 bytes. @throws {NativeError} */
  get(name: AttributeName, type: AttributeType, most = 1): number[] {
    const bytes = new Uint8Array(new ArrayBuffer(8 * most))
    const memory = new DataView(bytes.buffer)
    const elements = this.#get(name, type, most, bytes)
    return Array.from({ length: Math.min(elements, most) }, (_, i) =>
      BYTES[type] === 8 ? Number(memory.getBigInt64(8 * i, true)) : memory.getInt32(4 * i, true),
    )
  }

  /** The text of an attribute. @throws {NativeError} */
  getText(name: AttributeName): string {
    const length = this.#get(name, 'CHAR', 0, null)
    const bytes = new Uint8Array(new ArrayBuffer(length))
    this.#get(name, 'CHAR', length, bytes)
    return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)))
  }

  /** Up to `most` descriptors, which the caller closes. @throws {NativeError} */
  getDescriptors(name: AttributeName, type: DescriptorType, most = 1): Descriptor[] {
    const results: Descriptor[] = []
    try {
      while (results.length < most) results.push(new Descriptor(type))
      const handles = encode(
        'BACKEND_DESCRIPTOR',
        results.map(result => result.handle),
      )
      const elements = this.#get(name, 'BACKEND_DESCRIPTOR', most, handles)
      for (const unused of results.splice(elements)) unused.close()
    } catch (error) {
      for (const made of results) made.close()
      throw error
    }
    return results
  }

  /** @returns how many elements there are, which can be more than were asked for */
  #get(name: AttributeName, type: AttributeType, most: number, to: Uint8Array | null): number {
    const { cudnnBackendGetAttribute: get } = libcudnn().symbols
    const status = get(this.handle, ATTRIBUTES[name], TYPE[type], most, count, to)
    check('cudnnBackendGetAttribute', status, name)
    return Number(count[0])
  }

  close(): void {
    check('cudnnBackendDestroyDescriptor', libcudnn().symbols.cudnnBackendDestroyDescriptor(this.handle))
  }
}
