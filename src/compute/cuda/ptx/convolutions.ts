import { Kernel, loadModule, unloadModule } from '../../../../ffi/cuda/module.ts'
import { Owner } from '../../../../ffi/cuda/owner.ts'
import type { CUstream, DevicePointer } from '../../../../ffi/cuda/types.ts'
import {
  CONVOLUTION,
  CONVOLUTION_PARAMETERS,
  convolutionPtx,
} from '../../../../kernels/convolution/convolution.ts'
import {
  type ConvolutionProblem,
  convolutionGrid,
  convolutionNumbers,
  measures,
  reduceGrid,
  reduceNumbers,
} from '../../../../kernels/convolution/launch.ts'
import { REDUCE, REDUCE_BLOCK, REDUCE_PARAMETERS, reducePtx } from '../../../../kernels/convolution/reduce.ts'
import {
  type Arithmetic,
  type ConvolutionTile,
  tileName,
  tileSizes,
} from '../../../../kernels/convolution/tile.ts'
import type { Choice } from './choose.ts'

/** Memory of a convolution's tensors; bias in float32. */
export interface PtxMemory {
  readonly input: DevicePointer
  readonly filter: DevicePointer
  readonly bias: DevicePointer
  readonly residual?: DevicePointer
  readonly output: DevicePointer
}

const types = <T extends Readonly<Record<string, 'pointer' | 'u32'>>>(parameters: T) =>
  Object.values(parameters)

/** Values in the order of a table of parameters. */
const ordered = (parameters: object, values: Readonly<Record<string, number>>): number[] =>
  Object.keys(parameters).map(name => values[name]!)

/** Sums in float32 that a choice needs memory for. */
export function sumsBytes(problem: ConvolutionProblem, { tile, parts }: Choice): number {
  const { places, channels } = measures(problem, tile)
  return parts === 1 ? 0 : 4 * parts * places * channels
}

/** The kernels of kernels/convolution on this thread's device, each compiled when it is first wanted. */
export class PtxConvolutions {
  readonly #owner = new Owner()
  readonly #convolutions = new Map<ConvolutionTile, Kernel<('pointer' | 'u32')[]>>()
  readonly #reduces = new Map<Arithmetic, Kernel<('pointer' | 'u32')[]>>()

  constructor(readonly stream: CUstream) {}

  #load(ptx: string, entry: string, parameters: ('pointer' | 'u32')[]): Kernel<('pointer' | 'u32')[]> {
    return new Kernel(this.#owner.own(loadModule(ptx), unloadModule), entry, parameters)
  }

  #convolution(tile: ConvolutionTile): Kernel<('pointer' | 'u32')[]> {
    let kernel = this.#convolutions.get(tile)
    if (!kernel) {
      kernel = this.#load(convolutionPtx(tile), CONVOLUTION, types(CONVOLUTION_PARAMETERS))
      kernel.allowSharedMemory(tileSizes(tile).shared)
      this.#convolutions.set(tile, kernel)
    }
    return kernel
  }

  #reduce(arithmetic: Arithmetic): Kernel<('pointer' | 'u32')[]> {
    let kernel = this.#reduces.get(arithmetic)
    if (!kernel) {
      kernel = this.#load(reducePtx(arithmetic), REDUCE, types(REDUCE_PARAMETERS))
      this.#reduces.set(arithmetic, kernel)
    }
    return kernel
  }

  /** Compiles what a choice needs. @throws {NativeError} with the compiler's words */
  load({ tile, parts }: Choice): void {
    this.#convolution(tile)
    if (parts > 1) this.#reduce(tile.arithmetic)
  }

  /**
   * Puts a convolution on the stream.
   * @param sums - memory of `sumsBytes`, if that is not 0
   * @throws {NativeError}, and {RangeError} for what is too large for the kernel
   */
  launch(problem: ConvolutionProblem, choice: Choice, memory: PtxMemory, sums: DevicePointer | 0): void {
    const { tile, parts } = choice
    const { stream } = this
    const numbers = convolutionNumbers(problem, tile, parts)
    const { places, channels } = numbers
    const residual = memory.residual ?? 0
    const output = parts === 1 ? memory.output : sums
    this.#convolution(tile).launch(
      convolutionGrid(numbers, tile, parts),
      [tileSizes(tile).threads, 1, 1],
      tileSizes(tile).shared,
      stream,
      ...ordered(CONVOLUTION_PARAMETERS, { ...memory, residual, output, ...numbers }),
    )
    if (parts === 1) return
    const joined = reduceNumbers(places, channels, parts, problem.relu)
    this.#reduce(tile.arithmetic).launch(
      reduceGrid(joined),
      [REDUCE_BLOCK, 1, 1],
      0,
      stream,
      ...ordered(REDUCE_PARAMETERS, { ...memory, residual, sums, ...joined }),
    )
  }

  close(): void {
    this.#owner.close()
  }
}

/** For reports: `mma 128 x 64`, `mma 64 x 64 in 8 parts`. */
export const choiceName = ({ tile, parts }: Choice): string =>
  parts === 1 ? tileName(tile) : `${tileName(tile)} in ${parts} parts`
