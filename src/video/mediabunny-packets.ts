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
import type { AwaitedPackets } from './container-packets.ts'
import type { FileReader } from './file-reader.ts'
import { describeStream } from './mediabunny-stream.ts'
import type { Edit, Mp4Tables } from './mp4-tables.ts'
import type { StreamInfo } from './types.ts'

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

/** The first video track of a file, opened with mediabunny. */
export class MediabunnyPackets implements AwaitedPackets {
  readonly ready = false
  readonly times: Float64Array
  readonly sizes: Float64Array
  readonly keys: Uint8Array
  readonly unshown: readonly number[]
  private last: { position: number; packet: EncodedPacket } | undefined

  private constructor(
    private readonly opened: Opened,
    readonly info: StreamInfo,
    edit: Edit | undefined,
    timescale: number,
  ) {
    const { listed } = opened
    this.times = Float64Array.from(listed, packet => packet.timestamp)
    this.sizes = Float64Array.from(listed, packet => packet.byteLength)
    this.keys = Uint8Array.from(listed, packet => (packet.type === 'key' ? 1 : 0))
    this.unshown = edit ? outside(this.times, timescale, edit) : []
  }

  get container(): string {
    return this.opened.container
  }

  /** Takes over the file. @throws {VideoError} with the code for what is wrong with it. */
  static async open(file: FileReader, tables: Mp4Tables | undefined): Promise<MediabunnyPackets> {
    const formats = tables ? [MP4, QTFF] : [MATROSKA, WEBM, MPEG_TS]
    const input = new Input({ formats, source: sourceOf(file) })
    try {
      return await understood(async () => {
        const opened = await openTrack(file, input)
        const { track, listed } = opened
        const first = listed.findIndex(packet => packet.type === 'key' && packet.byteLength > 0)
        const info = await describeStream(track, async () => (await fetch(opened, Math.max(0, first))).data)
        return new MediabunnyPackets(opened, info, editOf(tables, track), await track.getTimeResolution())
      })
    } catch (error) {
      input.dispose()
      throw error
    }
  }

  async read(position: number): Promise<Uint8Array> {
    const packet = await fetch(this.opened, position, this.last)
    this.last = { position, packet }
    return packet.data
  }

  close(): void {
    this.opened.input.dispose()
    this.opened.file.close()
  }
}

/** A track and its packets in decode order, without their data. */
interface Opened {
  file: FileReader
  input: Input
  container: string
  track: InputVideoTrack
  sink: EncodedPacketSink
  listed: readonly EncodedPacket[]
}

async function openTrack(file: FileReader, input: Input): Promise<Opened> {
  const { name } = await input.getFormat()
  const track = (await input.getVideoTracks())[0]
  if (track === undefined) throw new VideoError('no_video_stream')
  const sink = new EncodedPacketSink(track)
  return { file, input, container: CONTAINERS[name] ?? name, track, sink, listed: await listPackets(sink) }
}

/** The packet at a position, with its data. @param last - the one that was fetched before it, if that is known */
async function fetch(
  { sink, listed }: Opened,
  position: number,
  last?: { position: number; packet: EncodedPacket },
): Promise<EncodedPacket> {
  const packet = await understood(() => {
    if (position === 0) return sink.getFirstPacket()
    return sink.getNextPacket(last?.position === position - 1 ? last.packet : listed[position - 1]!)
  })
  if (packet === null) throw new VideoError('truncated', 'the file ends before the data of a frame')
  return packet
}

function editOf(tables: Mp4Tables | undefined, track: InputVideoTrack): Edit | undefined {
  if (tables === undefined) return undefined
  // FFmpeg's first video track is the file's, also if mediabunny makes nothing of it.
  if (tables.video?.id !== track.id)
    throw new VideoError('unsupported_codec', 'no decoder for the first video track')
  return tables.video.edit
}

/** Positions of what lies outside of the edit list: it is decoded and not shown. */
function outside(times: Float64Array, timescale: number, edit: Edit): number[] {
  const found: number[] = []
  for (let position = 0; position < times.length; position++) {
    const time = Math.round(times[position]! * timescale) - edit.start
    if (time < 0 || time >= edit.duration) found.push(position)
  }
  return found
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
