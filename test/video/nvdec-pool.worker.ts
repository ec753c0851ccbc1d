import type { DecoderConfig } from '../../ffi/nvcuvid/decoder.ts'
import { DecoderPool, type DecoderPoolHandle } from '../../src/video/nvdec/pool.ts'

declare const self: Worker

self.onmessage = ({ data }: MessageEvent<{ handle: DecoderPoolHandle; config: DecoderConfig }>) => {
  self.postMessage({ what: 'waiting' })
  const pool = new DecoderPool(data.handle)
  const lease = pool.take(data.config)
  pool.giveBack(lease, data.config)
  self.postMessage({ what: 'taken', decoder: lease.decoder })
}
