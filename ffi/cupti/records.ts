import { CString, dlopen, FFIType, type Pointer, ptr } from 'bun:ffi'
import type { Buffers, FullBuffer } from './buffers.ts'
import { check } from './check.ts'
import {
  CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
  CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION,
  CUPTI_ACTIVITY_KIND_MEMCPY,
  CUPTI_ACTIVITY_KIND_MEMCPY2,
  CUPTI_ACTIVITY_KIND_MEMSET,
  CUPTI_ACTIVITY_KIND_OVERHEAD,
  CUPTI_ACTIVITY_MEMCPY_KIND_DTOD,
  CUPTI_ACTIVITY_MEMCPY_KIND_DTOH,
  CUPTI_ACTIVITY_MEMCPY_KIND_HTOD,
  CUPTI_ACTIVITY_OVERHEAD_ACTIVITY_BUFFER_REQUEST,
  CUPTI_ACTIVITY_OVERHEAD_COMMAND_BUFFER_FULL,
  CUPTI_ACTIVITY_OVERHEAD_CUPTI_BUFFER_FLUSH,
  CUPTI_ACTIVITY_OVERHEAD_CUPTI_INSTRUMENTATION,
  CUPTI_ACTIVITY_OVERHEAD_CUPTI_RESOURCE,
  CUPTI_ACTIVITY_OVERHEAD_DRIVER_COMPILER,
  CUPTI_ACTIVITY_OVERHEAD_LAZY_FUNCTION_LOADING,
  CUPTI_ACTIVITY_OVERHEAD_RUNTIME_TRIGGERED_MODULE_LOADING,
  CUPTI_ERROR_MAX_LIMIT_REACHED,
} from './constants.ts'
import { libcupti } from './library.ts'
import offsets from './offsets.json'

/** How a kernel was launched: what says how many of its warps a multiprocessor can hold. */
export interface KernelShape {
  grid: readonly [number, number, number]
  block: readonly [number, number, number]
  /** Blocks that run together as a cluster, 0 or 1 without. */
  cluster: number
  /** Of a thread. */
  registers: number
  localBytes: number
  /** Of a block, without what the system takes. */
  sharedBytes: number
  /** What a multiprocessor was set up to have, for all its blocks. */
  sharedExecuted: number
}

interface Work {
  /** In ns since the moment of CUPTI's clock that the reader counts from. */
  startNs: number
  endNs: number
  device: number
  /** CUPTI's number of the stream. */
  stream: number
  /** Of the call that put it there. */
  correlation: number
  /** Of the graph that it is part of, and its node there; 0 if it is part of none. */
  graph: number
  node: number
}

export interface KernelRecord extends Work {
  kind: 'kernel'
  name: string
  shape: KernelShape
}

export interface TransferRecord extends Work {
  kind: 'copy' | 'fill'
  /** `copy, device to host` */
  name: string
  bytes: number
}

/** Which id a thread had pushed when it made a call. */
export interface ExternalRecord {
  kind: 'external'
  correlation: number
  id: number
}

/** Time that CUPTI or the driver took beside what was asked of them. */
export interface OverheadRecord {
  kind: 'overhead'
  name: string
  startNs: number
  endNs: number
}

export type ActivityRecord = KernelRecord | TransferRecord | ExternalRecord | OverheadRecord

const COPIES: Readonly<Record<number, string>> = {
  [CUPTI_ACTIVITY_MEMCPY_KIND_HTOD]: 'copy, host to device',
  [CUPTI_ACTIVITY_MEMCPY_KIND_DTOH]: 'copy, device to host',
  [CUPTI_ACTIVITY_MEMCPY_KIND_DTOD]: 'copy, device to device',
}

const OVERHEADS: Readonly<Record<number, string>> = {
  [CUPTI_ACTIVITY_OVERHEAD_DRIVER_COMPILER]: 'compiling',
  [CUPTI_ACTIVITY_OVERHEAD_CUPTI_BUFFER_FLUSH]: 'handing over records',
  [CUPTI_ACTIVITY_OVERHEAD_CUPTI_INSTRUMENTATION]: 'instrumentation',
  [CUPTI_ACTIVITY_OVERHEAD_CUPTI_RESOURCE]: "CUPTI's resources",
  [CUPTI_ACTIVITY_OVERHEAD_RUNTIME_TRIGGERED_MODULE_LOADING]: 'loading modules',
  [CUPTI_ACTIVITY_OVERHEAD_LAZY_FUNCTION_LOADING]: 'loading functions',
  [CUPTI_ACTIVITY_OVERHEAD_COMMAND_BUFFER_FULL]: 'no room for commands',
  [CUPTI_ACTIVITY_OVERHEAD_ACTIVITY_BUFFER_REQUEST]: 'asking for buffers',
}

const KERNEL = offsets.CUpti_ActivityKernel
const COPY = offsets.CUpti_ActivityMemcpy
const PEER = offsets.CUpti_ActivityMemcpyPtoP
const FILL = offsets.CUpti_ActivityMemset
const OVERHEAD = offsets.CUpti_ActivityOverhead
const EXTERNAL = offsets.CUpti_ActivityExternalCorrelation
/** The pointer after an overhead's fields: details that whoever reads the record must free. */
const OVERHEAD_DETAILS = OVERHEAD.end + 16

let libcFree: ((memory: Pointer) => void) | undefined
function free(memory: Pointer): void {
  libcFree ??= dlopen('libc.so.6', { free: { args: [FFIType.ptr], returns: FFIType.void } }).symbols.free
  libcFree(memory)
}

/** Reads the records of one buffer after the other. */
export class RecordReader {
  readonly #cell = new BigUint64Array(new ArrayBuffer(8))
  readonly #at = ptr(this.#cell)
  readonly #view: DataView
  /** Of the buffer that is being read: the same kernel's name is at the same place. */
  readonly #names = new Map<number, string>()

  readonly #epochHigh: number
  readonly #epochLow: number

  /** @param epoch - the moment of CUPTI's clock that times count from: in ns, they are beyond what a number holds */
  constructor(
    readonly buffers: Buffers,
    epoch: bigint,
  ) {
    this.#view = buffers.slab
    this.#epochHigh = Number(epoch >> 32n)
    this.#epochLow = Number(epoch & 0xffff_ffffn)
  }

  /** The records that this program knows of a buffer, in the order in which CUPTI wrote them. @throws {NativeError} */
  *read({ at, bytes }: FullBuffer): Generator<ActivityRecord> {
    const { symbols } = libcupti()
    const buffer = (this.buffers.address + at) as Pointer
    this.#names.clear()
    this.#cell[0] = 0n
    for (;;) {
      const status = symbols.cuptiActivityGetNextRecord(buffer, bytes, this.#at)
      if (status === CUPTI_ERROR_MAX_LIMIT_REACHED) return
      check('cuptiActivityGetNextRecord', status)
      const record = this.#parse(Number(this.#cell[0]) - this.buffers.address)
      if (record) yield record
    }
  }

  #parse(record: number): ActivityRecord | undefined {
    switch (this.#u32(record)) {
      case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL:
        return this.#kernel(record)
      case CUPTI_ACTIVITY_KIND_MEMCPY: {
        const name = COPIES[this.#view.getUint8(record + COPY.copyKind)] ?? 'copy'
        return { kind: 'copy', name, bytes: this.#u64(record + COPY.bytes), ...this.#work(record, COPY) }
      }
      case CUPTI_ACTIVITY_KIND_MEMCPY2: {
        const name = `copy, to gpu ${this.#u32(record + PEER.dstDeviceId)} from gpu ${this.#u32(record + PEER.srcDeviceId)}`
        return { kind: 'copy', name, bytes: this.#u64(record + PEER.bytes), ...this.#work(record, PEER) }
      }
      case CUPTI_ACTIVITY_KIND_MEMSET:
        return {
          kind: 'fill',
          name: 'fill',
          bytes: this.#u64(record + FILL.bytes),
          ...this.#work(record, FILL),
        }
      case CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION:
        return {
          kind: 'external',
          correlation: this.#u32(record + EXTERNAL.correlationId),
          id: this.#u64(record + EXTERNAL.externalId),
        }
      case CUPTI_ACTIVITY_KIND_OVERHEAD:
        return this.#overhead(record)
      default:
        return undefined
    }
  }

  #kernel(record: number): KernelRecord {
    const u32 = (field: keyof typeof KERNEL) => this.#u32(record + KERNEL[field])
    const clusters = u32('clusterX') * u32('clusterY') * u32('clusterZ')
    return {
      kind: 'kernel',
      name: this.#name(this.#u64(record + KERNEL.name)),
      shape: {
        grid: [u32('gridX'), u32('gridY'), u32('gridZ')],
        block: [u32('blockX'), u32('blockY'), u32('blockZ')],
        cluster: clusters,
        registers: this.#view.getUint16(record + KERNEL.registersPerThread, true),
        localBytes: u32('localMemoryPerThread'),
        sharedBytes: u32('staticSharedMemory') + u32('dynamicSharedMemory'),
        sharedExecuted: u32('sharedMemoryExecuted'),
      },
      ...this.#work(record, KERNEL),
    }
  }

  #overhead(record: number): OverheadRecord {
    const kind = this.#u32(record + OVERHEAD.overheadKind)
    if (kind === CUPTI_ACTIVITY_OVERHEAD_COMMAND_BUFFER_FULL) {
      const details = this.#u64(record + OVERHEAD_DETAILS)
      if (details !== 0) free(details as Pointer)
    }
    return {
      kind: 'overhead',
      name: OVERHEADS[kind] ?? 'other',
      startNs: this.#time(record + OVERHEAD.start),
      endNs: this.#time(record + OVERHEAD.end),
    }
  }

  #work(
    record: number,
    fields: Record<
      'start' | 'end' | 'deviceId' | 'streamId' | 'correlationId' | 'graphId' | 'graphNodeId',
      number
    >,
  ): Work {
    return {
      startNs: this.#time(record + fields.start),
      endNs: this.#time(record + fields.end),
      device: this.#u32(record + fields.deviceId),
      stream: this.#u32(record + fields.streamId),
      correlation: this.#u32(record + fields.correlationId),
      graph: this.#u32(record + fields.graphId),
      node: this.#u64(record + fields.graphNodeId),
    }
  }

  #u32(at: number): number {
    return this.#view.getUint32(at, true)
  }

  #u64(at: number): number {
    return this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 2 ** 32
  }

  #time(at: number): number {
    const [low, high] = [this.#view.getUint32(at, true), this.#view.getUint32(at + 4, true)]
    return (high - this.#epochHigh) * 2 ** 32 + (low - this.#epochLow)
  }

  #name(at: number): string {
    const known = this.#names.get(at)
    if (known !== undefined) return known
    const name = at === 0 ? 'a kernel without a name' : String(new CString(at as Pointer))
    this.#names.set(at, name)
    return name
  }
}
