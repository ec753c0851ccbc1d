import type { InputVideoTrack } from 'mediabunny'
import { VideoError } from '../errors.ts'
import { configuredSequence, type H264Sequence, isH264Configuration } from './dependencies/h264.ts'
import { isHevcConfiguration } from './dependencies/hevc.ts'
import { collectNals } from './dependencies/nal.ts'
import type { Colour, StreamInfo } from './types.ts'

/** mediabunny's names of codecs, and FFmpeg's. */
const CODECS: Record<string, string> = { avc: 'h264', hevc: 'hevc', vp8: 'vp8', vp9: 'vp9', av1: 'av1' }

/** WebCodecs' names of matrix_coefficients, by ITU-T H.273. */
const MATRICES: Record<string, number> = { rgb: 0, bt709: 1, bt470bg: 5, smpte170m: 6, 'bt2020-ncl': 9 }

/**
 * What is known of a track's stream.
 *
 * @param configuration reads the packet that holds the parameter sets, for streams that have them nowhere else.
 * @throws {VideoError} `unsupported_codec` for those that mediabunny doesn't know.
 */
export async function describeStream(
  track: InputVideoTrack,
  configuration: () => Promise<Uint8Array>,
): Promise<StreamInfo> {
  const codec = CODECS[(await track.getCodec()) ?? '']
  const config = await track.getDecoderConfig()
  if (codec === undefined || config === null) {
    throw new VideoError(
      'unsupported_codec',
      `no decoder for ${describeCodec(await track.getInternalCodecId())}`,
    )
  }
  const description = bytesOf(config.description) ?? (await parameterSets(codec, configuration))
  const container = { width: await track.getCodedWidth(), height: await track.getCodedHeight() }
  const sequence = codec === 'h264' ? configuredSequence(description) : undefined
  return {
    codec,
    description,
    ...(sequence ? shownSize(sequence, container) : container),
    rotation: await track.getRotation(),
    colour: colourOf(await track.getColorSpace()),
  }
}

function describeCodec(id: string | number | Uint8Array | null): string {
  return id === null || id instanceof Uint8Array ? 'this codec' : `codec ${id}`
}

function bytesOf(
  source: ArrayBuffer | SharedArrayBuffer | ArrayBufferView | undefined,
): Uint8Array | undefined {
  if (source === undefined) return undefined
  // A copy: decoders keep it to compare it with the next video's, when the file has been closed.
  return ArrayBuffer.isView(source)
    ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength).slice()
    : new Uint8Array(source).slice()
}

/** The parameter sets of a stream that has them in its packets only, and perhaps not before each keyframe. */
async function parameterSets(
  codec: string,
  packet: () => Promise<Uint8Array>,
): Promise<Uint8Array | undefined> {
  const wanted = { h264: isH264Configuration, hevc: isHevcConfiguration }[codec]
  if (wanted === undefined) return undefined
  const found = collectNals(await packet(), 'startcodes', wanted)
  return found.length > 0 ? found : undefined
}

/**
 * The size that FFmpeg shows of H.264: the container's, if it only takes off what the coded size has too much to be
 * whole macroblocks; else the stream's own.
 */
export function shownSize(sequence: H264Sequence, container: { width: number; height: number }) {
  const { width, height } = container
  const fits = (own: number, coded: number) =>
    own > 0 && own <= coded && (own + 15) >> 4 === (coded + 15) >> 4
  return !sequence.offset && fits(width, sequence.width) && fits(height, sequence.height)
    ? container
    : { width: sequence.width, height: sequence.height }
}

function colourOf(space: VideoColorSpaceInit): Colour {
  const colour: Colour = {}
  const matrix = MATRICES[space.matrix ?? '']
  if (matrix !== undefined) colour.matrix = matrix
  // mediabunny says "not full" of streams that say nothing, too.
  if (space.fullRange || (space.fullRange === false && matrix !== undefined))
    colour.fullRange = space.fullRange
  return colour
}
