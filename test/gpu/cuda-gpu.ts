import { type DeviceContext, releaseContext, retainContext } from '../../ffi/cuda/context.ts'
import { cudaDriver } from '../../ffi/cuda/driver.ts'
import { allocate, download, fillBytes, free, upload } from '../../ffi/cuda/memory.ts'
import { Owner } from '../../ffi/cuda/owner.ts'
import { createStream, destroyStream, synchronizeStream } from '../../ffi/cuda/stream.ts'
import type { CUstream, DevicePointer } from '../../ffi/cuda/types.ts'
import { cudnnStatus } from '../../ffi/cudnn/library.ts'

export const GPUS = cudaDriver()?.devices.length ?? 0
if (GPUS === 0) console.warn('skipped: tests on a GPU: there is no NVIDIA GPU')

const cudnn = cudnnStatus()
export const haveCudnn = GPUS > 0 && cudnn.ok
if (GPUS > 0 && !cudnn.ok) console.warn(`skipped: tests of cuDNN: ${cudnn.problem}`)

type Values = Float32Array | Float16Array | Uint32Array | Uint8Array

/** The first GPU's context and a stream, and memory that is freed at the end. */
export class Gpu {
  readonly owner = new Owner()
  readonly context: DeviceContext
  readonly stream: CUstream

  constructor(index = 0) {
    this.context = this.owner.own(retainContext(index), releaseContext)
    this.stream = this.owner.own(createStream(), destroyStream)
  }

  /** Memory with every bit set: NaN, if read as a number. It is so at once, for other streams too. */
  poisoned(bytes: number): DevicePointer {
    const made = this.owner.own(allocate(bytes, { what: 'a test', lower: 'it' }), free)
    fillBytes(made, 0xff, bytes, this.stream)
    synchronizeStream(this.stream)
    return made
  }

  put(values: Values): DevicePointer {
    const made = this.poisoned(values.byteLength)
    upload(made, values, values.byteLength, this.stream)
    synchronizeStream(this.stream)
    return made
  }

  /** Fills `values` once the stream has done what it was asked. */
  get<T extends Values>(from: DevicePointer, values: T): T {
    download(values, from, values.byteLength, this.stream)
    synchronizeStream(this.stream)
    return values
  }

  close(): void {
    this.owner.close()
  }
}
