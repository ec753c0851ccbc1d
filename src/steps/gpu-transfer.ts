import { makeCurrent } from '../../ffi/cuda/context.ts'
import { allocatePinned, copyPeer, download, freePinned, upload } from '../../ffi/cuda/memory.ts'
import { Owner } from '../../ffi/cuda/owner.ts'
import {
  createEvent,
  createStream,
  destroyEvent,
  destroyStream,
  recordEvent,
  synchronizeEvent,
  waitForEvent,
} from '../../ffi/cuda/stream.ts'
import type { CUevent, CUstream, DevicePointer, PinnedPointer } from '../../ffi/cuda/types.ts'
import type { DeviceTensor, StepGpu } from './step.ts'

/** The way of tensors from a GPU that this one cannot read. */
interface PinnedRoute {
  /** Of the other GPU. */
  stream: CUstream
  copied: CUevent
  /** Of this one: what was in the memory has been read. */
  read: CUevent
  memory: PinnedPointer
}

/** Brings tensors of other GPUs to this one: each once, straight where the two can, else through pinned memory. */
export class GpuTransfer {
  readonly #owner = new Owner()
  readonly #routes = new Map<number, PinnedRoute>()

  /** @param largest - bytes of the largest tensor that will come */
  constructor(
    readonly gpu: StepGpu,
    readonly largest: number,
  ) {}

  /**
   * Puts a copy on a stream of this GPU, after the tensor's producer has filled it. @throws {NativeError}
   * @param bytes - of the tensor, from its beginning
   */
  copy(to: DevicePointer, from: DeviceTensor, bytes: number, stream: CUstream): void {
    waitForEvent(stream, from.ready)
    if (from.direct) {
      copyPeer(to, this.gpu.context, from.pointer, from.context, bytes, stream)
      this.gpu.copied('peer', bytes)
      return
    }
    const route = this.#route(from)
    this.#on(from, () => {
      waitForEvent(route.stream, from.ready)
      waitForEvent(route.stream, route.read)
      download(route.memory, from.pointer, bytes, route.stream)
      recordEvent(route.copied, route.stream)
    })
    waitForEvent(stream, route.copied)
    upload(to, route.memory, bytes, stream)
    recordEvent(route.read, stream)
    this.gpu.copied('pinned', bytes)
  }

  #route(from: DeviceTensor): PinnedRoute {
    const known = this.#routes.get(from.context.index)
    if (known) return known
    const elsewhere = <T>(made: T, free: (made: T) => void): T =>
      this.#owner.own(made, m => this.#on(from, () => free(m)))
    const memory = this.#owner.own(allocatePinned(this.largest), freePinned)
    const read = this.#owner.own(createEvent('order'), destroyEvent)
    const route = this.#on(from, () => ({
      stream: elsewhere(createStream(), destroyStream),
      copied: elsewhere(createEvent('order'), destroyEvent),
      read,
      memory,
    }))
    this.#routes.set(from.context.index, route)
    return route
  }

  /** Does something with the other GPU as this thread's. */
  #on<T>({ context }: DeviceTensor, work: () => T): T {
    makeCurrent(context)
    try {
      return work()
    } finally {
      makeCurrent(this.gpu.context)
    }
  }

  /** The streams that copies were put on must be idle. */
  close(): void {
    try {
      for (const { read } of this.#routes.values()) synchronizeEvent(read)
    } finally {
      this.#owner.close()
    }
  }
}
