import { type DecoderCaps, decoderCaps } from '../../../ffi/nvcuvid/caps.ts'
import {
  cudaVideoChromaFormat_420,
  cudaVideoCodec_AV1,
  cudaVideoCodec_H264,
  cudaVideoCodec_HEVC,
  cudaVideoCodec_MPEG1,
  cudaVideoCodec_MPEG2,
  cudaVideoCodec_MPEG4,
  cudaVideoCodec_VP8,
  cudaVideoCodec_VP9,
  cudaVideoSurfaceFormat_NV12,
  cudaVideoSurfaceFormat_P016,
} from '../../../ffi/nvcuvid/constants.ts'
import type { VideoFormat } from '../../../ffi/nvcuvid/parser.ts'
import { NvdecRefusal } from './refusal.ts'
import { type AnswersHandle, SharedAnswers } from './shared-answers.ts'

/** nvcuvid's numbers of codecs, by FFmpeg's names. */
export const NVDEC_CODECS: Readonly<Record<string, number>> = {
  mpeg1video: cudaVideoCodec_MPEG1,
  mpeg2video: cudaVideoCodec_MPEG2,
  mpeg4: cudaVideoCodec_MPEG4,
  h264: cudaVideoCodec_H264,
  hevc: cudaVideoCodec_HEVC,
  vp8: cudaVideoCodec_VP8,
  vp9: cudaVideoCodec_VP9,
  av1: cudaVideoCodec_AV1,
}

const CHROMA_NAMES = ['grey', '4:2:0', '4:2:2', '4:4:4']

/** cudaVideoSurfaceFormat of surfaces for samples of so many bits. */
export const surfaceFormatFor = (depth: number): number =>
  depth > 8 ? cudaVideoSurfaceFormat_P016 : cudaVideoSurfaceFormat_NV12

const CAPS_FIELDS = [
  'engines',
  'surfaceFormats',
  'minWidth',
  'minHeight',
  'maxWidth',
  'maxHeight',
  'maxMacroblocks',
] as const satisfies readonly (keyof DecoderCaps)[]

const numbersOf = (caps: DecoderCaps): number[] => [
  Number(caps.supported),
  ...CAPS_FIELDS.map(field => caps[field]),
]

const capsOf = ([supported, ...numbers]: readonly number[]): DecoderCaps => ({
  supported: supported !== 0,
  ...(Object.fromEntries(CAPS_FIELDS.map((field, i) => [field, numbers[i]!])) as Omit<
    DecoderCaps,
    'supported'
  >),
})

/** Room for what one GPU decodes, for all threads that use it. */
export const createCapabilities = (): AnswersHandle => SharedAnswers.create(1 + CAPS_FIELDS.length)

/**
 * What one GPU decodes, asked with its context current. Each question is put to the driver once: it takes an answer 65 ms, one
 * thread after the other.
 */
export class NvdecCapabilities {
  readonly #known = new Map<string, DecoderCaps>()
  readonly #shared: SharedAnswers

  /** @param shared `createCapabilities`, among threads that use the same GPU */
  constructor(shared: AnswersHandle = createCapabilities()) {
    this.#shared = new SharedAnswers(shared)
  }

  /** Of a codec by FFmpeg's name; undefined for codecs that NVDEC has never had. */
  query(codec: string, chroma: number = cudaVideoChromaFormat_420, depth = 8): DecoderCaps | undefined {
    const number = NVDEC_CODECS[codec]
    if (number === undefined) return undefined
    const key = `${number} ${chroma} ${depth}`
    const caps = this.#known.get(key) ?? this.#ask(number, chroma, depth)
    this.#known.set(key, caps)
    return caps
  }

  #ask(codec: number, chroma: number, depth: number): DecoderCaps {
    const key = (codec << 16) | (chroma << 8) | depth
    return capsOf(this.#shared.get(key, () => numbersOf(decoderCaps(codec, chroma, depth))))
  }

  /** @throws {NvdecRefusal} `codec` if no stream of the codec can be decoded. @returns nvcuvid's number of it */
  requireCodec(codec: string): number {
    // What decodes 10 bits of a codec decodes 8.
    if (!this.query(codec)?.supported) {
      throw new NvdecRefusal('codec', `this GPU's NVDEC does not decode ${codec}`)
    }
    return NVDEC_CODECS[codec]!
  }

  /** @throws {NvdecRefusal} if a stream of this format cannot be decoded, or not into what the clip kernel reads */
  requireFormat(codec: string, format: VideoFormat): DecoderCaps {
    const { chroma, depth, codedWidth: width, codedHeight: height } = format
    if (chroma !== cudaVideoChromaFormat_420) {
      throw new NvdecRefusal(
        'chroma',
        `${CHROMA_NAMES[chroma] ?? 'unknown'} ${codec} is not taken from NVDEC`,
      )
    }
    if (format.chromaDepth !== depth) {
      throw new NvdecRefusal('depth', `${codec} of ${depth} bits with ${format.chromaDepth} bits of chroma`)
    }
    // nvcuvid then leaves out the last column of macroblocks, and their part of the picture is what was there before.
    if (format.codec <= cudaVideoCodec_MPEG4 && width % 16 !== 0) {
      throw new NvdecRefusal('size', `nvcuvid does not decode ${codec} of a width of ${width} whole`)
    }
    const caps = this.query(codec, chroma, depth)
    if (!caps?.supported || (caps.surfaceFormats & (1 << surfaceFormatFor(depth))) === 0) {
      throw new NvdecRefusal('depth', `this GPU's NVDEC does not decode ${codec} of ${depth} bits`)
    }
    const { minWidth, minHeight, maxWidth, maxHeight, maxMacroblocks } = caps
    const fits =
      width >= minWidth &&
      width <= maxWidth &&
      height >= minHeight &&
      height <= maxHeight &&
      (width * height) / 256 <= maxMacroblocks
    if (!fits) {
      throw new NvdecRefusal(
        'size',
        `${width}x${height} is outside what this GPU's NVDEC decodes of ${codec}: ` +
          `${minWidth}x${minHeight} to ${maxWidth}x${maxHeight}, at most ${maxMacroblocks} macroblocks`,
      )
    }
    return caps
  }
}
