import {
  AVERROR_EAGAIN,
  AVERROR_ENOMEM,
  AVERROR_ENOSYS,
  AVERROR_EOF,
  check,
  errorText,
} from '../../ffi/libav/check.ts'
import {
  AV_FRAME_FLAG_CORRUPT,
  AVCOL_RANGE_JPEG,
  AVCOL_RANGE_MPEG,
  AVCOL_SPC_UNSPECIFIED,
} from '../../ffi/libav/constants.ts'
import { libav } from '../../ffi/libav/library.ts'
import { bytesAt, pointerIn } from '../../ffi/libav/memory.ts'
import { VideoError } from '../errors.ts'
import { LibavCodec } from './libav-codec.ts'
import { DamageLog, flagsDamage } from './libav-damage.ts'
import { pixelLayout } from './libav-pixels.ts'
import type { Colour, Frame, FrameDecoder, Packet, StreamInfo } from './types.ts'

/** One decode() under way. */
interface Run {
  codec: LibavCodec
  info: StreamInfo
  wanted: readonly number[]
  onFrame: (frame: Frame) => void
  /** How many of the wanted frames have been handed over. */
  delivered: number
  damage: DamageLog
  /** Whether decoding began at a keyframe: then H.264 pictures that libavcodec would not trust are no damage. */
  fromKey: boolean
  /** What was seen of damage first, for the message. */
  seen?: string
}

/**
 * Decodes with libavcodec on the calling thread.
 *
 * Packets carry their presentation index as timestamp, so libavcodec's own reordering brings the frames back in
 * presentation order with their indices. The context is kept for the next video of the same configuration.
 */
export class LibavDecoder implements FrameDecoder {
  readonly name = 'libav'
  private readonly threads: number
  private readonly offsets = libav().offsets
  private readonly views = new Map<number, Uint8Array | Uint16Array>()
  private codec: LibavCodec | undefined

  /** @param options.threads of libavcodec, 1 by default; more give other frames of damaged streams each time. */
  constructor(options: { threads?: number } = {}) {
    this.threads = options.threads ?? 1
  }

  /** @returns packets decoded: one picture each, wanted or not. */
  async decode(
    info: StreamInfo,
    packets: AsyncIterable<Packet> | Iterable<Packet>,
    wanted: readonly number[],
    onFrame: (frame: Frame) => void,
  ): Promise<number> {
    if (wanted.length === 0) return 0
    const codec = this.prepare(info)
    const run: Run = { codec, info, wanted, onFrame, delivered: 0, damage: new DamageLog(), fromKey: false }
    try {
      // A synchronous source costs no promise per packet.
      if (Symbol.iterator in packets) {
        for (const packet of packets) if (this.send(packet, run)) break
      } else {
        for await (const packet of packets) if (this.send(packet, run)) break
      }
      this.drain(run)
      this.finish(run)
    } catch (error) {
      // Frames may be left in it, and not every release's decoders forget them when flushed (HEVC in FFmpeg 8).
      this.close()
      throw error
    }
    return run.damage.count
  }

  close(): void {
    this.codec?.close()
    this.codec = undefined
    this.views.clear()
  }

  /** The context for such a stream, with nothing of an earlier video in it. */
  private prepare(info: StreamInfo): LibavCodec {
    if (this.codec?.suits(info)) this.codec.reset()
    else {
      this.close()
      this.codec = new LibavCodec(info, {
        threads: this.threads,
        explode: this.threads > 1 || !flagsDamage(info.codec),
      })
    }
    return this.codec
  }

  /** Sends one packet and takes what frames it brings. @returns whether all wanted frames have come. */
  private send({ data, index, key, restart }: Packet, run: Run): boolean {
    // libavcodec takes an empty packet for the end of the stream; containers use it for a frame that was dropped.
    if (data.length === 0) return false
    if (restart) {
      this.drain(run)
      run.codec.reset()
    }
    if (restart || run.damage.count === 0) {
      run.fromKey = key
      run.codec.starts(key)
    }
    run.damage.send(index, key)
    let status = run.codec.send(data, index, key)
    if (status === AVERROR_EAGAIN) {
      this.receive(run)
      status = run.codec.send(data, index, key)
    }
    if (status < 0) this.fail(status, run)
    this.receive(run)
    return run.delivered === run.wanted.length
  }

  /** Has libavcodec give up the frames that it holds back, also those that only matter for their damage. */
  private drain(run: Run): void {
    const status = run.codec.sendEnd()
    if (status < 0 && status !== AVERROR_EOF) this.fail(status, run)
    this.receive(run)
    run.damage.ended()
  }

  /** Takes all frames that are ready. */
  private receive(run: Run): void {
    for (;;) {
      const status = run.codec.receive()
      if (status === AVERROR_EAGAIN || status === AVERROR_EOF) return
      if (status < 0) this.fail(status, run)
      else this.take(run)
    }
  }

  /** Notes an error status as damage of the packet that it must have come from; some are no matter of the packet. */
  private fail(status: number, run: Run): void {
    if (status === AVERROR_ENOMEM) check('avcodec_receive_frame', status)
    if (status === AVERROR_ENOSYS) {
      throw new VideoError(
        'unsupported_codec',
        `libavcodec cannot decode this ${run.info.codec} stream in software`,
      )
    }
    run.seen ??= errorText(status)
    run.damage.damageSent(this.threads - 1)
  }

  /** Judges the frame that libavcodec gave and hands it over if it is wanted. */
  private take(run: Run): void {
    const fields = this.offsets.AVFrame
    const words = run.codec.frameWords
    const index = run.codec.index
    if (index === undefined) return
    run.damage.came(index)
    const patched = words[fields.decode_error_flags / 4] !== 0
    const corrupt = (words[fields.flags / 4]! & AV_FRAME_FLAG_CORRUPT) !== 0
    if (patched || (corrupt && !(run.fromKey && run.info.codec === 'h264'))) {
      run.seen ??= 'the decoder patched a picture'
      run.damage.damageShown(index)
    }
    const next = run.wanted[run.delivered]
    if (next === undefined || index < next) return
    if (index > next) throw new VideoError('damaged', `frame ${next} is missing`)
    if (run.damage.any) this.judge(run, index)
    run.delivered++
    run.onFrame(this.present(run.codec.frameWords, run.info, index))
  }

  /** @throws {VideoError} `damaged` if damage seen so far touches the frame. */
  private judge(run: Run, index: number): void {
    if (!run.damage.taints(index)) return
    throw new VideoError(
      'damaged',
      `frame ${index} depends on damaged data (${run.seen ?? 'a picture is missing'})`,
    )
  }

  /** After the last frame: damage may have shown later than frames that depend on it. */
  private finish(run: Run): void {
    if (run.damage.any) for (const index of run.wanted) this.judge(run, index)
    const missing = run.wanted[run.delivered]
    if (missing !== undefined) throw new VideoError('damaged', `frame ${missing} is missing`)
  }

  /** The frame in libavcodec's memory, cropped to the container's size. */
  private present(words: Int32Array, info: StreamInfo, index: number): Frame {
    const fields = this.offsets.AVFrame
    const width = cropped(words[fields.width / 4]!, info.width)
    const height = cropped(words[fields.height / 4]!, info.height)
    const layout = pixelLayout(words[fields.format / 4]!, width, height)
    if (!layout) throw new VideoError('unsupported_format', 'frames of a pixel format without a description')
    const { bytesPerElement } = layout
    const planes = layout.planes.map(({ rowBytes, rows }, i) => {
      const address = pointerIn(words, fields.data / 4 + 2 * i)
      const stride = words[fields.linesize / 4 + i]!
      if (stride < 0) throw new VideoError('unsupported_format', 'frames whose rows lie from the bottom up')
      const bytes = rows === 1 ? rowBytes : stride * (rows - 1) + rowBytes
      return { data: this.view(address, bytes, bytesPerElement), stride: stride / bytesPerElement }
    })
    return {
      index,
      format: layout.format,
      width,
      height,
      planes,
      colour: this.colour(words, info, layout.format),
    }
  }

  /**
   * A view of native memory, kept by address: libavcodec's pools give the same few buffers again and again. A view of
   * the same address and length covers just what the frame that is there now owns, whatever was there before.
   */
  private view(address: number, bytes: number, bytesPerElement: 1 | 2): Uint8Array | Uint16Array {
    const known = this.views.get(address)
    if (known?.byteLength === bytes && known.BYTES_PER_ELEMENT === bytesPerElement) return known
    const view = elements(bytesAt(address, bytes), bytesPerElement)
    if (this.views.size >= 256) this.views.clear()
    this.views.set(address, view)
    return view
  }

  /** The frame's own colour description; where it has none, the container's. */
  private colour(words: Int32Array, info: StreamInfo, format: string): Colour {
    const fields = this.offsets.AVFrame
    const matrix = words[fields.colorspace / 4]!
    const range = words[fields.color_range / 4]!
    const colour: Colour = { ...info.colour }
    if (matrix !== AVCOL_SPC_UNSPECIFIED) colour.matrix = matrix
    if (range === AVCOL_RANGE_JPEG || format.startsWith('yuvj')) colour.fullRange = true
    else if (range === AVCOL_RANGE_MPEG) colour.fullRange = false
    return colour
  }
}

/**
 * The container's size, if it lies within the coded size's last macroblock, as FFmpeg crops; a container that says
 * something else altogether is wrong.
 */
function cropped(coded: number, container: number): number {
  return container > 0 && container < coded && coded - container < 16 ? container : coded
}

function elements(bytes: Uint8Array, bytesPerElement: 1 | 2): Uint8Array | Uint16Array {
  return bytesPerElement === 1
    ? bytes
    : new Uint16Array(bytes.buffer, bytes.byteOffset, Math.floor(bytes.byteLength / 2))
}
