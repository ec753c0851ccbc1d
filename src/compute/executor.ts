import type { Network } from '../../models/network.ts'

/** What an executor is made for: layers `startIndex` to `endIndex` of a network, for clips of one size. */
export interface ExecutorOptions {
  network: Network
  /** 1 to 5, both ends included. */
  startIndex: number
  endIndex: number
  /** Frames of a clip, and its height and width in pixels, as they enter layer 1. */
  frames: number
  size: number
  /** The most clips in one call. */
  maxClips: number
  /** CPU threads that it may use. */
  threads: number
}

/** Runs layers of a network on one device, one call at a time, from one thread. */
export interface NetworkExecutor {
  /** [clips, channels, frames, height, width] of what goes in. */
  inputShape(clips: number): number[]
  /** The same of what comes out: [clips, classes] after layer 5. */
  outputShape(clips: number): number[]
  /**
   * Runs 1 to `maxClips` clips. Reads and writes the views in place: memory of a SharedArrayBuffer will do.
   * @throws {RangeError} if the clips are out of range, or a view is smaller than their shape
   * @throws {NativeError} if the library fails
   */
  run(input: Float32Array, clips: number, output: Float32Array): void
  close(): void
}
