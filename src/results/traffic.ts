/**
 * Ways that tensors are moved. `gather`: within a GPU, to where a batch is put together. `peer`: from one GPU straight
 * into another's memory. `pinned`: from one to another by way of page-locked memory of the host. `upload` and
 * `download`: from the host to a GPU, and back.
 */
export const COPY_PATHS = ['gather', 'peer', 'pinned', 'upload', 'download'] as const
export type CopyPath = (typeof COPY_PATHS)[number]

/** Bytes by path. */
export type CopiedBytes = Record<CopyPath, number>

/** Plain data, sent once to each thread. */
export interface CopyCountsHandle {
  memory: SharedArrayBuffer
}

/** Doubles of a writer: two cache lines, so that none disturbs another. */
const STRIDE = 16

/** Bytes that one thread has asked to be moved: each thread counts in a row of its own. */
export class CopyCounts {
  readonly #row: Float64Array

  static create(writers: number): CopyCountsHandle {
    return { memory: new SharedArrayBuffer(8 * STRIDE * Math.max(1, writers)) }
  }

  constructor({ memory }: CopyCountsHandle, writer: number) {
    this.#row = new Float64Array(memory, 8 * STRIDE * writer, COPY_PATHS.length)
  }

  add(path: CopyPath, bytes: number): void {
    this.#row[COPY_PATHS.indexOf(path)]! += bytes
  }

  /** Forgets what threads have counted, while none of them counts. */
  static clear({ memory }: CopyCountsHandle): void {
    new Float64Array(memory).fill(0)
  }

  /** Of all threads: exact once they have ended. */
  static total({ memory }: CopyCountsHandle): CopiedBytes {
    const all = new Float64Array(memory)
    const sum = (path: number) => {
      let bytes = 0
      for (let at = path; at < all.length; at += STRIDE) bytes += all[at]!
      return bytes
    }
    return Object.fromEntries(COPY_PATHS.map((path, i) => [path, sum(i)])) as CopiedBytes
  }
}
