import { VideoError } from '../errors.ts'
import { LibavInput } from './libav-input.ts'

/** A stream's packets by decode position. */
export interface PacketStore {
  /** The packet's bytes; they stay as they are. */
  read(position: number): Uint8Array
  close(): void
}

/** Packets in memory. */
export class KeptPackets implements PacketStore {
  constructor(private packets: readonly Uint8Array[]) {}

  read(position: number): Uint8Array {
    return this.packets[position]!
  }

  close(): void {
    this.packets = []
  }
}

/**
 * Packets of a file that is read again, from its start: seeking is not exact in the containers that come here.
 * A position before the last one read starts over.
 */
export class RereadPackets implements PacketStore {
  private input: LibavInput | undefined
  private next = 0

  constructor(private readonly path: string) {}

  read(position: number): Uint8Array {
    if (position < this.next) this.close()
    this.input ??= new LibavInput(this.path)
    for (;;) {
      const packet = this.input.read()
      if (!packet) throw new VideoError('unreadable', 'the file is shorter than when it was opened')
      if (this.next++ === position) return packet.data.slice()
    }
  }

  close(): void {
    this.input?.close()
    this.input = undefined
    this.next = 0
  }
}
