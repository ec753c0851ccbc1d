import { releaseContext, retainContext } from '../../ffi/cuda/context.ts'
import { createStream, destroyStream } from '../../ffi/cuda/stream.ts'
import { makeArchitecture } from '../../models/architecture.ts'
import { seededNetwork } from '../../models/seeded.ts'
import type { Kernels } from '../../src/compute/cuda/backend.ts'
import { createCudaExecutor } from '../../src/compute/cuda/create.ts'
import { fakeGpuAlive } from './fake-gpu.ts'

// Says what computes convolutions where the one argument is asked for (`default`: nothing is), and what is left of it.
const [asked] = process.argv.slice(2)
const context = retainContext(0)
const stream = createStream()
const network = seededNetwork(makeArchitecture({ widths: [8, 8, 16, 16], stemMid: 5, classes: 5 }), 1)
try {
  const { executor, note, warning } = createCudaExecutor({
    network,
    startIndex: 1,
    endIndex: 5,
    frames: 4,
    size: 16,
    maxClips: 2,
    device: 0,
    stream,
    precision: 'fp16',
    tries: 1,
    kernels: asked === 'default' ? undefined : (asked as Kernels),
  })
  console.log(JSON.stringify({ kernels: executor.kernels, note, warning }))
  executor.close()
} catch (error) {
  console.log(JSON.stringify({ error: (error as Error).name, message: (error as Error).message }))
}
destroyStream(stream)
releaseContext(context)
console.log(`alive ${fakeGpuAlive()}`)
