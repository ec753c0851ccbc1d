import type { CUstream, DevicePointer } from '../../../ffi/cuda/types.ts'
import { type DecoderHandle, type MappedSurface, mapFrame, unmapFrame } from '../../../ffi/nvcuvid/decoder.ts'
import type { DisplayInfo } from '../../../ffi/nvcuvid/parser.ts'

/** A mark on a stream: an event, recorded again and again. */
export interface Fence {
  /** Marks what has been put on the stream so far. */
  record(): void
  /** Blocks until that is done. */
  wait(): void
  close(): void
}

interface Group {
  decoder: DecoderHandle
  addresses: DevicePointer[]
  fence: Fence
}

/**
 * Surfaces that are mapped, in groups that are handed over together: those of a group are unmapped when all that was
 * put on the stream until then is done.
 */
export class MappedSurfaces {
  readonly #stream: CUstream
  readonly #limit: number
  readonly #makeFence: () => Fence
  readonly #spare: Fence[] = []
  /** Mapped and not yet handed over. */
  #open: DevicePointer[] = []
  readonly #reading: Group[] = []
  #count = 0

  /** @param limit surfaces that can be mapped at the same time */
  constructor(stream: CUstream, limit: number, makeFence: () => Fence) {
    this.#stream = stream
    this.#limit = limit
    this.#makeFence = makeFence
  }

  get count(): number {
    return this.#count
  }

  /** Waits until the picture is decoded, and for a surface to be free. @throws {NativeError} */
  map(decoder: DecoderHandle, picture: DisplayInfo): MappedSurface {
    while (this.#count >= this.#limit && this.#reading.length > 0) this.#retire()
    const surface = mapFrame(decoder, picture, this.#stream)
    this.#open.push(surface.address)
    this.#count++
    return surface
  }

  /** What reads the surfaces mapped since the last time has now been put on the stream. */
  handedOver(decoder: DecoderHandle): void {
    if (this.#open.length === 0) return
    const fence = this.#spare.pop() ?? this.#makeFence()
    fence.record()
    this.#reading.push({ decoder, addresses: this.#open, fence })
    this.#open = []
  }

  /** Waits until nothing reads any surface, and unmaps all. */
  settle(decoder: DecoderHandle): void {
    this.handedOver(decoder)
    while (this.#reading.length > 0) this.#retire()
  }

  #retire(): void {
    const { decoder, addresses, fence } = this.#reading.shift()!
    this.#spare.push(fence)
    this.#count -= addresses.length
    fence.wait()
    for (const address of addresses) unmapFrame(decoder, address)
  }

  close(): void {
    for (const fence of this.#spare) fence.close()
    this.#spare.length = 0
  }
}
