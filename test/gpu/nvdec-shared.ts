import { type DeviceContext, releaseContext, retainContext } from '../../ffi/cuda/context.ts'
import { cudaDriver } from '../../ffi/cuda/driver.ts'
import { download } from '../../ffi/cuda/memory.ts'
import { Owner } from '../../ffi/cuda/owner.ts'
import { createStream, destroyStream, synchronizeStream } from '../../ffi/cuda/stream.ts'
import type { CUstream, DevicePointer } from '../../ffi/cuda/types.ts'
import { nvcuvidStatus } from '../../ffi/nvcuvid/library.ts'
import { NvdecDecoder } from '../../src/video/nvdec/decoder.ts'
import { DecoderPool } from '../../src/video/nvdec/pool.ts'
import type { SurfaceFrame } from '../../src/video/nvdec/surface.ts'
import type { Frame } from '../../src/video/types.ts'

export const haveNvdec = (cudaDriver()?.devices.length ?? 0) > 0 && nvcuvidStatus().ok
if (!haveNvdec) console.warn('skipping tests of NVDEC: there is no NVIDIA GPU, or no libnvcuvid')

/** NVDEC on the first GPU, with a pool of its own. */
export class TestGpu {
  readonly #owner = new Owner()
  readonly context: DeviceContext
  readonly stream: CUstream
  readonly pool: DecoderPool
  readonly decoder: NvdecDecoder

  constructor(decoders = 4) {
    this.context = this.#owner.own(retainContext(0), releaseContext)
    this.stream = this.#owner.own(createStream(), destroyStream)
    this.pool = this.#owner.own(new DecoderPool(DecoderPool.create(decoders)), pool => pool.close())
    this.decoder = this.#owner.own(new NvdecDecoder({ pool: this.pool, stream: this.stream }), d => d.close())
  }

  /** Device memory, once all that was put on the stream is done. */
  bytes(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(new ArrayBuffer(length))
    download(bytes, address as DevicePointer, length, this.stream)
    synchronizeStream(this.stream)
    return bytes
  }

  /** A surface in the host's memory, as it is. */
  frame({ index, format, width, height, luma, chroma, pitch, colour }: SurfaceFrame): Frame {
    const bytesPerSample = format === 'nv12' ? 1 : 2
    const plane = (address: number, columns: number, rows: number) => {
      const bytes = this.bytes(address, pitch * (rows - 1) + columns * bytesPerSample)
      const data = bytesPerSample === 1 ? bytes : new Uint16Array(bytes.buffer)
      return { data, stride: pitch / bytesPerSample }
    }
    const planes = [plane(luma, width, height), plane(chroma, 2 * ((width + 1) >> 1), (height + 1) >> 1)]
    return { index, format, width, height, planes, colour }
  }

  close(): void {
    this.#owner.close()
  }
}

const PLANAR = { nv12: 'yuv420p', p010le: 'yuv420p10le', p012le: 'yuv420p12le' } as const
const PADDING = { nv12: 0, p010le: 6, p012le: 4 } as const

/** A frame with Cb and Cr in pairs, as FFmpeg decodes it: three planes, of samples without padding. */
export function planar(frame: Frame): Frame {
  const format = frame.format as keyof typeof PLANAR
  const [luma, pairs] = frame.planes
  const columns = (frame.width + 1) >> 1
  const rows = (frame.height + 1) >> 1
  const make = (
    from: Frame['planes'][number],
    width: number,
    height: number,
    first: number,
    step: number,
  ) => {
    const data = format === 'nv12' ? new Uint8Array(width * height) : new Uint16Array(width * height)
    const padding = PADDING[format]
    for (let y = 0; y < height; y++) {
      let at = y * from.stride + first
      for (let x = y * width; x < (y + 1) * width; x++, at += step) data[x] = from.data[at]! >> padding
    }
    return { data, stride: width }
  }
  const planes = [
    make(luma!, frame.width, frame.height, 0, 1),
    make(pairs!, columns, rows, 0, 2),
    make(pairs!, columns, rows, 1, 2),
  ]
  return { ...frame, format: PLANAR[format], planes }
}
