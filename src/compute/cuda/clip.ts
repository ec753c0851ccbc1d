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

  /** @throws {NativeError} if the driver does not compile it */
  constructor() {
    const module = this.#owner.own(loadModule(CLIP_PTX), unloadModule)
    this.#kernel = new Kernel(module, CLIP_ENTRY, [{ bytes: CLIP_PARAMETER_BYTES }])
  }

  /**
   * Puts frames of one kind on the stream, up to 16 a launch. They must stay until the stream has come past it.
   * @throws {NativeError}
   */
  launch(parameters: ClipParameters, places: readonly ClipPlace[], stream: CUstream): void {
    writeClipParameters(this.#view, parameters)
    for (let first = 0; first < places.length; first += CLIP_FRAMES) {
      const batch = places.slice(first, first + CLIP_FRAMES)
      batch.forEach((place, i) => {
        writeClipPlace(this.#view, i, place)
      })
      this.#kernel.launch(clipGrid(parameters.size, batch.length), CLIP_BLOCK, 0, stream, this.#bytes)
    }
  }

  close(): void {
    this.#owner.close()
  }
}
