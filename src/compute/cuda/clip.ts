import { Kernel, loadModule, unloadModule } from '../../../ffi/cuda/module.ts'
import { Owner } from '../../../ffi/cuda/owner.ts'
import type { CUstream } from '../../../ffi/cuda/types.ts'
import {
  CLIP_BLOCK,
  CLIP_ENTRY,
  CLIP_FRAMES,
  CLIP_PARAMETER_BYTES,
  CLIP_PTX,
  type ClipParameters,
  type ClipPlace,
  clipGrid,
  writeClipParameters,
  writeClipPlace,
} from '../../../kernels/clip.ts'

/** The kernel that turns decoded frames into clip tensors, on this thread's device. */
export class ClipKernel {
  readonly #owner = new Owner()
  readonly #kernel: Kernel<readonly [{ readonly bytes: typeof CLIP_PARAMETER_BYTES }]>
  readonly #bytes = new Uint8Array(new ArrayBuffer(CLIP_PARAMETER_BYTES))
  readonly #view = new DataView(this.#bytes.buffer)
  /** What `#bytes` holds of the frames of a launch. */
  #written: ClipParameters | undefined

  /** @throws {NativeError} if the driver does not compile it */
  constructor() {
    const module = this.#owner.own(loadModule(CLIP_PTX), unloadModule)
    this.#kernel = new Kernel(module, CLIP_ENTRY, [{ bytes: CLIP_PARAMETER_BYTES }])
  }

  /**
   * Puts frames of one kind on the stream, up to 16 a launch. They must stay until the stream has come past it.
   * @param parameters an object that is never changed: the same one is written once
   * @throws {NativeError}
   */
  launch(parameters: ClipParameters, places: readonly ClipPlace[], stream: CUstream): void {
    if (parameters !== this.#written) writeClipParameters(this.#view, parameters)
    this.#written = parameters
    for (let first = 0; first < places.length; first += CLIP_FRAMES) {
      const count = Math.min(CLIP_FRAMES, places.length - first)
      for (let i = 0; i < count; i++) writeClipPlace(this.#view, i, places[first + i]!)
      this.#kernel.launch(clipGrid(parameters.size, count), CLIP_BLOCK, 0, stream, this.#bytes)
    }
  }

  close(): void {
    this.#owner.close()
  }
}
