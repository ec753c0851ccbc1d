import { releaseContext, retainContext } from '../../../ffi/cuda/context.ts'
import { Owner } from '../../../ffi/cuda/owner.ts'
import { createStream, destroyStream } from '../../../ffi/cuda/stream.ts'
import { TILES } from '../../../kernels/convolution/tiles.ts'
import { makeArchitecture } from '../../../models/architecture.ts'
import { seededNetwork } from '../../../models/seeded.ts'
import { Rng } from '../../rng.ts'
import { runReference } from '../reference.ts'
import type { Kernels } from './backend.ts'
import { createCudaHostExecutor } from './host-executor.ts'
import type { Precision } from './layout.ts'
import { PtxConvolutions } from './ptx/convolutions.ts'
import { testKernels } from './ptx/self-test.ts'

/** What a right path stays under for the small network of the self-test; a wrong one is off by 0.1 and more. */
export const CUDA_SELF_TEST_TOLERANCE: Readonly<Record<Precision, number>> = {
  fp16: 1e-2,
  tf32: 4e-3,
  fp32: 1e-5,
}

/**
 * Relative error of the network path on a GPU for a small network, against its definition in float64: some versions of
 * cuDNN have engines that compute wrong results, and this program's kernels are new.
 * @param device - as numbered under CUDA_VISIBLE_DEVICES
 * @throws {LibraryError} without cuDNN. @throws {KernelUnfit} if an own kernel is wrong. @throws {NativeError}
 */
export function cudaSelfTest(device: number, precision: Precision, kernels: Kernels = 'cudnn'): number {
  const network = seededNetwork(makeArchitecture({ widths: [8, 16, 24, 32], stemMid: 11, classes: 13 }), 1)
  const [frames, size, clips, classes] = [8, 16, 2, 13]
  const rng = Rng.of(1, 'self-test')
  const row = 3 * frames * size * size
  const input = Float32Array.from({ length: clips * row }, () => rng.normal())
  const output = new Float32Array(clips * classes).fill(Number.NaN)
  const layers = { network, startIndex: 1, endIndex: 5, frames, size, maxClips: clips }
  const executor = createCudaHostExecutor({
    ...layers,
    counts: [clips],
    device,
    precision,
    kernels,
    tries: 4,
  })
  try {
    executor.run(input, clips, output)
  } finally {
    executor.close()
  }
  const expected = Array.from({ length: clips }, (_, i) => [
    ...runReference(network, 1, 5, input.subarray(i * row, (i + 1) * row), [3, frames, size, size]),
  ]).flat()
  return Math.hypot(...expected.map((value, i) => output[i]! - value)) / Math.hypot(...expected)
}

/**
 * Compiles every own convolution kernel for a GPU and computes a small convolution with each, whole and in parts.
 * @param device - as numbered under CUDA_VISIBLE_DEVICES
 * @returns relative errors against float64, by kernel
 * @throws {KernelUnfit} which names the first kernel that is wrong, or not taken by the driver
 * @throws {NativeError} if the device fails
 */
export function ownKernelsSelfTest(device: number): Map<string, number> {
  const owner = new Owner()
  try {
    owner.own(retainContext(device), releaseContext)
    const stream = owner.own(createStream(), destroyStream)
    const kernels = owner.own(new PtxConvolutions(stream), made => made.close())
    const tiles = Object.values(TILES).flat()
    return testKernels(
      kernels,
      tiles.flatMap(tile => [1, 2].map(parts => ({ tile, parts }))),
    )
  } finally {
    owner.close()
  }
}
