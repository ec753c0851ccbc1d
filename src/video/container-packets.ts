import type { StreamInfo } from './types.ts'

/** A video track as its container lists it: its packets by position in decode order. */
interface Listed {
  readonly container: string
  readonly info: StreamInfo
  /** Presentation times, in any unit. */
  readonly times: Float64Array
  /** Bytes of each packet. */
  readonly sizes: Float64Array
  /** 1 for what the container calls a keyframe. */
  readonly keys: Uint8Array
  /** Positions of packets that the container has decoded and not shown. */
  readonly unshown: readonly number[]
  close(): void
}

/** Packets that are in memory, or are read from the file without a promise. */
export interface ReadyPackets extends Listed {
  readonly ready: true
  /** A packet's data, until `close`. @throws {VideoError} `truncated`, `unreadable` */
  read(position: number): Uint8Array
}

/** Packets that a library reads; cheapest in ascending order. */
export interface AwaitedPackets extends Listed {
  readonly ready: false
  /** @throws {VideoError} `truncated`, `damaged`, `unreadable` */
  read(position: number): Promise<Uint8Array>
}

export type ContainerPackets = ReadyPackets | AwaitedPackets
