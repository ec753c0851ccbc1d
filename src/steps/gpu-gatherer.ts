import { allocate, free, upload } from '../../ffi/cuda/memory.ts'
import { Owner } from '../../ffi/cuda/owner.ts'
import {
  createEvent,
  createStream,
  destroyEvent,
  destroyStream,
  recordEvent,
  synchronizeStream,
  waitForEvent,
} from '../../ffi/cuda/stream.ts'
import { type CUevent, type CUstream, type DevicePointer, offset } from '../../ffi/cuda/types.ts'
import type { CudaExecutor } from '../compute/cuda/executor.ts'
import { clipBytes, planarStrides, steppedStrides } from '../compute/cuda/layout.ts'
import type { Item } from '../queue/item.ts'
import { type TensorSpec, tensorBytes } from '../queue/tensor.ts'
import { GpuTransfer } from './gpu-transfer.ts'
import type { DeviceTensor, StepContext, StepGpu } from './step.ts'

/** Copies clips in the order of the executor's input, of its type or another, to the next batch. */
export function placeClips(
  gpu: StepGpu,
  executor: CudaExecutor,
  from: DevicePointer,
  type: TensorSpec['type'],
  clips: number,
  at: number,
): void {
  if (executor.input.type === type) executor.gather(from, clips, at)
  else executor.arrange(from, type, steppedStrides(executor.input, [1, 1, 1]), clips, at)
  gpu.copied('gather', clips * clipBytes(executor.input))
}

/** Memory for a batch's clips from elsewhere, before they are put in place. */
interface Stage {
  memory: DevicePointer
  /** The clips are there. */
  filled: CUevent
  /** They have been put in place. */
  read: CUevent
}

/** Stages for clips of other GPUs: while one is read, the next batch's clips come in. */
const STAGES = 2

/** Clips on their way from other GPUs, on a stream of their own: they need not wait for the network. */
class Arrivals {
  readonly #owner = new Owner()
  readonly #stream: CUstream
  readonly #transfer: GpuTransfer
  readonly #stages: Stage[]
  #next = 0

  /** @param largest - bytes of one item's tensor */
  constructor(
    readonly gpu: StepGpu,
    largest: number,
    allocateStage: (owner: Owner) => DevicePointer,
  ) {
    this.#stream = this.#owner.own(createStream(), destroyStream)
    this.#transfer = this.#owner.own(new GpuTransfer(gpu, largest), made => made.close())
    this.#stages = Array.from({ length: STAGES }, () => ({
      memory: allocateStage(this.#owner),
      filled: this.#owner.own(createEvent('order'), destroyEvent),
      read: this.#owner.own(createEvent('order'), destroyEvent),
    }))
  }

  /** Memory for a batch. */
  begin(): Stage {
    const stage = this.#stages[this.#next++ % STAGES]!
    waitForEvent(this.#stream, stage.read)
    return stage
  }

  bring(to: DevicePointer, from: DeviceTensor, bytes: number): void {
    this.#transfer.copy(to, from, bytes, this.#stream)
  }

  /** What the step's stream is asked from now on finds the batch there. */
  end({ filled }: Stage): void {
    recordEvent(filled, this.#stream)
    waitForEvent(this.gpu.stream, filled)
  }

  close(): void {
    try {
      synchronizeStream(this.#stream)
    } finally {
      this.#owner.close()
    }
  }
}

/** Puts items' clips together in an executor's input, from wherever they lie. */
export class Gatherer {
  readonly #owner = new Owner()
  /** For clips that come from the host. */
  #uploaded: DevicePointer | undefined
  #arrivals: Arrivals | undefined

  constructor(
    readonly context: StepContext,
    readonly gpu: StepGpu,
    readonly executor: CudaExecutor,
    readonly input: TensorSpec,
  ) {}

  /** @throws {NativeError} */
  gather(items: readonly Item[]): void {
    if (this.input.memory === 'device') this.#fromDevices(items)
    else this.#fromHost(items)
  }

  #fromDevices(items: readonly Item[]): void {
    const tensors = items.map(item => this.gpu.address(item, 0))
    const clips = items.map(item => item.tensors[0]!.shape[0]!)
    const firsts = clips.map((_, i) => clips.slice(0, i).reduce((sum, count) => sum + count, 0))
    const { index } = this.gpu.context
    const isElsewhere = ({ context }: DeviceTensor) => context.index !== index
    const places = tensors.map(({ pointer }) => pointer)
    const arrivals = tensors.some(isElsewhere) ? this.#arriving() : undefined
    const stage = arrivals?.begin()
    if (arrivals && stage) {
      const row = tensorBytes({ ...this.input, shape: [1, ...this.input.shape.slice(1)] })
      tensors.forEach((tensor, i) => {
        if (!isElsewhere(tensor)) return
        places[i] = offset(stage.memory, row * firsts[i]!)
        arrivals.bring(places[i], tensor, row * clips[i]!)
      })
      arrivals.end(stage)
    }
    places.forEach((place, i) => {
      placeClips(this.gpu, this.executor, place, this.input.type, clips[i]!, firsts[i]!)
    })
    if (stage) recordEvent(stage.read, this.gpu.stream)
  }

  #fromHost(items: readonly Item[]): void {
    this.#uploaded ??= this.#allocate(this.#owner)
    const to = this.#uploaded
    let at = 0
    let bytes = 0
    for (const item of items) {
      const clips = item.tensors[0]!.shape[0]!
      const view = this.context.view(item, 0)
      // Memory that is not page-locked has been read when this returns: the slot may be filled again.
      upload(offset(to, bytes), view, view.byteLength, this.gpu.stream)
      this.gpu.copied('upload', view.byteLength)
      this.executor.arrange(offset(to, bytes), 'f32', planarStrides(this.executor.input), clips, at)
      this.gpu.copied('gather', clips * clipBytes(this.executor.input))
      at += clips
      bytes += view.byteLength
    }
  }

  #arriving(): Arrivals {
    this.#arrivals ??= this.#owner.own(
      new Arrivals(this.gpu, tensorBytes(this.input), owner => this.#allocate(owner)),
      made => made.close(),
    )
    return this.#arrivals
  }

  /** Room for a batch as it arrives. */
  #allocate(owner: Owner): DevicePointer {
    const bytes = tensorBytes(this.input) * this.context.batch
    const purpose = { what: `clips on their way to ${this.context.name}`, lower: 'the batch size (-b)' }
    return owner.own(allocate(bytes, purpose), free)
  }

  close(): void {
    this.#owner.close()
  }
}
