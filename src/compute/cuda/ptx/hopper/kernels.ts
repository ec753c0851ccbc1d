import { driverNumber } from '../../../../../ffi/cuda/driver.ts'
import { Kernel, loadModule, unloadModule } from '../../../../../ffi/cuda/module.ts'
import { Owner } from '../../../../../ffi/cuda/owner.ts'
import { im2colMap, type MappedTensor, tiledMap, type Visits } from '../../../../../ffi/cuda/tensor-map.ts'
import type { CUstream, DevicePointer } from '../../../../../ffi/cuda/types.ts'
import { CONVOLUTION_PARAMETERS, convolutionPtx } from '../../../../../kernels/hopper/convolution.ts'
import { CHUNK } from '../../../../../kernels/hopper/parts.ts'
import { type ConvolutionPlan, STEM_PIXELS } from '../../../../../kernels/hopper/plan.ts'
import { type HopperChoice, type HopperProblem, tilesOf } from './choose.ts'
import { framePlaces, type Lying, pitchOf } from './places.ts'

/** Where a convolution's operands and its output lie. */
export interface HopperMemory {
  readonly input: DevicePointer
  readonly weights: DevicePointer
  readonly bias: DevicePointer
  readonly residual?: DevicePointer
}

/** A map of the input, as the driver is asked for it. */
export type InputMap =
  | { readonly kind: 'tiled'; readonly tensor: Omit<MappedTensor, 'at'>; readonly box: readonly number[] }
  | { readonly kind: 'im2col'; readonly tensor: Omit<MappedTensor, 'at'>; readonly visits: Visits }

/** The map through which a kernel reads its input. */
export function mapOf({ plan }: HopperChoice, problem: HopperProblem, clips: number): InputMap {
  const { load } = plan.kernel
  const { from } = problem
  const { height, width } = pitchOf(from)
  const place = 2 * from.padded
  const frame = place * height * width
  if (load.mode === 'stem') {
    // Pairs of columns, and which of a pair: odd columns and even ones come as rows of their own.
    const sizes = [from.padded, width / 2, 2, height, clips * from.frames]
    const strides = [2 * place, place, place * width, frame]
    const box = [from.padded, STEM_PIXELS, 2, plan.boxRows, 1]
    return { kind: 'tiled', tensor: { sizes, strides, swizzle: 'none' }, box }
  }
  if (load.mode === 'shift') {
    const sizes = [from.padded, clips * from.frames * height * width]
    const box = [CHUNK, plan.boxRows]
    return { kind: 'tiled', tensor: { sizes, strides: [place], swizzle: 'bytes128' }, box }
  }
  if (load.mode === 'frames') {
    const sizes = [from.padded, height * width, from.frames, clips]
    const strides = [place, frame, frame * from.frames]
    const box = [CHUNK, load.places, from.frames + 2, 1]
    return { kind: 'tiled', tensor: { sizes, strides, swizzle: 'bytes128' }, box }
  }
  const { stride, padding, size } = load
  // The last place of the box along each axis: where the output's last place begins.
  const upper = [from.frames, height, width].map(
    (length, axis) => (size[axis]! - 1) * stride[axis]! - padding[axis]! - (length - 1),
  )
  const reversed = (values: readonly number[]): number[] => [...values].reverse()
  return {
    kind: 'im2col',
    tensor: {
      sizes: [from.padded, width, height, from.frames, clips],
      strides: [place, place * width, frame, frame * from.frames],
      swizzle: 'bytes128',
    },
    visits: {
      lower: reversed(padding.map(p => -p)),
      upper: reversed(upper),
      steps: [1, ...reversed(stride), 1],
      channels: CHUNK,
      places: plan.boxRows,
    },
  }
}

/** @throws {NativeError} if the driver does not take it */
const encode = (map: InputMap, at: DevicePointer): Uint8Array =>
  map.kind === 'tiled'
    ? tiledMap({ ...map.tensor, at }, map.box)
    : im2colMap({ ...map.tensor, at }, map.visits)

/** What a launch for so many clips takes beside memory. */
export function launchSize(
  { plan }: HopperChoice,
  { to }: HopperProblem,
  clips: number,
  multiprocessors: number,
): { blocks: number; rows: number; tiles: number } {
  const { split } = plan.kernel
  const counted: Lying = { ...to, pad: 1 }
  const tiles = tilesOf(plan, to, clips)
  const blocks = split > 1 ? tiles * split : Math.min(tiles, multiprocessors)
  return { blocks, rows: clips * counted.frames * framePlaces(counted), tiles }
}

/** The first driver (CUDA 12.3) whose graphs know kernels that begin before those before them have ended. */
const EARLY_DRIVER = 12030

const keyOf = ({ kernel }: ConvolutionPlan): string => JSON.stringify(kernel)

/** The kernels of kernels/hopper on this thread's device, each compiled when it is first wanted. */
export class HopperKernels {
  readonly #owner = new Owner()
  readonly #kernels = new Map<string, Kernel<typeof CONVOLUTION_PARAMETERS>>()

  readonly #launch: 'launch' | 'launchEarly'

  constructor(
    readonly stream: CUstream,
    readonly multiprocessors: number,
  ) {
    this.#launch = driverNumber() >= EARLY_DRIVER ? 'launchEarly' : 'launch'
  }

  has(plan: ConvolutionPlan): boolean {
    return this.#kernels.has(keyOf(plan))
  }

  /** @throws {NativeError} with the compiler's words */
  load(plan: ConvolutionPlan): Kernel<typeof CONVOLUTION_PARAMETERS> {
    const key = keyOf(plan)
    let kernel = this.#kernels.get(key)
    if (!kernel) {
      const module = this.#owner.own(loadModule(convolutionPtx(plan.kernel)), unloadModule)
      kernel = new Kernel(module, plan.kernel.name, CONVOLUTION_PARAMETERS)
      kernel.allowSharedMemory(plan.sharedBytes)
      this.#kernels.set(key, kernel)
    }
    return kernel
  }

  /**
   * A convolution for so many clips, ready to be put on the stream.
   * @throws {NativeError} if the driver does not take the kernel or the map
   */
  bind(
    choice: HopperChoice,
    problem: HopperProblem,
    clips: number,
    memory: HopperMemory,
  ): (output: DevicePointer) => void {
    const { plan } = choice
    const kernel = this.load(plan)
    const map = encode(mapOf(choice, problem, clips), memory.input)
    const { blocks, rows, tiles } = launchSize(choice, problem, clips, this.multiprocessors)
    return output =>
      kernel[this.#launch](
        [blocks, 1, 1],
        [plan.threads, 1, 1],
        plan.sharedBytes,
        this.stream,
        map,
        memory.weights,
        memory.bias,
        memory.residual ?? 0,
        output,
        rows,
        tiles,
      )
  }

  close(): void {
    this.#owner.close()
  }
}
