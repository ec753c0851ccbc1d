import type { Pointer } from 'bun:ffi'
import type { CUstream } from '../../../ffi/cuda/types.ts'
import { nvcuvidError } from '../../../ffi/nvcuvid/check.ts'
import { type DecoderConfig, decodePicture, reconfigureDecoder } from '../../../ffi/nvcuvid/decoder.ts'
import { type DisplayInfo, type VideoFormat, VideoParsers } from '../../../ffi/nvcuvid/parser.ts'
import type { NvcuvidCall } from '../../../ffi/nvcuvid/symbols.ts'
import { VideoError } from '../../errors.ts'
import { DamageLog } from '../libav-damage.ts'
import type { Packet, StreamInfo } from '../types.ts'
import { ElementaryStreamWriter, PacketRoom } from './annex-b.ts'
import { NvdecCapabilities, surfaceFormatFor } from './capabilities.ts'
import { fencesOf } from './fence.ts'
import { type Fence, MappedSurfaces } from './mapped.ts'
import { type DecoderPool, type Lease, sizeBucket, surfaceBucket } from './pool.ts'
import { DecodeStatuses } from './statuses.ts'
import { type SurfaceFrame, type SurfaceLayout, surfaceFrame, surfaceLayout } from './surface.ts'

export interface NvdecOptions {
  /** Where decoders come from: one pool for all threads that decode on a GPU. */
  pool: DecoderPool
  /** The CUstream that pictures are written on, and that whoever reads them must use. */
  stream: CUstream
  /** Makes a mark of that stream; an event, unless told otherwise. */
  makeFence?: () => Fence
  /** Frames that are handed over together, at most. */
  group?: number
  /** Pictures that are decoded ahead of the one that is mapped. */
  displayDelay?: number
}

/** Statuses that a damaged stream brings about: a picture that the engine does not take. All others are not its fault. */
const DAMAGED: readonly number[] = [1, 200, 300, 999]

/** One decode() under way. */
interface Run {
  codec: number
  info: StreamInfo
  writer: ElementaryStreamWriter
  wanted: readonly number[]
  onFrames: (frames: readonly SurfaceFrame[]) => void
  /** How many of the wanted frames have been mapped. */
  delivered: number
  /** Mapped frames that have not been handed over. */
  group: SurfaceFrame[]
  damage: DamageLog
  /** What was seen of damage first, for the message. */
  seen?: string
  /** The packet that is being parsed. */
  current: Pick<Packet, 'data' | 'index'>
}

/** The decoder that the stream uses, from its sequence header on. */
interface Active {
  lease: Lease
  config: DecoderConfig
  layout: SurfaceLayout
  statuses: DecodeStatuses
}

/**
 * Decodes with NVDEC, on the calling thread, whose GPU context must be current. Frames stay in device memory: they are
 * handed over in groups, and belong to the decoder again once what was put on its stream by then is done.
 *
 * Packets carry their presentation index as timestamp, so nvcuvid's own reordering brings the pictures back in
 * presentation order with their indices. Only wanted pictures are mapped.
 */
export class NvdecDecoder {
  readonly name = 'nvdec'
  readonly capabilities: NvdecCapabilities
  readonly #pool: DecoderPool
  readonly #group: number
  readonly #displayDelay: number
  readonly #mapped: MappedSurfaces
  readonly #parsers: VideoParsers
  readonly #room = new PacketRoom()
  #run: Run | undefined
  #active: Active | undefined

  constructor({ pool, stream, makeFence = fencesOf(stream), group = 4, displayDelay = 2 }: NvdecOptions) {
    this.#pool = pool
    this.capabilities = new NvdecCapabilities(pool.handle.capabilities)
    this.#group = group
    this.#displayDelay = displayDelay
    this.#mapped = new MappedSurfaces(stream, this.#outputSurfaces, makeFence)
    this.#parsers = new VideoParsers({
      sequence: format => this.#sequence(this.#run!, format),
      decode: (picture, surface) => this.#decode(this.#run!, picture, surface),
      display: picture => this.#display(this.#run!, picture),
    })
  }

  /** While one group is read, the next is mapped. */
  get #outputSurfaces(): number {
    return 2 * this.#group
  }

  /**
   * Decodes the packets and hands over each wanted frame once, in presentation order, in groups of one format and pitch.
   * @param onFrames puts what reads the frames on the decoder's stream.
   * @returns packets decoded: one picture each, wanted or not. What reads the frames is done by then.
   * @throws {NvdecRefusal} for streams that this GPU does not decode: frames handed over before mean nothing
   * @throws {VideoError} `damaged` if a wanted frame, or one that it depends on, reported damage or is missing
   */
  async decode(
    info: StreamInfo,
    packets: AsyncIterable<Packet> | Iterable<Packet>,
    wanted: readonly number[],
    onFrames: (frames: readonly SurfaceFrame[]) => void,
  ): Promise<number> {
    if (wanted.length === 0) return 0
    const run: Run = {
      codec: this.capabilities.requireCodec(info.codec),
      info,
      writer: new ElementaryStreamWriter(info, this.#room),
      wanted,
      onFrames,
      delivered: 0,
      group: [],
      damage: new DamageLog(),
      current: { data: new Uint8Array(0), index: -1 },
    }
    this.#run = run
    let sound = false
    try {
      // A synchronous source costs no promise per packet.
      if (Symbol.iterator in packets) {
        for (const packet of packets) if (this.#send(run, packet)) break
      } else {
        for await (const packet of packets) if (this.#send(run, packet)) break
      }
      if (run.damage.count > 0) this.#drain(run)
      this.#finish(run)
      sound = true
      return run.damage.count
    } catch (error) {
      sound = error instanceof VideoError
      throw error
    } finally {
      this.#run = undefined
      this.#parsers.abandon()
      this.#release(sound)
    }
  }

  close(): void {
    this.#parsers.close()
    this.#mapped.close()
  }

  /** Parses one packet, and what that brings. @returns whether all wanted frames have been mapped */
  #send(run: Run, packet: Packet): boolean {
    const { data, index, key, restart } = packet
    // Containers use an empty packet for a frame that was dropped.
    if (data.length === 0) return false
    const first = restart === true || run.damage.count === 0
    if (first) {
      if (run.damage.count > 0) this.#drain(run)
      this.#parsers.begin(run.codec, { displayDelay: this.#displayDelay })
    }
    run.damage.send(index, key)
    run.current = packet
    const bytes = run.writer.write(data, first)
    if (run.writer.truncated) this.#damaged(run, 'a packet ends within a NAL unit')
    this.#judgeStatus(run, 'cuvidParseVideoData', this.#parsers.parse(bytes, index))
    return run.delivered === run.wanted.length
  }

  /** Has the parser show all pictures that it holds back, also those that only matter for being there. */
  #drain(run: Run): void {
    this.#judgeStatus(run, 'cuvidParseVideoData', this.#parsers.end())
    run.damage.ended()
  }

  /** After the last frame: damage may have shown later than frames that depend on it. */
  #finish(run: Run): void {
    if (this.#active) this.#handOver(run, this.#active)
    this.#active?.statuses.settle(this.#active.lease.decoder)
    if (run.damage.any) for (const index of run.wanted) this.#judge(run, index)
    const missing = run.wanted[run.delivered]
    if (missing !== undefined) throw new VideoError('damaged', `frame ${missing} is missing`)
  }

  /** @throws {VideoError} `damaged` if damage seen so far touches the frame */
  #judge(run: Run, index: number): void {
    if (!run.damage.taints(index)) return
    const seen = run.seen ?? 'a picture is missing'
    throw new VideoError('damaged', `frame ${index} depends on damaged data (${seen})`)
  }

  /** Notes damage of the packet that is being parsed. */
  #damaged(run: Run, seen: string): void {
    run.seen ??= seen
    run.damage.damageSent(0)
  }

  /** @throws {NativeError} for a status that no stream brings about */
  #judgeStatus(run: Run, call: NvcuvidCall, status: number): void {
    if (status === 0) return
    if (!DAMAGED.includes(status)) throw nvcuvidError(call, status)
    this.#damaged(run, nvcuvidError(call, status).message)
  }

  /** Finds a decoder for the stream's format, before its first picture and where the format changes. */
  #sequence(run: Run, format: VideoFormat): number {
    const caps = this.capabilities.requireFormat(run.info.codec, format)
    const size = { width: format.codedWidth, height: format.codedHeight }
    const wanted: DecoderConfig = {
      codec: run.codec,
      chroma: format.chroma,
      depth: format.depth,
      surfaceFormat: surfaceFormatFor(format.depth),
      ...size,
      ...sizeBucket(size, caps),
      decodeSurfaces: surfaceBucket(format.minSurfaces),
      outputSurfaces: this.#outputSurfaces,
    }
    const before = this.#active
    if (before) this.#settle(run, before)
    if (before && !interchangeable(before.config, wanted)) this.#release(true)
    const lease = this.#active?.lease ?? this.#pool.take(wanted)
    const config = this.#active?.config ?? lease.config
    this.#active = {
      lease,
      config,
      layout: surfaceLayout(format, run.info, run.current.data),
      statuses: new DecodeStatuses(config.decodeSurfaces, index => {
        run.seen ??= 'the engine met an error'
        run.damage.damageShown(index)
      }),
    }
    if (config.width !== wanted.width || config.height !== wanted.height) {
      reconfigureDecoder(lease.decoder, { ...size, decodeSurfaces: config.decodeSurfaces })
      this.#active.config = { ...config, ...size }
      this.#pool.countReconfigured()
    }
    return config.decodeSurfaces
  }

  #decode(run: Run, picture: Pointer, surface: number): void {
    const { lease, statuses } = this.#active!
    statuses.submit(lease.decoder, surface, run.current.index)
    this.#judgeStatus(run, 'cuvidDecodePicture', decodePicture(lease.decoder, picture))
  }

  #display(run: Run, picture: DisplayInfo): void {
    const index = picture.timestamp
    run.damage.came(index)
    const next = run.wanted[run.delivered]
    if (next === undefined || index < next) return
    if (index > next) throw new VideoError('damaged', `frame ${next} is missing`)
    const active = this.#active!
    const { lease, layout, statuses } = active
    run.group.push(surfaceFrame(index, this.#mapped.map(lease.decoder, picture), layout))
    run.delivered++
    statuses.decoded(lease.decoder, picture.surface)
    if (run.damage.any) this.#judge(run, index)
    if (run.group.length === this.#group) this.#handOver(run, active)
  }

  #handOver(run: Run, { lease }: Active): void {
    const frames = run.group
    if (frames.length === 0) return
    run.group = []
    try {
      run.onFrames(frames)
    } finally {
      this.#mapped.handedOver(lease.decoder)
    }
  }

  /** Looks at all decode statuses, and unmaps everything. */
  #settle(run: Run, active: Active): void {
    this.#handOver(run, active)
    active.statuses.settle(active.lease.decoder)
    this.#mapped.settle(active.lease.decoder)
  }

  /** Gives the decoder back, with nothing mapped; one of which nothing sure is known any more is destroyed. */
  #release(sound: boolean): void {
    const active = this.#active
    this.#active = undefined
    if (active === undefined) return
    try {
      this.#mapped.settle(active.lease.decoder)
    } catch (error) {
      this.#pool.discard(active.lease)
      throw error
    }
    if (sound) this.#pool.giveBack(active.lease, active.config)
    else this.#pool.discard(active.lease)
  }
}

/** Whether a decoder made for one can be used for the other, perhaps with another size. */
function interchangeable(have: DecoderConfig, wanted: DecoderConfig): boolean {
  return (
    have.codec === wanted.codec &&
    have.chroma === wanted.chroma &&
    have.depth === wanted.depth &&
    have.surfaceFormat === wanted.surfaceFormat &&
    have.decodeSurfaces >= wanted.decodeSurfaces &&
    have.maxWidth >= wanted.width &&
    have.maxHeight >= wanted.height
  )
}
