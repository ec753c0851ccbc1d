/** Colour description as coded (numbers of ITU-T H.273); undefined where the stream does not say. */
export interface Colour {
  /** matrix_coefficients: 1 BT.709, 5 and 6 BT.601, 9 BT.2020, 0 RGB. */
  matrix?: number
  fullRange?: boolean
}

/** What is known of a video stream before anything is decoded. */
export interface StreamInfo {
  /** By FFmpeg's decoder names: h264, hevc, vp8, vp9, av1, mpeg4, mpeg2video, theora, ... */
  codec: string
  /** Decoder configuration as the container holds it (avcC, hvcC, vpcC, av1C, FFmpeg's extradata), or none. */
  description?: Uint8Array
  /** FFmpeg's codec_tag, where libavformat opened the file: the pixel format of raw video. */
  tag?: number
  /** Size in the container, unrotated: frames are cropped to it. */
  width: number
  height: number
  /** Clockwise rotation that shows it upright. */
  rotation: 0 | 90 | 180 | 270
  colour: Colour
}

/** A coded picture, as the container holds it (H.264 and HEVC length-prefixed where `description` says so). */
export interface Packet {
  data: Uint8Array
  /** Presentation index of its frame: the rank of its timestamp among shown packets; negative if never shown. */
  index: number
  key: boolean
  /** Packets before it were left out: a decoder gives up the frames that it holds back, and resets, before this one. */
  restart?: boolean
}

/** A video, opened: index facts are complete, packets are read when asked for. */
export interface Video {
  readonly container: string
  readonly info: StreamInfo
  /** Number of frames that are shown; presentation indices are 0..frames-1. */
  readonly frames: number
  /**
   * The packets, in decode order, that the wanted frames (presentation indices, ascending) depend on: from the
   * last keyframe not after the first wanted frame, its leading pictures dropped, then reference pictures and the
   * wanted ones, up to the last wanted.
   */
  packets(wanted: readonly number[]): AsyncIterable<Packet> | Iterable<Packet>
  /** Runs of clips that are decoded from the same keyframe, as far as the container knows: one need not wait for another. */
  runs(clips: readonly Clip[]): ClipRun[]
  close(): void
}

/** Clips that follow each other and are best decoded together. */
export interface ClipRun {
  /** The first of them, by its place, and how many they are. */
  first: number
  count: number
  /** From the keyframe to the last frame, in decode order: what decoding them takes, in proportion. */
  packets: number
}

export interface Demuxer {
  readonly name: string
  /** @throws {VideoError} with the code for what is wrong with the file. */
  open(path: string): Promise<Video>
}

/** A decoded picture in CPU memory. Its planes belong to the decoder and are valid only inside the callback. */
export interface Frame {
  /** Presentation index. */
  index: number
  /** FFmpeg's name of the pixel format: yuv420p, yuvj420p, yuv444p, yuv420p10le, nv12, gray, ... */
  format: string
  /** After cropping to the container's size. */
  width: number
  height: number
  /** 8-bit formats in Uint8Array, deeper ones in Uint16Array; stride in elements. */
  planes: { data: Uint8Array | Uint16Array; stride: number }[]
  colour: Colour
}

/** Turns packets into frames, on the calling thread; made once, used for many videos. */
export interface FrameDecoder {
  readonly name: string
  /**
   * Decodes the packets and hands over each wanted frame once, in presentation order.
   * @returns frames decoded, wanted or not.
   * @throws {VideoError} `damaged` if a wanted frame, or one that it depends on, reported damage or is missing.
   */
  decode(
    info: StreamInfo,
    packets: AsyncIterable<Packet> | Iterable<Packet>,
    wanted: readonly number[],
    onFrame: (frame: Frame) => void,
  ): Promise<number>
  close(): void
}

/** `count` consecutive frames from presentation index `first`. */
export interface Clip {
  first: number
  count: number
}
