import { makeArchitecture } from '../../models/architecture.ts'
import { seededNetwork } from '../../models/seeded.ts'
import { createCudaHostExecutor } from '../../src/compute/cuda/host-executor.ts'
import { elements } from '../../src/queue/tensor.ts'
import { fakeGpuAlive } from './fake-gpu.ts'

// Makes, uses and closes executors, and one that fails half-way; then says what is left of all of them.
const network = seededNetwork(makeArchitecture({ widths: [8, 8, 16, 16], stemMid: 5, classes: 5 }), 1)
for (const [startIndex, endIndex] of [
  [1, 5],
  [2, 3],
] as const) {
  const options = {
    network,
    startIndex,
    endIndex,
    frames: 4,
    size: 16,
    device: 0,
    precision: 'fp32',
  } as const
  for (const kernels of ['cudnn', 'ptx'] as const) {
    const executor = createCudaHostExecutor({ ...options, kernels, maxClips: 3, tries: 2 })
    const output = new Float32Array(elements(executor.outputShape(3)))
    executor.run(new Float32Array(elements(executor.inputShape(3))), 3, output)
    executor.close()
    try {
      createCudaHostExecutor({ ...options, kernels, maxClips: 1_000_000 })
    } catch (error) {
      console.log(error instanceof Error ? error.message : error)
    }
  }
}
console.log(`alive ${fakeGpuAlive()}`)
