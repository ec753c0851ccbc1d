import { cc, FFIType, type Pointer, ptr } from 'bun:ffi'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LibraryError } from '../error.ts'
import source from './buffers.c' with { type: 'text' }

/** CUPTI fills one or more for each thread that calls CUDA: many small ones serve a run of many threads. */
const BUFFERS = 256
const BUFFER_BYTES = 2 ** 18

// States of a buffer, as in buffers.c.
const FREE = 0
const FULL = 2

/** Plain data: memory that CUPTI writes records into, and what is noted of each piece of it. */
export interface BuffersHandle {
  head: SharedArrayBuffer
  slab: SharedArrayBuffer
  buffers: number
  bufferBytes: number
}

/** A piece of the slab with records in it. */
export interface FullBuffer {
  index: number
  /** Where it begins in the slab, and how many bytes of it are records. */
  at: number
  bytes: number
}

/** Buffers for CUPTI, as the thread sees them that reads the records. */
export class Buffers {
  readonly slab: DataView
  /** Of the slab, as C knows it. */
  readonly address: number
  readonly #head: Int32Array
  readonly #handle: BuffersHandle

  static create(buffers = BUFFERS, bufferBytes = BUFFER_BYTES): BuffersHandle {
    const head = new SharedArrayBuffer(4 * (1 + 2 * buffers))
    return { head, slab: new SharedArrayBuffer(buffers * bufferBytes), buffers, bufferBytes }
  }

  constructor(handle: BuffersHandle) {
    this.#handle = handle
    this.#head = new Int32Array(handle.head)
    this.slab = new DataView(handle.slab)
    this.address = ptr(new Uint8Array(handle.slab))
  }

  /** How often there was none to give: records were lost then. */
  get refused(): number {
    return Atomics.load(this.#head, 0)
  }

  /** Those that hold records, each until it is given back. */
  *full(): Generator<FullBuffer> {
    const { buffers, bufferBytes } = this.#handle
    for (let index = 0; index < buffers; index++) {
      if (Atomics.load(this.#head, 1 + index) !== FULL) continue
      yield { index, at: index * bufferBytes, bytes: this.#head[1 + buffers + index]! }
    }
  }

  /** Its records have been read. */
  giveBack({ index }: FullBuffer): void {
    Atomics.store(this.#head, 1 + index, FREE)
  }
}

const SYMBOLS = {
  configure: { args: [FFIType.ptr, FFIType.ptr, FFIType.i32, FFIType.i32], returns: FFIType.void },
  request: { args: [FFIType.ptr, FFIType.ptr, FFIType.ptr], returns: FFIType.void },
  complete: { args: [FFIType.ptr, FFIType.u64, FFIType.u64], returns: FFIType.void },
  requestedAddress: { args: [], returns: FFIType.ptr },
  completedAddress: { args: [], returns: FFIType.ptr },
} as const

/** The two functions that CUPTI calls. */
export interface Callbacks {
  readonly requested: Pointer
  readonly completed: Pointer
  /** The same, for tests. */
  readonly symbols: ReturnType<typeof compile>['symbols']
}

function compile() {
  if (process.arch !== 'x64')
    throw new LibraryError('CUPTI', [], 'Its records can be taken on x86-64 only.', `not on ${process.arch}`)
  const folder = mkdtempSync(join(tmpdir(), 'rnb-cupti-'))
  try {
    const file = join(folder, 'buffers.c')
    writeFileSync(file, source)
    return cc({ source: file, symbols: SYMBOLS })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** What C holds of, for as long as the process lives: CUPTI may call at any time. */
const held: unknown[] = []

/** Compiles the functions for these buffers. @throws {LibraryError} on a processor that they are not written for */
export function callbacksFor(handle: BuffersHandle): Callbacks {
  const library = compile()
  const { symbols } = library
  const [head, slab] = [new Uint8Array(handle.head), new Uint8Array(handle.slab)]
  held.push(library, handle, head, slab)
  symbols.configure(ptr(head), ptr(slab), handle.buffers, handle.bufferBytes)
  const at = (address: ReturnType<typeof symbols.requestedAddress>) => Number(address) as Pointer
  return { requested: at(symbols.requestedAddress()), completed: at(symbols.completedAddress()), symbols }
}
