import { AVERROR_EAGAIN, AVERROR_EOF } from '../../ffi/libav/check.ts'
import { LibavCodec } from './libav-codec.ts'
import type { StreamInfo } from './types.ts'

/**
 * The order in which libavcodec shows a stream's pictures, found by decoding it: for streams whose timestamps don't
 * say (H.264 in AVI, fields in packets of their own), and for the pictures around the first keyframe, of which only
 * the decoder knows whether they can be shown.
 * @returns decode positions in presentation order; pictures that are never shown are left out.
 */
export function decodedOrder(
  info: StreamInfo,
  packets: Iterable<{ data: Uint8Array; key: boolean }>,
): number[] {
  const codec = new LibavCodec(info, { threads: 1, explode: false })
  const shown: number[] = []
  const receive = () => {
    let status = codec.receive()
    for (; status >= 0; status = codec.receive()) if (codec.index !== undefined) shown.push(codec.index)
    return status
  }
  try {
    let position = 0
    for (const { data, key } of packets) {
      if (data.length > 0) {
        if (codec.send(data, position, key) === AVERROR_EAGAIN) {
          receive()
          codec.send(data, position, key)
        }
        receive()
      }
      position++
    }
    codec.sendEnd()
    // A damaged picture is an error once, and the next call goes on to the next.
    for (let errors = 0, status = receive(); errors < 64 && status !== AVERROR_EOF; errors++)
      status = receive()
    return shown
  } finally {
    codec.close()
  }
}
