import { toArrayBuffer } from 'bun:ffi'
import { allocate, allocatePinned, free, freePinned, upload } from '../../ffi/cuda/memory.ts'
import type { CUstream, DevicePointer, PinnedPointer } from '../../ffi/cuda/types.ts'
import type { Fence } from '../video/nvdec/mapped.ts'

/** Frames that can be on their way at once: those of a clip. */
const FRAMES = 8

interface Room {
  bytes: number
  pinned: PinnedPointer
  memory: ArrayBuffer
  device: DevicePointer
}

/** Page-locked memory in which frames are laid, and device memory that they are uploaded to, in turns, on one stream. */
export class FrameStaging {
  readonly #stream: CUstream
  readonly #turns: { fence: Fence; room: Room | undefined }[]
  #next = 0

  constructor(stream: CUstream, makeFence: () => Fence) {
    this.#stream = stream
    this.#turns = Array.from({ length: FRAMES }, () => ({ fence: makeFence(), room: undefined }))
  }

  /**
   * Uploads one frame, waiting until what was asked of the one `FRAMES` before is done.
   * @param write lays it into memory
   * @param read asks the stream for all that reads it, at a device address
   * @throws {NativeError} if there is no memory for it
   */
  pass(bytes: number, write: (into: ArrayBuffer) => void, read: (at: DevicePointer) => void): void {
    const turn = this.#turns[this.#next]!
    this.#next = (this.#next + 1) % FRAMES
    turn.fence.wait()
    if (turn.room === undefined || turn.room.bytes < bytes) {
      if (turn.room) freeRoom(turn.room)
      turn.room = undefined
      turn.room = makeRoom(bytes)
    }
    const { memory, pinned, device } = turn.room
    write(memory)
    try {
      upload(device, pinned, bytes, this.#stream)
      read(device)
    } finally {
      turn.fence.record()
    }
  }

  close(): void {
    for (const { fence, room } of this.#turns) {
      fence.wait()
      if (room) freeRoom(room)
      fence.close()
    }
    this.#turns.length = 0
  }
}

function makeRoom(bytes: number): Room {
  const pinned = allocatePinned(bytes)
  try {
    const device = allocate(bytes, { what: 'frames decoded on the CPU', lower: 'cpu_decoders' })
    return { bytes, pinned, memory: toArrayBuffer(pinned, 0, bytes), device }
  } catch (error) {
    freePinned(pinned)
    throw error
  }
}

function freeRoom({ pinned, device }: Room): void {
  free(device)
  freePinned(pinned)
}
