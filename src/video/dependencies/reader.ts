import type { StreamInfo } from '../types.ts'
import { av1Reader } from './av1.ts'
import { h264Reader } from './h264.ts'
import { hevcReader } from './hevc.ts'
import { type PictureReader, picture } from './picture.ts'
import { vp8Reader, vp9Reader } from './vpx.ts'

const READERS: Record<string, (info: StreamInfo) => PictureReader> = {
  h264: h264Reader,
  hevc: hevcReader,
  vp8: vp8Reader,
  vp9: vp9Reader,
  av1: av1Reader,
}

/** A reader of the codec's pictures; for codecs whose headers are not read, one that takes all for references. */
export function pictureReader(info: StreamInfo): PictureReader {
  return READERS[info.codec]?.(info) ?? (() => picture())
}
