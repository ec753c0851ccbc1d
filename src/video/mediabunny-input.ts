import {
  BufferSource,
  CustomSource,
  type EncodedPacket,
  EncodedPacketSink,
  Input,
  type InputVideoTrack,
  Logging,
  LogLevel,
  MATROSKA,
  MP4,
  MPEG_TS,
  QTFF,
  UnsupportedInputFormatError,
  WEBM,
} from 'mediabunny'
import { VideoError } from '../errors.ts'
import type { FileReader } from './file-reader.ts'
import type { Mp4Tables } from './mp4-tables.ts'

// What it has to say of a file is in what it throws.
Logging.level = LogLevel.Silent

/** mediabunny's names of containers, in FFmpeg's words. */
const CONTAINERS: Record<string, string> = {
  MP4: 'mp4',
  'QuickTime File Format': 'mov',
  Matroska: 'matroska',
  WebM: 'webm',
  'MPEG Transport Stream': 'mpegts',
}

/** More packets than a stream is believed to have. */
const MAX_PACKETS = 1e7
const CACHE_BYTES = 2 ** 20

/** A source that mediabunny's promises on resolve without leaving the microtask queue: reads are synchronous. */
function sourceOf(file: FileReader): BufferSource | CustomSource {
  if (file.bytes) return new BufferSource(file.bytes)
  return new CustomSource({
    getSize: () => file.size,
    read: (start, end) => file.read(start, end),
    prefetchProfile: 'fileSystem',
    maxCacheSize: CACHE_BYTES,
    // A read ahead that failed will fail again where it is asked for.
    handleUnhandledError: () => undefined,
  })
}

/** Runs a call of mediabunny: what it throws is about the file. */
export async function understood<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (error instanceof VideoError) throw error
    if (error instanceof UnsupportedInputFormatError) throw new VideoError('not_a_video')
    throw new VideoError('damaged', `the container cannot be read: ${(error as Error).message}`)
  }
}

/** A file opened with mediabunny: its first video track, and that track's packets by position in decode order. */
export class MediabunnyInput {
  private constructor(
    private readonly file: FileReader,
    private readonly input: Input,
    readonly container: string,
    readonly track: InputVideoTrack,
    private readonly sink: EncodedPacketSink,
    /** Without data. */
    readonly packets: readonly EncodedPacket[],
  ) {}

  private last: { position: number; packet: EncodedPacket } | undefined

  /** Takes over the file. @throws {VideoError} with the code for what is wrong with it. */
  static async open(file: FileReader, tables: Mp4Tables | undefined): Promise<MediabunnyInput> {
    const formats = tables ? [MP4, QTFF] : [MATROSKA, WEBM, MPEG_TS]
    const input = new Input({ formats, source: sourceOf(file) })
    try {
      return await understood(async () => {
        const { name } = await input.getFormat()
        const track = (await input.getVideoTracks())[0]
        if (track === undefined) throw new VideoError('no_video_stream')
        const sink = new EncodedPacketSink(track)
        return new MediabunnyInput(
          file,
          input,
          CONTAINERS[name] ?? name,
          track,
          sink,
          await listPackets(sink),
        )
      })
    } catch (error) {
      input.dispose()
      throw error
    }
  }

  /** The data of the packet at a position; cheapest in ascending order. @throws {VideoError} `truncated`, `damaged`. */
  async read(position: number): Promise<Uint8Array> {
    const packet = await understood(() => {
      if (position === 0) return this.sink.getFirstPacket()
      const { last } = this
      return this.sink.getNextPacket(
        last?.position === position - 1 ? last.packet : this.packets[position - 1]!,
      )
    })
    if (packet === null) throw new VideoError('truncated', 'the file ends before the data of a frame')
    this.last = { position, packet }
    return packet.data
  }

  close(): void {
    this.input.dispose()
    this.file.close()
  }
}

async function listPackets(sink: EncodedPacketSink): Promise<EncodedPacket[]> {
  const options = { metadataOnly: true }
  const packets: EncodedPacket[] = []
  for (
    let packet = await sink.getFirstPacket(options);
    packet;
    packet = await sink.getNextPacket(packet, options)
  ) {
    if (packets.push(packet) > MAX_PACKETS)
      throw new VideoError('damaged', 'it claims more frames than can be')
  }
  return packets
}
