import { VideoError, type VideoErrorCode } from '../../errors.ts'

/** Why NVDEC does not take a stream. */
export type RefusalReason = 'codec' | 'chroma' | 'depth' | 'size'

const CODES: Readonly<Record<RefusalReason, VideoErrorCode>> = {
  codec: 'unsupported_codec',
  chroma: 'unsupported_format',
  depth: 'unsupported_format',
  size: 'size_limit',
}

/** NVDEC on this GPU does not take this stream; another decoder may. Where there is none it fails the request. */
export class NvdecRefusal extends VideoError {
  constructor(
    readonly reason: RefusalReason,
    detail: string,
  ) {
    super(CODES[reason], detail)
  }
}
