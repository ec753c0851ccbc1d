import type { Pointer } from 'bun:ffi'
import { AVERROR_ENOMEM, AVERROR_EOF, allocated, check, errorText } from '../../ffi/libav/check.ts'
import {
  AV_CODEC_PROP_REORDER,
  AV_DISPOSITION_ATTACHED_PIC,
  AV_FIELD_PROGRESSIVE,
  AV_PKT_DATA_DISPLAYMATRIX,
  AV_PKT_FLAG_CORRUPT,
  AV_PKT_FLAG_DISCARD,
  AV_PKT_FLAG_KEY,
  AVCOL_RANGE_JPEG,
  AVCOL_RANGE_MPEG,
  AVCOL_SPC_UNSPECIFIED,
  AVDISCARD_ALL,
  AVMEDIA_TYPE_VIDEO,
} from '../../ffi/libav/constants.ts'
import { libav } from '../../ffi/libav/library.ts'
import {
  bytesAt,
  int64In,
  intAt,
  PointerCell,
  pointerAt,
  pointerIn,
  textAt,
  wordsAt,
} from '../../ffi/libav/memory.ts'
import { VideoError } from '../errors.ts'
import { FieldPairs } from './libav-fields.ts'
import { openFile } from './libav-open.ts'
import { UnpackedPackets } from './libav-unpack.ts'
import type { Colour, StreamInfo } from './types.ts'

/** One coded picture as libavformat gives it; `data` is valid until the next is read. */
export interface RawPacket {
  data: Uint8Array
  /** Presentation time in units of the stream's time base, if the container gives one. */
  time: number | undefined
  key: boolean
  /** Decoded but not shown: outside of the edit list. */
  discard: boolean
  /** libavformat met damage in it. */
  corrupt: boolean
}

/** A file opened with libavformat: its best video stream's description, and its packets from the start. */
export class LibavInput {
  readonly container: string
  readonly info: StreamInfo
  /** Whether the codec may show pictures in another order than they are coded in. */
  readonly reorders: boolean
  private readonly libav = libav()
  private readonly context: PointerCell
  private readonly packet: Pointer
  private readonly words: Int32Array
  private readonly stream: number
  private readonly unpack: UnpackedPackets | undefined
  private readonly fields: FieldPairs | undefined
  private ahead: { packet: RawPacket | undefined; continues: boolean } | undefined
  /** Why reading stopped before the end of the file, if it did. */
  problem: string | undefined

  /** @throws {VideoError} with the code for what is wrong with the file. */
  constructor(path: string) {
    const { avcodec, offsets } = this.libav
    this.context = openFile(path)
    this.packet = allocated('av_packet_alloc', avcodec.av_packet_alloc())
    this.words = wordsAt(this.packet, offsets.AVPacket.flags + 4)
    try {
      const context = this.context.value
      const iformat = pointerAt(context, offsets.AVFormatContext.iformat)
      this.container = textAt(pointerAt(iformat, offsets.AVInputFormat.name)).split(',')[0]!
      this.stream = this.findVideo()
      const stream = this.streamAt(this.stream)
      const parameters = pointerAt(stream, offsets.AVStream.codecpar)
      const descriptor = Number(
        avcodec.avcodec_descriptor_get(intAt(parameters, offsets.AVCodecParameters.codec_id)) ?? 0,
      )
      if (descriptor === 0)
        throw new VideoError('unsupported_codec', `${this.container} names no codec that libav knows`)
      const codec = textAt(pointerAt(descriptor, offsets.AVCodecDescriptor.name))
      this.reorders = (intAt(descriptor, offsets.AVCodecDescriptor.props) & AV_CODEC_PROP_REORDER) !== 0
      this.unpack = codec === 'mpeg4' ? new UnpackedPackets(parameters as Pointer) : undefined
      this.info = describe(codec, stream, this.unpack?.parameters ?? parameters)
      const interlaced = intAt(parameters, offsets.AVCodecParameters.field_order) > AV_FIELD_PROGRESSIVE
      if (codec === 'h264' && interlaced) this.fields = new FieldPairs(this.info)
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** The next picture's packet, or undefined at the end. */
  read(): RawPacket | undefined {
    if (!this.fields) return this.readPacket()
    const { packet } = this.ahead ?? this.readField(this.fields)
    this.ahead = packet && this.readField(this.fields)
    if (!packet || !this.ahead?.packet || !this.ahead.continues) return packet
    const second = this.ahead.packet
    this.ahead = undefined
    return {
      ...packet,
      data: Buffer.concat([packet.data, second.data]),
      corrupt: packet.corrupt || second.corrupt,
    }
  }

  close(): void {
    const { avcodec, avformat } = this.libav
    this.unpack?.close()
    avcodec.av_packet_free(new PointerCell(this.packet).cell)
    avformat.avformat_close_input(this.context.cell)
  }

  /** Reads on to a packet of the video stream. @returns false at the end. */
  private readContainer(): boolean {
    const { avcodec, avformat, offsets } = this.libav
    for (;;) {
      avcodec.av_packet_unref(this.packet)
      const status = avformat.av_read_frame(this.context.value as Pointer, this.packet)
      if (status === AVERROR_ENOMEM) check('av_read_frame', status)
      if (status < 0) {
        // As FFmpeg does: what was read so far is the video.
        if (status !== AVERROR_EOF) this.problem = errorText(status)
        return false
      }
      if (this.words[offsets.AVPacket.stream_index / 4] === this.stream) return true
    }
  }

  /** The video stream's next packet. */
  private readPacket(): RawPacket | undefined {
    if (!this.unpack) return this.readContainer() ? this.raw() : undefined
    while (!this.unpack.receive(this.packet)) {
      if (this.unpack.ended) return undefined
      this.unpack.send(this.readContainer() ? this.packet : null)
    }
    return this.raw()
  }

  /** The next packet, to keep while another is read, and whether it continues the one before. */
  private readField(fields: FieldPairs): { packet: RawPacket | undefined; continues: boolean } {
    const packet = this.readPacket()
    if (!packet) return { packet, continues: false }
    return { packet: { ...packet, data: packet.data.slice() }, continues: fields.continues(packet.data) }
  }

  private raw(): RawPacket {
    const fields = this.libav.offsets.AVPacket
    const size = this.words[fields.size / 4]!
    const flags = this.words[fields.flags / 4]!
    return {
      data: size > 0 ? bytesAt(pointerIn(this.words, fields.data / 4), size) : new Uint8Array(0),
      time: int64In(this.words, fields.pts / 4),
      key: (flags & AV_PKT_FLAG_KEY) !== 0,
      discard: (flags & AV_PKT_FLAG_DISCARD) !== 0,
      corrupt: (flags & AV_PKT_FLAG_CORRUPT) !== 0,
    }
  }

  private streamAt(index: number): number {
    return pointerAt(pointerAt(this.context.value, this.libav.offsets.AVFormatContext.streams), 8 * index)
  }

  /** The number of the best video stream; has libavformat skip all others. */
  private findVideo(): number {
    const { avformat, offsets } = this.libav
    const context = this.context.value as Pointer
    const status = avformat.avformat_find_stream_info(context, null)
    if (status < 0) throw new VideoError('truncated', `${this.container}: ${errorText(status)}`)
    const best = avformat.av_find_best_stream(context, AVMEDIA_TYPE_VIDEO, -1, -1, null, 0)
    const disposition =
      best < 0 ? AV_DISPOSITION_ATTACHED_PIC : intAt(this.streamAt(best), offsets.AVStream.disposition)
    if (disposition & AV_DISPOSITION_ATTACHED_PIC) throw new VideoError('no_video_stream')
    const streams = intAt(context, offsets.AVFormatContext.nb_streams)
    for (let i = 0; i < streams; i++) {
      if (i !== best) bytesAt(this.streamAt(i) + offsets.AVStream.discard, 1)[0] = AVDISCARD_ALL
    }
    return best
  }
}

function describe(codec: string, stream: number, parameters: number): StreamInfo {
  const fields = libav().offsets.AVCodecParameters
  const extradata = pointerAt(parameters, fields.extradata)
  const size = intAt(parameters, fields.extradata_size)
  const matrix = intAt(parameters, fields.color_space)
  const range = intAt(parameters, fields.color_range)
  const colour: Colour = {}
  if (matrix !== AVCOL_SPC_UNSPECIFIED) colour.matrix = matrix
  if (range === AVCOL_RANGE_JPEG || range === AVCOL_RANGE_MPEG) colour.fullRange = range === AVCOL_RANGE_JPEG
  return {
    codec,
    description: size > 0 ? bytesAt(extradata, size).slice() : undefined,
    ...(codec === 'rawvideo' && { tag: intAt(parameters, fields.codec_tag) }),
    width: intAt(parameters, fields.width),
    height: intAt(parameters, fields.height),
    rotation: rotation(stream, parameters),
    colour,
  }
}

/** Clockwise rotation by the stream's display matrix, to the nearest quarter turn. */
function rotation(stream: number, parameters: number): StreamInfo['rotation'] {
  const { avutil, offsets } = libav()
  const side = offsets.AVPacketSideData
  // Releases up to 6 keep side data with the stream, later ones with the codec parameters.
  const { list, count } =
    'side_data' in offsets.AVStream
      ? {
          list: pointerAt(stream, offsets.AVStream.side_data),
          count: intAt(stream, offsets.AVStream.nb_side_data),
        }
      : 'coded_side_data' in offsets.AVCodecParameters
        ? {
            list: pointerAt(parameters, offsets.AVCodecParameters.coded_side_data),
            count: intAt(parameters, offsets.AVCodecParameters.nb_coded_side_data),
          }
        : { list: 0, count: 0 }
  for (let i = 0; i < count; i++) {
    const entry = list + i * side.sizeof
    if (intAt(entry, side.type) !== AV_PKT_DATA_DISPLAYMATRIX) continue
    const degrees = avutil.av_display_rotation_get(pointerAt(entry, side.data) as Pointer)
    if (Number.isNaN(degrees)) return 0
    return ((((Math.round(-degrees / 90) % 4) + 4) % 4) * 90) as StreamInfo['rotation']
  }
  return 0
}
