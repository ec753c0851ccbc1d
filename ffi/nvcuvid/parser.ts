import { FFIType, JSCallback, type Pointer, ptr, read } from 'bun:ffi'
import { keep } from '../keep.ts'
import { check } from './check.ts'
import { CUVID_PKT_ENDOFPICTURE, CUVID_PKT_ENDOFSTREAM, CUVID_PKT_TIMESTAMP } from './constants.ts'
import { nvcuvid } from './library.ts'
import offsets from './offsets.json'
import { Struct } from './struct.ts'

declare const parserBrand: unique symbol
/** A CUvideoparser. */
type Parser = Pointer & { readonly [parserBrand]: true }

/** What a stream's sequence header says. */
export interface VideoFormat {
  /** cudaVideoCodec */
  codec: number
  /** cudaVideoChromaFormat */
  chroma: number
  /** Bits of a luma sample, and of a chroma sample. */
  depth: number
  chromaDepth: number
  /** Whole macroblocks. */
  codedWidth: number
  codedHeight: number
  /** What of that is shown: right and bottom are outside. */
  left: number
  top: number
  right: number
  bottom: number
  /** Decode surfaces without which the stream cannot be decoded. */
  minSurfaces: number
  /** matrix_coefficients as ITU-T H.273 numbers them; 2 where the stream does not say. */
  matrix: number
  /** False, too, where the stream does not say. */
  fullRange: boolean
}

/** A picture that is ready to be shown. */
export interface DisplayInfo {
  /** Decode surface that holds it. */
  surface: number
  /** Of its packet. */
  timestamp: number
  progressive: boolean
  topFieldFirst: boolean
  /** -1: only one field is there. */
  repeatFirstField: number
}

/** What a parser calls, from inside `parse` and on the same thread. What they throw comes out of `parse`. */
export interface ParserHandlers {
  /** Before the first picture, and where the format changes. @returns how many decode surfaces there are */
  sequence(format: VideoFormat): number
  /** A picture to decode, in decode order. @param picture a CUVIDPICPARAMS, for decodePicture alone */
  decode(picture: Pointer, surface: number): void
  /** A picture to show, in presentation order. It may be written over once this returns. */
  display(info: DisplayInfo): void
}

export interface ParserOptions {
  /** Pictures that are decoded ahead of the one that is shown, so that the engine need not wait. */
  displayDelay: number
}

function videoFormat(at: Pointer): VideoFormat {
  const fields = offsets.CUVIDEOFORMAT
  return {
    codec: read.i32(at, fields.codec),
    chroma: read.i32(at, fields.chroma_format),
    depth: 8 + read.u8(at, fields.bit_depth_luma_minus8),
    chromaDepth: 8 + read.u8(at, fields.bit_depth_chroma_minus8),
    codedWidth: read.i32(at, fields.coded_width),
    codedHeight: read.i32(at, fields.coded_height),
    left: read.i32(at, fields['display_area.left']),
    top: read.i32(at, fields['display_area.top']),
    right: read.i32(at, fields['display_area.right']),
    bottom: read.i32(at, fields['display_area.bottom']),
    minSurfaces: read.u8(at, fields.min_num_decode_surfaces),
    matrix: read.u8(at, fields['video_signal_description.matrix_coefficients']),
    fullRange: (read.u8(at, fields.video_full_range_flag) & fields['video_full_range_flag bit']) !== 0,
  }
}

function displayInfo(at: Pointer): DisplayInfo {
  const fields = offsets.CUVIDPARSERDISPINFO
  return {
    surface: read.i32(at, fields.picture_index),
    // Timestamps here are presentation indices: the low half has all of them.
    timestamp: read.i32(at, fields.timestamp),
    progressive: read.i32(at, fields.progressive_frame) !== 0,
    topFieldFirst: read.i32(at, fields.top_field_first) !== 0,
    repeatFirstField: read.i32(at, fields.repeat_first_field),
  }
}

const CALLBACK = { args: [FFIType.ptr, FFIType.ptr], returns: FFIType.i32 } as const
const FAILED = 0
const SUCCEEDED = 1

/**
 * nvcuvid's parsers on one thread, one after the other: it makes the C functions that they call back once, which takes
 * longer than to parse a video. Only the thread that made it may use it.
 */
export class VideoParsers {
  readonly #handlers: ParserHandlers
  readonly #callbacks: readonly [JSCallback, JSCallback, JSCallback]
  readonly #packet = new Struct('CUVIDSOURCEDATAPACKET')
  readonly #parser = new BigUint64Array(new ArrayBuffer(8))
  #thrown: { error: unknown } | undefined

  constructor(handlers: ParserHandlers) {
    this.#handlers = handlers
    this.#callbacks = [
      this.#callback(at => this.#handlers.sequence(videoFormat(at))),
      this.#callback(at => {
        this.#handlers.decode(at, read.i32(at, offsets.CUVIDPICPARAMS.CurrPicIdx))
        return SUCCEEDED
      }),
      this.#callback(at => {
        this.#handlers.display(displayInfo(at))
        return SUCCEEDED
      }),
    ]
  }

  /** A C function that runs `handle` on its second argument; an exception must not cross C, so it is kept. */
  #callback(handle: (at: Pointer) => number): JSCallback {
    return new JSCallback((_user: Pointer | null, at: Pointer | null) => {
      // At the end of a stream the display callback may come with nothing to show.
      if (at === null) return SUCCEEDED
      if (this.#thrown) return FAILED
      try {
        return handle(at)
      } catch (error) {
        this.#thrown = { error }
        return FAILED
      }
    }, CALLBACK)
  }

  /** Starts a stream; one that was not ended is given up. */
  begin(codec: number, { displayDelay }: ParserOptions): void {
    this.abandon()
    const [sequence, decode, display] = this.#callbacks
    const parameters = new Struct('CUVIDPARSERPARAMS')
      .setI32('CodecType', codec)
      // The sequence callback says how many there are.
      .setI32('ulMaxNumDecodeSurfaces', 1)
      .setI32('ulMaxDisplayDelay', displayDelay)
      .setI64('pfnSequenceCallback', Number(sequence.ptr))
      .setI64('pfnDecodePicture', Number(decode.ptr))
      .setI64('pfnDisplayPicture', Number(display.ptr))
    const { cuvidCreateVideoParser: create } = nvcuvid().symbols
    check('cuvidCreateVideoParser', create(this.#parser, parameters.bytes))
  }

  /**
   * Parses one whole coded picture, or the two fields of one, as the codec's elementary stream has it.
   * @returns the status; what a handler threw is thrown.
   */
  parse(data: Uint8Array, timestamp: number): number {
    this.#packet
      .setI64('flags', CUVID_PKT_TIMESTAMP | CUVID_PKT_ENDOFPICTURE)
      .setI64('payload_size', data.length)
      .setI64('payload', ptr(data))
      .setI64('timestamp', timestamp)
    try {
      return this.#send()
    } finally {
      // Handlers may have let the garbage collector run meanwhile.
      keep(data)
    }
  }

  /** Ends the stream: all pictures that are held back are shown. @returns the status, as `parse` does */
  end(): number {
    this.#packet.setI64('flags', CUVID_PKT_ENDOFSTREAM).setI64('payload_size', 0).setI64('payload', 0)
    const status = this.#send()
    this.abandon()
    return status
  }

  #send(): number {
    const { cuvidParseVideoData: parse } = nvcuvid().symbols
    const status = parse(this.#current!, this.#packet.bytes)
    const thrown = this.#thrown
    if (thrown) {
      this.#thrown = undefined
      throw thrown.error
    }
    return status
  }

  get #current(): Parser | undefined {
    const address = Number(this.#parser[0])
    return address === 0 ? undefined : (address as Parser)
  }

  /** Gives up the stream, if there is one: nothing more is shown of it. */
  abandon(): void {
    const parser = this.#current
    if (parser === undefined) return
    this.#parser[0] = 0n
    check('cuvidDestroyVideoParser', nvcuvid().symbols.cuvidDestroyVideoParser(parser))
  }

  close(): void {
    this.abandon()
    for (const callback of this.#callbacks) callback.close()
  }
}
