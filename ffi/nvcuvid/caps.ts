import { check } from './check.ts'
import { nvcuvid } from './library.ts'
import { Struct } from './struct.ts'

/** What the GPU of the calling thread's context decodes of one codec, chroma format and depth. */
export interface DecoderCaps {
  supported: boolean
  /** NVDEC engines that do. */
  engines: number
  /** Bit n: surfaces of cudaVideoSurfaceFormat n can be made. */
  surfaceFormats: number
  minWidth: number
  minHeight: number
  maxWidth: number
  maxHeight: number
  /** Of coded width times coded height, by 256. */
  maxMacroblocks: number
}

/**
 * @param codec cudaVideoCodec
 * @param chroma cudaVideoChromaFormat
 * @param depth bits of a sample
 */
export function decoderCaps(codec: number, chroma: number, depth: number): DecoderCaps {
  const caps = new Struct('CUVIDDECODECAPS')
    .setI32('eCodecType', codec)
    .setI32('eChromaFormat', chroma)
    .setI32('nBitDepthMinus8', depth - 8)
  check('cuvidGetDecoderCaps', nvcuvid().symbols.cuvidGetDecoderCaps(caps.bytes))
  return {
    supported: caps.u8('bIsSupported') !== 0,
    engines: caps.u8('nNumNVDECs'),
    surfaceFormats: caps.u16('nOutputFormatMask'),
    minWidth: caps.u16('nMinWidth'),
    minHeight: caps.u16('nMinHeight'),
    maxWidth: caps.i32('nMaxWidth'),
    maxHeight: caps.i32('nMaxHeight'),
    maxMacroblocks: caps.i32('nMaxMBCount'),
  }
}
