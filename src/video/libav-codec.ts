import type { Pointer } from 'bun:ffi'
import { keep } from '../../ffi/keep.ts'
import { AVERROR_ENOMEM, allocated, check, errorText } from '../../ffi/libav/check.ts'
import {
  AV_INPUT_BUFFER_PADDING_SIZE,
  AV_PKT_FLAG_KEY,
  AVMEDIA_TYPE_VIDEO,
} from '../../ffi/libav/constants.ts'
import { type Libav, libav } from '../../ffi/libav/library.ts'
import {
  addressOf,
  bytesAt,
  int64In,
  intAt,
  PointerCell,
  setInt64In,
  setPointerIn,
  text,
  wordsAt,
} from '../../ffi/libav/memory.ts'
import { VideoError } from '../errors.ts'
import type { StreamInfo } from './types.ts'

const NONE: Uint8Array = new Uint8Array(0)

/** How a context is to decode. */
export interface CodecOptions {
  /** Of libavcodec; several give other pictures of damaged streams each time. */
  threads: number
  /** Whether damage is an error where it is met; otherwise libavcodec patches what it can, as `ffmpeg` does. */
  explode: boolean
}

/** FFmpeg's codec number of a name, and the decoder that it prefers for it. */
function findDecoder(codec: string): { decoder: Pointer; codecId: number } {
  const { avcodec, offsets } = libav()
  const descriptor = avcodec.avcodec_descriptor_get_by_name(text(codec))
  const codecId = descriptor ? intAt(Number(descriptor), offsets.AVCodecDescriptor.id) : 0
  const decoder = avcodec.avcodec_find_decoder(codecId)
  if (!decoder) throw new VideoError('unsupported_codec', `libavcodec has no decoder for ${codec}`)
  return { decoder: Number(decoder) as Pointer, codecId }
}

/** @throws {VideoError} if this host's libav does not decode the codec. @throws {LibraryError} if there is none */
export const requireDecoder = (codec: string): void => void findDecoder(codec)

/** Fills a context from what the container says of the stream. */
function describe(
  { avutil, avcodec, offsets }: Libav,
  context: Pointer,
  codecId: number,
  info: StreamInfo,
): void {
  const fields = offsets.AVCodecParameters
  const parameters = allocated('avcodec_parameters_alloc', avcodec.avcodec_parameters_alloc())
  const words = wordsAt(parameters, fields.color_space + 4)
  words[fields.codec_type / 4] = AVMEDIA_TYPE_VIDEO
  words[fields.codec_id / 4] = codecId
  if (info.tag !== undefined) words[fields.codec_tag / 4] = info.tag
  words[fields.width / 4] = info.width
  words[fields.height / 4] = info.height
  if (info.description && info.description.length > 0) {
    // libavutil's memory, since avcodec_parameters_free gives it back.
    const size = info.description.length + AV_INPUT_BUFFER_PADDING_SIZE
    const copy = allocated('av_mallocz', avutil.av_mallocz(size))
    bytesAt(copy, size).set(info.description)
    setPointerIn(words, fields.extradata / 4, copy)
    words[fields.extradata_size / 4] = info.description.length
  }
  const status = avcodec.avcodec_parameters_to_context(context, parameters)
  avcodec.avcodec_parameters_free(new PointerCell(parameters).cell)
  check('avcodec_parameters_to_context', status)
}

/** An opened AVCodecContext with the packet and the frame that go in and out of it. */
export class LibavCodec {
  private readonly libav: Libav
  private readonly context: Pointer
  private readonly packet: Pointer
  private readonly frame: Pointer
  private readonly packetWords: Int32Array
  private readonly info: StreamInfo
  private trusting = false
  /** The AVFrame that receive() fills, as 32-bit words. */
  readonly frameWords: Int32Array

  /** @throws {VideoError} `unsupported_codec` if there is no decoder, or none that opens with this configuration. */
  constructor(info: StreamInfo, options: CodecOptions) {
    const { decoder, codecId } = findDecoder(info.codec)
    this.libav = libav()
    this.info = { ...info, description: info.description?.slice() }
    const { avutil, avcodec, offsets } = this.libav
    this.context = allocated('avcodec_alloc_context3', avcodec.avcodec_alloc_context3(decoder))
    this.packet = allocated('av_packet_alloc', avcodec.av_packet_alloc())
    this.frame = allocated('av_frame_alloc', avutil.av_frame_alloc())
    this.packetWords = wordsAt(this.packet, offsets.AVPacket.flags + 4)
    this.frameWords = wordsAt(this.frame, offsets.AVFrame.decode_error_flags + 4)
    try {
      describe(this.libav, this.context, codecId, info)
      this.option('threads', String(options.threads))
      if (options.explode) this.option('err_detect', 'explode')
      if (info.codec === 'h264') {
        // A stream that does not say how far it reorders: wait for as many pictures as its level allows, as the standard
        // has it. By default libavcodec starts with no delay and drops the pictures that come too late for it.
        this.option('strict', 'strict')
      }
      const status = avcodec.avcodec_open2(this.context, decoder, null)
      if (status === AVERROR_ENOMEM) check('avcodec_open2', status)
      if (status < 0) throw new VideoError('unsupported_codec', `${info.codec}: ${errorText(status)}`)
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** Whether this context decodes such a stream too. */
  suits(info: StreamInfo): boolean {
    const own = this.info
    return (
      own.codec === info.codec &&
      own.tag === info.tag &&
      own.width === info.width &&
      own.height === info.height &&
      Buffer.compare(own.description ?? NONE, info.description ?? NONE) === 0
    )
  }

  /** Forgets all pictures and the end of the stream: what comes next is another video, or another place in it. */
  reset(): void {
    this.libav.avcodec.avcodec_flush_buffers(this.context)
  }

  /**
   * Says whether what comes next starts at a picture that decoding can start at. H.264's decoder itself trusts only IDR
   * pictures and recovery points, and withholds what follows any other, which at the P pictures of a gradual refresh is
   * right, and at an I picture that the container calls a keyframe is not.
   */
  starts(atKeyframe: boolean): void {
    if (this.info.codec !== 'h264' || this.trusting === atKeyframe) return
    this.trusting = atKeyframe
    this.option('flags', atKeyframe ? '+output_corrupt' : '-output_corrupt')
  }

  /** Hands in a packet of at least one byte. @returns avcodec_send_packet's status. */
  send(data: Uint8Array, index: number, key: boolean): number {
    const fields = this.libav.offsets.AVPacket
    const words = this.packetWords
    // Without a reference-counted buffer in the packet libavcodec takes a copy, with the padding that it needs.
    setPointerIn(words, fields.data / 4, addressOf(data))
    words[fields.size / 4] = data.length
    setInt64In(words, fields.pts / 4, index)
    setInt64In(words, fields.dts / 4, undefined)
    words[fields.flags / 4] = key ? AV_PKT_FLAG_KEY : 0
    const status = this.libav.avcodec.avcodec_send_packet(this.context, this.packet)
    keep(data)
    return status
  }

  /** Says that no more packets come, so that all frames do. @returns avcodec_send_packet's status. */
  sendEnd(): number {
    return this.libav.avcodec.avcodec_send_packet(this.context, null)
  }

  /** Takes the next frame into `frameWords`. @returns avcodec_receive_frame's status. */
  receive(): number {
    return this.libav.avcodec.avcodec_receive_frame(this.context, this.frame)
  }

  /** The index that the received frame's packet was sent with. */
  get index(): number | undefined {
    return int64In(this.frameWords, this.libav.offsets.AVFrame.pts / 4)
  }

  close(): void {
    const { avcodec, avutil } = this.libav
    avcodec.av_packet_free(this.emptied().cell)
    avutil.av_frame_free(new PointerCell(this.frame).cell)
    avcodec.avcodec_free_context(new PointerCell(this.context).cell)
  }

  /** The packet without the last data, which is JavaScript's. */
  private emptied(): PointerCell {
    const fields = this.libav.offsets.AVPacket
    setPointerIn(this.packetWords, fields.data / 4, 0)
    this.packetWords[fields.size / 4] = 0
    return new PointerCell(this.packet)
  }

  private option(name: string, value: string): void {
    check(`av_opt_set(${name})`, this.libav.avutil.av_opt_set(this.context, text(name), text(value), 0))
  }
}
