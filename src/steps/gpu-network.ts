import { toArrayBuffer } from 'bun:ffi'
import { allocate, allocatePinned, download, free, freePinned } from '../../ffi/cuda/memory.ts'
import { Owner } from '../../ffi/cuda/owner.ts'
import { createEvent, destroyEvent, recordEvent, synchronizeEvent } from '../../ffi/cuda/stream.ts'
import type { CUevent, DevicePointer, PinnedPointer } from '../../ffi/cuda/types.ts'
import { createCudaExecutor } from '../compute/cuda/create.ts'
import type { CudaExecutor } from '../compute/cuda/executor.ts'
import type { Item } from '../queue/item.ts'
import { elements, type TensorSpec, tensorBytes } from '../queue/tensor.ts'
import { Gatherer } from './gpu-gatherer.ts'
import type { NetworkOptions } from './network.ts'
import type { Emit, StepContext, StepInstance } from './step.ts'

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
  const { network } = settings
  const create = () =>
    createCudaExecutor({
      network,
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
  const { executor, note, warning } = gpu!.alone(create)
  context.remark(`step ${context.step} (layers ${options.start_index} to ${options.end_index}): ${note}`)
  gpu!.graphs?.(executor.parts())
  if (warning !== undefined) context.warn(`${context.name}: ${warning}`)
  return executor
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
    const { stream, copied } = this.context.gpu!
    download(readback.pinned, readback.device, bytes, stream)
    copied('download', bytes)
    recordEvent(readback.arrived, stream)
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
    // The slots that it would wait for may be those of batches under way.
    if (!this.context.hasRoom()) this.#readback?.settle(emit)
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
