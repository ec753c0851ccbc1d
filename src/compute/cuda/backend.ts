import type { Owner } from '../../../ffi/cuda/owner.ts'
import type { CUstream, DevicePointer } from '../../../ffi/cuda/types.ts'
import type { Precision } from './layout.ts'
import type { Program } from './program.ts'

/**
 * The seam between the executor and the ways to compute a network's convolutions.
 *
 * The executor makes the program (operations, and the values between them), gives every value a place in the device's
 * memory, captures what a backend gives back as one graph for each number of clips, and launches it. A backend decides
 * everything in between: how weights are packed, how many channels of padding inner values have, which kernels run, and
 * which operations one kernel does together.
 *
 * What holds for every backend:
 * - Values are [clips, frames, height, width, padded channels], dense, in the type of the precision. Whoever writes a
 *   value writes all of its padded channels, zero beyond the real ones, and may rely on that where it reads.
 * - A value's memory holds what was written only from the operation that makes it to the last that uses it (see
 *   `lifetimes`): afterwards another value lies there. A backend that does operations together keeps within that: what
 *   it writes at the last of them must not lie over what it still reads of the first, which holds for consecutive
 *   operations if it takes `lifetimes` with them joined (see `joined`).
 * - A value that only operations done together use need not be written at all.
 * - The same input gives the same bits, run after run.
 */
export interface ConvolutionBackend {
  /** How it appears in configurations and summaries. */
  readonly name: Kernels
  /**
   * Whether it keeps the values between the program's input and output in memory of its own, in layouts of its own: then
   * the executor gives none to them, and `at` knows the input, the output and `pooled` alone.
   */
  readonly keepsValues?: boolean
  /**
   * Channels to store for a value that has so many: a multiple of 8, the same in all calls. It is asked for values
   * between the factors of a convolution and other inner ones; the program's input and output, and values of residuals
   * with those that they are added to, always have the channels of `clipLayout`.
   */
  paddedChannels(channels: number): number
  /**
   * Operations that it does together for some number of clips, as ranges of indices `[first, last]` of the program's;
   * none overlap. Their inputs and outputs then never share memory.
   */
  joined(program: Program): readonly (readonly [first: number, last: number])[]
  /**
   * Makes all numbers of clips ready, weights in memory included. The input's value holds something like clips, so that
   * measuring is possible; all else holds NaN. The stream need not be idle when this returns.
   * @throws {NativeError} such as of memory that is short, and whatever else makes this backend impossible here
   */
  prepare(on: BackendContext): ReadonlyMap<number, Launches>
  /** Frees all but the memory that `reserve` gave, when the stream is idle; also after `prepare` has failed. */
  close(): void
}

/** What computes convolutions: cuDNN's engines, or kernels of kernels/. */
export type Kernels = 'cudnn' | 'ptx'

/** What a backend works on. This thread's context is that of the device. */
export interface BackendContext {
  readonly program: Program
  readonly precision: Precision
  readonly stream: CUstream
  /** Numbers of clips to make ready, ascending, the largest last. */
  readonly counts: readonly number[]
  /** The most ways to measure for a convolution. */
  readonly tries: number
  /** Where a value lies (the first of its clips), for all numbers of clips. */
  at(value: string): DevicePointer
  /**
   * Memory of the device aligned to 256 bytes, with whatever is in it, until the executor closes (or `owner`, if that is
   * given).
   * @throws {NativeError} which says what it was for, and what to lower
   */
  reserve(bytes: number, what: string, owner?: Owner): DevicePointer
}

/** A piece of work that can be put on the stream again and again, with the same addresses. */
export interface Launch {
  /** The convolution's name; joined with ` + ` where several are done together. */
  readonly name: string
  /** For reports: `engine 57`, `mma 128 x 64`. */
  readonly how: string
  /** Microseconds of one run, if it was measured. */
  readonly us?: number
  /** Puts it on the stream; must be possible while that is captured: launches, copies and fills only. */
  run(): void
}

/** The last piece, whose output is elsewhere each time: it is never part of the graph. */
export interface LastLaunch extends Omit<Launch, 'run'> {
  /** @param output - for as many clips as the graph makes: features of the output's layout, or logits in float32 */
  run(output: DevicePointer): void
}

/** All that a program does for one number of clips, from the input's value to the output. */
export interface Launches {
  readonly inner: readonly Launch[]
  readonly last: LastLaunch
}
