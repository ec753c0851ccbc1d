import { ptr, toArrayBuffer } from 'bun:ffi'
import {
  allocate,
  allocatePinned,
  copyPeer,
  download,
  free,
  freePinned,
  upload,
} from '../../ffi/cuda/memory.ts'
import { Owner } from '../../ffi/cuda/owner.ts'
import { createEvent, destroyEvent, recordEvent, synchronizeEvent } from '../../ffi/cuda/stream.ts'
import { type CUevent, type DevicePointer, offset, type PinnedPointer } from '../../ffi/cuda/types.ts'
import { createCudaExecutor } from '../compute/cuda/create.ts'
import type { CudaExecutor } from '../compute/cuda/executor.ts'
import { planarStrides, steppedStrides } from '../compute/cuda/layout.ts'
import type { Item } from '../queue/item.ts'
import { elements, type TensorSpec, tensorBytes } from '../queue/tensor.ts'
import type { NetworkOptions } from './network.ts'
import type { Emit, StepContext, StepGpu, StepInstance } from './step.ts'

/** Where logits of one batch go on their way to the host. */
interface Readback {
  device: DevicePointer
  pinned: PinnedPointer
  view: Float32Array
  arrived: CUevent
}

/** A batch that the GPU works on. */
interface Pending {
  out: Item
  readback: Readback
}

/** Batches that are under way at the same time: while one is computed, the one before is read back. */
const DEPTH = 2

/** Layers of a network on this thread's GPU, for the inputs that a step was planned with. */
export function createGpuExecutor(context: StepContext, input: TensorSpec): CudaExecutor {
  const options = context.options as NetworkOptions
  const { settings, gpu } = context
  if (!settings.network) throw new Error(`${context.name}: the run has no network`)
  const { executor, note, warning } = createCudaExecutor({
    network: settings.network,
    startIndex: options.start_index,
    endIndex: options.end_index,
    frames: settings.clip.frames,
    size: settings.clip.size,
    maxClips: input.shape[0]! * context.batch,
    device: gpu!.context.index,
    stream: gpu!.stream,
    precision: options.precision,
    kernels: options.kernels,
  })
  context.remark(`step ${context.step} (${options.start_index} to ${options.end_index}): ${note}`)
  if (warning !== undefined) context.warn(`${context.name}: ${warning}`)
  return executor
}

/** Copies clips in the order of the executor's input, of its type or another, to the next batch. */
export function placeClips(
  executor: CudaExecutor,
  from: DevicePointer,
  type: TensorSpec['type'],
  clips: number,
  at: number,
): void {
  if (executor.input.type === type) executor.gather(from, clips, at)
  else executor.arrange(from, type, steppedStrides(executor.input, [1, 1, 1]), clips, at)
}

/** Logits from the GPU to slots in the host's memory, some batches behind. */
export class LogitsReadback {
  readonly #owner = new Owner()
  readonly #spare: Readback[] = []
  readonly #pending: Pending[] = []

  /** @param logits of the largest batch: [clips, classes] */
  constructor(
    readonly context: StepContext,
    logits: TensorSpec,
  ) {
    const bytes = tensorBytes(logits)
    const purpose = { what: `logits of ${context.name}`, lower: 'the batch size (-b)' }
    for (let i = 0; i < DEPTH; i++) {
      const pinned = this.#owner.own(allocatePinned(bytes), freePinned)
      this.#spare.push({
        device: this.#owner.own(allocate(bytes, purpose), free),
        pinned,
        view: new Float32Array(toArrayBuffer(pinned, 0, bytes)),
        arrived: this.#owner.own(createEvent('wait'), destroyEvent),
      })
    }
  }

  /** Where the next batch's logits go; finishes the oldest batch if too many are under way. */
  next(emit: Emit): Readback {
    if (this.#spare.length === 0) this.#finish(emit)
    return this.#spare.pop()!
  }

  /** The stream has been asked for the logits of `out`. */
  begin(out: Item, readback: Readback): void {
    const bytes = 4 * elements(out.tensors[0]!.shape)
    download(readback.pinned, readback.device, bytes, this.context.gpu!.stream)
    recordEvent(readback.arrived, this.context.gpu!.stream)
    this.#pending.push({ out, readback })
  }

  /** Waits for everything under way and emits it. */
  settle(emit: Emit): void {
    while (this.#pending.length > 0) this.#finish(emit)
  }

  #finish(emit: Emit): void {
    const { out, readback } = this.#pending.shift()!
    synchronizeEvent(readback.arrived)
    const logits = this.context.view(out, 0)
    logits.set(readback.view.subarray(0, logits.length))
    this.#spare.push(readback)
    emit(out)
  }

  close(): void {
    this.#owner.close()
  }
}

/** Puts items' clips together in an executor's input, from wherever they lie. */
class Gatherer {
  readonly #owner = new Owner()
  /** For clips that come from the host, or from another GPU. */
  #staging: { memory: DevicePointer; bytes: number } | undefined

  constructor(
    readonly context: StepContext,
    readonly gpu: StepGpu,
    readonly executor: CudaExecutor,
    readonly input: TensorSpec,
  ) {}

  gather(items: readonly Item[]): void {
    let at = 0
    for (const item of items) {
      const clips = item.tensors[0]!.shape[0]!
      if (this.input.memory === 'device') this.#fromDevice(item, clips, at)
      else this.#fromHost(item, clips, at)
      at += clips
    }
  }

  #fromDevice(item: Item, clips: number, at: number): void {
    const { pointer, context } = this.gpu.address(item, 0)
    const bytes = tensorBytes({ ...this.input, shape: item.tensors[0]!.shape })
    let from = pointer
    if (context.index !== this.gpu.context.index) {
      from = offset(this.#stage(), (bytes / clips) * at)
      copyPeer(from, this.gpu.context, pointer, context, bytes, this.gpu.stream)
    }
    placeClips(this.executor, from, this.input.type, clips, at)
  }

  #fromHost(item: Item, clips: number, at: number): void {
    const view = this.context.view(item, 0)
    const to = offset(this.#stage(), (view.byteLength / clips) * at)
    // Memory that is not page-locked has been read when this returns: the slot may be filled again.
    upload(to, ptr(view), view.byteLength, this.gpu.stream)
    this.executor.arrange(to, 'f32', planarStrides(this.executor.input), clips, at)
  }

  #stage(): DevicePointer {
    if (!this.#staging) {
      const bytes = tensorBytes(this.input) * this.context.batch
      const purpose = { what: `clips on their way to ${this.context.name}`, lower: 'the batch size (-b)' }
      this.#staging = { memory: this.#owner.own(allocate(bytes, purpose), free), bytes }
    }
    return this.#staging.memory
  }

  close(): void {
    this.#owner.close()
  }
}

/** A network step on a GPU: logits to the host, or features to slots on the GPU. */
export class GpuNetwork implements StepInstance {
  readonly #executor: CudaExecutor
  readonly #gatherer: Gatherer
  readonly #readback: LogitsReadback | undefined

  constructor(readonly context: StepContext) {
    const input = context.inputs[0]!
    const output = context.outputs[0]!
    this.#executor = createGpuExecutor(context, input)
    this.#gatherer = new Gatherer(context, context.gpu!, this.#executor, input)
    if (output.memory !== 'device') this.#readback = new LogitsReadback(context, output)
  }

  run(items: readonly Item[], emit: Emit): void {
    const shares = items.flatMap(item => item.shares)
    const clips = items.reduce((sum, item) => sum + item.tensors[0]!.shape[0]!, 0)
    const out: Item = { shares, ...this.context.allocate(clips), values: items.flatMap(item => item.values) }
    const readback = this.#readback?.next(emit)
    this.#gatherer.gather(items)
    if (readback) {
      this.#executor.launch(clips, readback.device)
      this.#readback!.begin(out, readback)
    } else {
      this.#executor.launch(clips, this.context.gpu!.address(out, 0).pointer)
      emit(out)
    }
  }

  settle(emit: Emit): void {
    this.#readback?.settle(emit)
  }

  close(): void {
    this.#readback?.close()
    this.#gatherer.close()
    this.#executor.close()
  }
}
