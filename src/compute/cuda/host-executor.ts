import { releaseContext, retainContext } from '../../../ffi/cuda/context.ts'
import { allocate, download, free, upload } from '../../../ffi/cuda/memory.ts'
import { Owner } from '../../../ffi/cuda/owner.ts'
import { createStream, destroyStream, synchronizeStream } from '../../../ffi/cuda/stream.ts'
import type { CUstream, DevicePointer } from '../../../ffi/cuda/types.ts'
import { cutShape } from '../../../models/shapes.ts'
import { elements } from '../../queue/tensor.ts'
import type { ExecutorOptions, NetworkExecutor } from '../executor.ts'
import type { Kernels } from './backend.ts'
import { createCudaExecutor } from './create.ts'
import type { CudaExecutor, ExecutorPlan } from './executor.ts'
import { type ClipLayout, clipBytes, type Precision, placesOf, planarStrides } from './layout.ts'

/** [clips, places, padded] -> [clips, channels, places]. */
function toPlanes(
  from: Float32Array | Float16Array,
  layout: ClipLayout,
  clips: number,
  to: Float32Array,
): void {
  const places = placesOf(layout)
  const { channels, padded } = layout
  for (let clip = 0; clip < clips; clip++)
    for (let place = 0; place < places; place++) {
      const source = (clip * places + place) * padded
      for (let channel = 0; channel < channels; channel++)
        to[(clip * channels + channel) * places + place] = from[source + channel]!
    }
}

/** Options of an executor on a GPU for tensors of the host. */
export interface CudaHostOptions extends Omit<ExecutorOptions, 'threads'> {
  /** As numbered under CUDA_VISIBLE_DEVICES. */
  readonly device: number
  readonly precision: Precision
  readonly kernels?: Kernels
  readonly counts?: ExecutorPlan['counts']
  readonly tries?: ExecutorPlan['tries']
}

/** Runs layers on a GPU for inputs and outputs in the host's memory, waiting for each batch. */
class HostExecutor implements NetworkExecutor {
  readonly #owner = new Owner()
  readonly #executor: CudaExecutor
  readonly #stream: CUstream
  readonly #staging: DevicePointer
  readonly #output: DevicePointer
  readonly #shapes: { input: number[]; output: number[] }
  #open = true

  constructor(readonly options: CudaHostOptions) {
    const { network, startIndex, endIndex, frames, size, maxClips } = options
    const clip = { frames, height: size, width: size }
    this.#shapes = {
      input: cutShape(network.architecture, startIndex - 1, clip),
      output: cutShape(network.architecture, endIndex, clip),
    }
    try {
      this.#owner.own(retainContext(options.device), releaseContext)
      this.#stream = this.#owner.own(createStream(), destroyStream)
      const { executor, warning } = createCudaExecutor({ ...options, stream: this.#stream })
      this.#executor = this.#owner.own(executor, e => e.close())
      // Nobody is there to be warned: what was asked for is what is tested.
      if (warning !== undefined) throw new Error(warning)
      const memory = (bytes: number, what: string) => {
        const purpose = { what: `${what} of ${maxClips} clips`, lower: 'the batch size (-b)' }
        return this.#owner.own(allocate(bytes, purpose), free)
      }
      this.#staging = memory(4 * maxClips * elements(this.#shapes.input), 'the input')
      this.#output = memory(maxClips * this.#executor.outputBytes, 'the output')
    } catch (error) {
      this.#owner.close()
      throw error
    }
  }

  inputShape(clips: number): number[] {
    return [clips, ...this.#shapes.input]
  }

  outputShape(clips: number): number[] {
    return [clips, ...this.#shapes.output]
  }

  run(input: Float32Array, clips: number, output: Float32Array): void {
    if (!this.#open) throw new Error('network: this executor is closed')
    const { maxClips } = this.options
    if (!Number.isInteger(clips) || clips < 1 || clips > maxClips)
      throw new RangeError(`network: ${clips} clips in a call that takes 1 to ${maxClips}`)
    const check = (what: string, memory: Float32Array, shape: number[]) => {
      const needed = elements(shape)
      if (memory.length < needed)
        throw new RangeError(
          `network: ${what} of ${clips} clips takes ${needed} floats, not ${memory.length}`,
        )
      return needed
    }
    const inputs = check('input', input, this.inputShape(clips))
    const outputs = check('output', output, this.outputShape(clips))
    const executor = this.#executor
    upload(this.#staging, input, 4 * inputs, this.#stream)
    executor.arrange(this.#staging, 'f32', planarStrides(executor.input), clips, 0)
    executor.launch(clips, this.#output)
    const layout = executor.output
    if ('classes' in layout) {
      download(output, this.#output, 4 * outputs, this.#stream)
      synchronizeStream(this.#stream)
      return
    }
    const bytes = clips * clipBytes(layout)
    const memory = new ArrayBuffer(bytes)
    const made = layout.type === 'f16' ? new Float16Array(memory) : new Float32Array(memory)
    download(made, this.#output, bytes, this.#stream)
    synchronizeStream(this.#stream)
    toPlanes(made, layout, clips, output)
  }

  close(): void {
    if (this.#open) this.#owner.close()
    this.#open = false
  }
}

/**
 * An executor with the interface of the CPU's, on a GPU: for steps whose tensors are in the host's memory, and for
 * tests. It retains the device's context for this thread.
 * @throws as `createCudaExecutor`
 */
export const createCudaHostExecutor = (options: CudaHostOptions): NetworkExecutor => new HostExecutor(options)
