import type { Pointer } from 'bun:ffi'
import { memoryLeft } from '../cuda/check.ts'
import { CUDA_ERROR_OUT_OF_MEMORY } from '../cuda/constants.ts'
import type { CUstream, DevicePointer } from '../cuda/types.ts'
import { check, nvcuvidError } from './check.ts'
import {
  CUDA_ERROR_NOT_SUPPORTED,
  cudaVideoCreate_PreferCUVID,
  cudaVideoDeinterlaceMode_Weave,
  cuvidDecodeStatus_Invalid,
} from './constants.ts'
import { nvcuvid } from './library.ts'
import type { ContextLock } from './lock.ts'
import type { DisplayInfo } from './parser.ts'
import { Struct } from './struct.ts'

declare const decoderBrand: unique symbol
/** A CUvideodecoder: the same in all threads of the process, used by one at a time. */
export type DecoderHandle = Pointer & { readonly [decoderBrand]: true }

/** What a decoder is made for. */
export interface DecoderConfig {
  /** cudaVideoCodec */
  codec: number
  /** cudaVideoChromaFormat */
  chroma: number
  /** Bits of a sample. */
  depth: number
  /** cudaVideoSurfaceFormat of what is mapped. */
  surfaceFormat: number
  /** Coded size, and the largest that the decoder may be reconfigured to. */
  width: number
  height: number
  maxWidth: number
  maxHeight: number
  /** Pictures that are being decoded, or referred to, or wait to be shown. */
  decodeSurfaces: number
  /** Pictures that are mapped at the same time, at most. */
  outputSurfaces: number
}

/** The GPU must write whole pairs of rows and columns. */
const even = (x: number) => x + (x & 1)

/** Rows of luma in a mapped surface: its chroma begins after them. */
export const surfaceRows = (codedHeight: number): number => even(codedHeight)

const cell = new BigUint64Array(new ArrayBuffer(8))
const word = new Uint32Array(new ArrayBuffer(4))

/** Takes 30 to 50 ms. @throws {NativeError} */
export function createDecoder(config: DecoderConfig, lock?: ContextLock): DecoderHandle {
  const info = new Struct('CUVIDDECODECREATEINFO')
    .setI64('ulWidth', config.width)
    .setI64('ulHeight', config.height)
    .setI64('ulMaxWidth', config.maxWidth)
    .setI64('ulMaxHeight', config.maxHeight)
    .setI64('ulTargetWidth', even(config.width))
    .setI64('ulTargetHeight', even(config.height))
    .setI16('display_area.right', config.width)
    .setI16('display_area.bottom', config.height)
    .setI64('ulNumDecodeSurfaces', config.decodeSurfaces)
    .setI64('ulNumOutputSurfaces', config.outputSurfaces)
    .setI32('CodecType', config.codec)
    .setI32('ChromaFormat', config.chroma)
    .setI64('bitDepthMinus8', config.depth - 8)
    .setI64('ulCreationFlags', cudaVideoCreate_PreferCUVID)
    .setI32('OutputFormat', config.surfaceFormat)
    .setI32('DeinterlaceMode', cudaVideoDeinterlaceMode_Weave)
    .setI64('vidLock', lock ?? 0)
  const status = nvcuvid().symbols.cuvidCreateDecoder(cell, info.bytes)
  if (status === CUDA_ERROR_OUT_OF_MEMORY) {
    const size = `${config.maxWidth}x${config.maxHeight}`
    const more = `a decoder of up to ${size}, and ${memoryLeft()}; lower in_flight of the loaders on this GPU`
    throw nvcuvidError('cuvidCreateDecoder', status, more)
  }
  check('cuvidCreateDecoder', status)
  return Number(cell[0]) as DecoderHandle
}

/**
 * Gives a decoder another coded size. Only from inside a parser's sequence callback, and while nothing is mapped.
 * @throws {NativeError}
 */
export function reconfigureDecoder(
  decoder: DecoderHandle,
  { width, height, decodeSurfaces }: Pick<DecoderConfig, 'width' | 'height' | 'decodeSurfaces'>,
): void {
  const info = new Struct('CUVIDRECONFIGUREDECODERINFO')
    .setI32('ulWidth', width)
    .setI32('ulHeight', height)
    .setI32('ulTargetWidth', even(width))
    .setI32('ulTargetHeight', even(height))
    .setI16('display_area.right', width)
    .setI16('display_area.bottom', height)
    .setI32('ulNumDecodeSurfaces', decodeSurfaces)
  const { cuvidReconfigureDecoder: reconfigure } = nvcuvid().symbols
  check('cuvidReconfigureDecoder', reconfigure(decoder, info.bytes))
}

export function destroyDecoder(decoder: DecoderHandle): void {
  check('cuvidDestroyDecoder', nvcuvid().symbols.cuvidDestroyDecoder(decoder))
}

/** Hands a picture to the engine; blocks while its queue is full. @returns the status: not all pictures can be decoded */
export function decodePicture(decoder: DecoderHandle, picture: Pointer): number {
  return nvcuvid().symbols.cuvidDecodePicture(decoder, picture)
}

const statusInfo = new Struct('CUVIDGETDECODESTATUS')

/** cuvidDecodeStatus of the picture in a decode surface; `Invalid` where the codec has no such thing. */
export function decodeStatus(decoder: DecoderHandle, surface: number): number {
  const { cuvidGetDecodeStatus: get } = nvcuvid().symbols
  const status = get(decoder, surface, statusInfo.bytes)
  if (status === CUDA_ERROR_NOT_SUPPORTED) return cuvidDecodeStatus_Invalid
  if (status !== 0) throw nvcuvidError('cuvidGetDecodeStatus', status)
  return statusInfo.i32('decodeStatus')
}

/** A picture in device memory: rows of luma, then rows of Cb and Cr in pairs. */
export interface MappedSurface {
  address: DevicePointer
  /** Bytes from row to row. */
  pitch: number
}

const mapping = new Struct('CUVIDPROCPARAMS')

/**
 * Waits until a picture is decoded, and has it written row by row, on the stream, to a surface of its own.
 * @throws {NativeError}
 */
export function mapFrame(decoder: DecoderHandle, picture: DisplayInfo, stream: CUstream): MappedSurface {
  mapping
    .setI32('progressive_frame', picture.progressive ? 1 : 0)
    .setI32('top_field_first', picture.topFieldFirst ? 1 : 0)
    .setI32('unpaired_field', picture.repeatFirstField < 0 ? 1 : 0)
    .setI32('second_field', picture.repeatFirstField + 1)
    .setI64('output_stream', stream)
  const { cuvidMapVideoFrame64: map } = nvcuvid().symbols
  const status = map(decoder, picture.surface, cell, word, mapping.bytes)
  check('cuvidMapVideoFrame64', status)
  return { address: Number(cell[0]) as DevicePointer, pitch: word[0]! }
}

/** Gives a surface back, once nothing reads it any more. @throws {NativeError} */
export function unmapFrame(decoder: DecoderHandle, address: DevicePointer): void {
  check('cuvidUnmapVideoFrame64', nvcuvid().symbols.cuvidUnmapVideoFrame64(decoder, address))
}
