import { makeArchitecture } from '../../models/architecture.ts'
import { seededNetwork } from '../../models/seeded.ts'
import { createCudaHostExecutor } from '../../src/compute/cuda/host-executor.ts'
import { fakeGpuAlive, fakeGpuFault } from './fake-gpu.ts'

// Makes executors of which one call after the other goes wrong, early and late, and says where something was left over.
const network = seededNetwork(makeArchitecture({ widths: [8, 8, 8, 8], stemMid: 5, classes: 5 }), 1)
const INVALID_VALUE = 1

const CALLS = {
  cuda: [
    'cuMemAlloc_v2',
    'cuStreamCreateWithPriority',
    'cuStreamSynchronize',
    'cuEventCreate',
    'cuEventRecord',
    'cuEventSynchronize',
    'cuModuleLoadDataEx',
    'cuMemcpyHtoDAsync_v2',
    'cuLaunchKernel',
  ],
  cudnn: [
    'cudnnCreate',
    'cudnnSetStream',
    'cudnnBackendCreateDescriptor',
    'cudnnBackendSetAttribute',
    'cudnnBackendFinalize',
    'cudnnBackendGetAttribute',
    'cudnnBackendExecute',
  ],
}

let failed = 0
let alive = 0
for (const [kernels, calls] of [
  ['cudnn', [...CALLS.cuda, ...CALLS.cudnn]],
  ['ptx', CALLS.cuda],
] as const)
  for (const call of calls)
    for (const after of [0, 1, 2, 3, 8, 34, 89]) {
      fakeGpuFault(`${call} ${after} ${INVALID_VALUE}`)
      try {
        const options = { network, startIndex: 1, endIndex: 5, frames: 2, size: 16, device: 0 } as const
        createCudaHostExecutor({ ...options, precision: 'fp32', kernels, maxClips: 2, tries: 2 }).close()
      } catch (error) {
        failed++
        if (!String(error).includes(call)) console.log(`${call} ${after}: ${error}`)
      }
      fakeGpuFault('')
      const now = fakeGpuAlive()
      if (now !== alive) console.log(`${kernels}, ${call} ${after}: ${now - alive} left`)
      alive = now
    }
console.log(`failed ${failed > 50 ? 'often' : failed}`)
