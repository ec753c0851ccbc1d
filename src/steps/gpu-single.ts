import { allocate, free } from '../../ffi/cuda/memory.ts'
import type { DevicePointer } from '../../ffi/cuda/types.ts'
import type { CudaExecutor } from '../compute/cuda/executor.ts'
import type { Item } from '../queue/item.ts'
import { type TensorSpec, tensorBytes } from '../queue/tensor.ts'
import type { ClipOptions } from './clip-options.ts'
import { loadClips } from './clips.ts'
import { gpuClipShape } from './gpu-clips.ts'
import { placeClips } from './gpu-gatherer.ts'
import { GpuReader } from './gpu-loader.ts'
import { createGpuExecutor, LogitsReadback } from './gpu-network.ts'
import type { Emit, StepContext, StepInstance } from './step.ts'

/** Loader and network in one step on a GPU: nothing overlaps, as in RnB. */
export class GpuSingle implements StepInstance {
  readonly #reader: GpuReader
  readonly #executor: CudaExecutor
  readonly #readback: LogitsReadback
  readonly #clips: DevicePointer

  constructor(readonly context: StepContext) {
    const options = context.options as ClipOptions
    const clips: TensorSpec = { shape: gpuClipShape(options), type: 'f16', memory: 'device' }
    this.#reader = new GpuReader(options, context.gpu!, true)
    this.#executor = createGpuExecutor(context, clips)
    this.#readback = new LogitsReadback(context, context.outputs[0]!)
    const purpose = { what: `clips of ${context.name}`, lower: 'num_clips_population' }
    this.#clips = allocate(tensorBytes(clips), purpose)
  }

  warmUp(): Promise<void> {
    return this.#reader.warmUp(this.context)
  }

  async run(items: readonly Item[], emit: Emit): Promise<void> {
    for (const item of items)
      await loadClips(
        this.context,
        item,
        out => this.#classify(out, emit),
        (video, clips) => this.#reader.read(video, clips, this.#clips),
      )
  }

  #classify(out: Item, emit: Emit): void {
    const clips = out.tensors[0]!.shape[0]!
    const readback = this.#readback.next(emit)
    placeClips(this.context.gpu!, this.#executor, this.#clips, 'f16', clips, 0)
    this.#executor.launch(clips, readback.device)
    this.#readback.begin(out, readback)
    this.#readback.settle(emit)
  }

  close(): void {
    this.#reader.close()
    this.#readback.close()
    this.#executor.close()
    free(this.#clips)
  }
}
