import { Kernel, loadModule, unloadModule } from '../../../ffi/cuda/module.ts'
import { Owner } from '../../../ffi/cuda/owner.ts'
import type { CUstream, DevicePointer } from '../../../ffi/cuda/types.ts'
import {
  ARRANGE,
  ARRANGE_BLOCK,
  arrangeGrid,
  FROM_HALF,
  LINEAR,
  LINEAR_BLOCK,
  linearGrid,
  NETWORK_PTX,
  PICK,
  PICK_BLOCK,
  PIECE_BYTES,
  POOL,
  POOL_BLOCK,
  pickGrid,
  poolGrid,
  TO_HALF,
} from '../../../kernels/network.ts'
import { BYTES, type ClipLayout, placesOf, type Strides } from './layout.ts'

/** The kernels of network.ptx on this thread's device, each put on a stream. */
export class NetworkKernels {
  readonly #owner = new Owner()
  readonly #arrange: Kernel<typeof ARRANGE>
  readonly #pick: Kernel<typeof PICK>
  readonly #pool: Kernel<typeof POOL>
  readonly #linear: Kernel<typeof LINEAR>
  readonly #stride = new Uint8Array(new ArrayBuffer(8))
  readonly #strideView = new DataView(this.#stride.buffer)

  /** @throws {NativeError} if the driver does not compile them */
  constructor() {
    const module = this.#owner.own(loadModule(NETWORK_PTX), unloadModule)
    this.#arrange = new Kernel(module, 'arrange', ARRANGE)
    this.#pick = new Kernel(module, 'pick', PICK)
    this.#pool = new Kernel(module, 'pool', POOL)
    this.#linear = new Kernel(module, 'linear', LINEAR)
  }

  /** Writes `clips` clips of a layout, from any order of axes. @throws {NativeError} */
  arrange(
    from: DevicePointer,
    fromType: 'f16' | 'f32',
    strides: Strides,
    to: DevicePointer,
    layout: ClipLayout,
    clips: number,
    stream: CUstream,
  ): void {
    const { channels, padded, frames, height, width, type } = layout
    this.#strideView.setBigUint64(0, BigInt(strides.clip), true)
    this.#arrange.launch(
      arrangeGrid(placesOf(layout), padded, clips),
      ARRANGE_BLOCK,
      0,
      stream,
      from,
      to,
      channels,
      padded,
      frames,
      height,
      width,
      (fromType === 'f16' ? FROM_HALF : 0) | (type === 'f16' ? TO_HALF : 0),
      this.#stride,
      strides.channel,
      strides.frame,
      strides.row,
      strides.column,
    )
  }

  /** Writes the places of `from` at steps along frames, rows and columns. @throws {NativeError} */
  pick(
    from: DevicePointer,
    fromLayout: ClipLayout,
    step: readonly [number, number, number],
    to: DevicePointer,
    layout: ClipLayout,
    clips: number,
    stream: CUstream,
  ): void {
    const { frames, height, width, padded, type } = layout
    const pieces = (padded * BYTES[type]) / PIECE_BYTES
    const row = fromLayout.width * pieces
    const frame = fromLayout.height * row
    this.#pick.launch(
      pickGrid(placesOf(layout), pieces, clips),
      PICK_BLOCK,
      0,
      stream,
      from,
      to,
      pieces,
      frames,
      height,
      width,
      fromLayout.frames * frame,
      step[0] * frame,
      step[1] * row,
      step[2] * pieces,
    )
  }

  /** Means over places, [clips, padded] in float32. @throws {NativeError} */
  pool(from: DevicePointer, layout: ClipLayout, to: DevicePointer, clips: number, stream: CUstream): void {
    const { padded, type } = layout
    const half = type === 'f16' ? 1 : 0
    this.#pool.launch(
      poolGrid(padded, clips),
      POOL_BLOCK,
      0,
      stream,
      from,
      to,
      placesOf(layout),
      padded,
      half,
    )
  }

  /** Logits [clips, classes] of pooled features, all in float32. @throws {NativeError} */
  linear(
    from: DevicePointer,
    padded: number,
    weight: DevicePointer,
    bias: DevicePointer,
    to: DevicePointer,
    classes: number,
    clips: number,
    stream: CUstream,
  ): void {
    this.#linear.launch(
      linearGrid(classes, clips),
      LINEAR_BLOCK,
      0,
      stream,
      from,
      weight,
      bias,
      to,
      padded,
      classes,
    )
  }

  close(): void {
    this.#owner.close()
  }
}
