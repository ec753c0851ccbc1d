import { describeDevice } from '../../../ffi/cuda/device.ts'
import { cudnnStatus } from '../../../ffi/cudnn/library.ts'
import type { Kernels } from './backend.ts'
import { CudnnBackend } from './cudnn/backend.ts'
import { type CudaExecutor, type ExecutorPlan, makeExecutor } from './executor.ts'
import { PtxBackend } from './ptx/backend.ts'
import { KernelUnfit } from './ptx/self-test.ts'

export interface CudaExecutorOptions extends ExecutorPlan {
  /** The device of this thread's context, as numbered under CUDA_VISIBLE_DEVICES. */
  readonly device: number
  /** What computes convolutions; by default cuDNN where it is installed, else the program's own kernels. */
  readonly kernels?: Kernels
}

/** An executor, and what its user should be told. */
export interface Created {
  readonly executor: CudaExecutor
  /** What computes convolutions, and why, where nobody asked for it. */
  readonly note: string
  /** It is not what was asked for, and why. */
  readonly warning?: string
}

const ownKernels = (options: CudaExecutorOptions): CudaExecutor =>
  makeExecutor(options, new PtxBackend(describeDevice(options.device).multiprocessors))

/**
 * Makes layers of a network ready on this thread's GPU: weights in its memory, a way for every convolution, a graph for
 * each of a few numbers of clips. With cuDNN that takes seconds, as ways are measured; nothing is chosen later. Own
 * kernels are tested first: where one is wrong, or not taken by the driver, cuDNN takes their place.
 * @throws {UsageError} for layers that the network does not have, or clips too small for them
 * @throws {LibraryError} without cuDNN, if that was asked for
 * @throws {KernelUnfit} if own kernels are wrong, and there is no cuDNN
 * @throws {NativeError} such as of memory that is short
 */
export function createCudaExecutor(options: CudaExecutorOptions): Created {
  const { kernels } = options
  const cudnn = 'convolutions by cuDNN'
  if (kernels === 'cudnn' || (kernels === undefined && cudnnStatus().ok))
    return { executor: makeExecutor(options, new CudnnBackend()), note: cudnn }
  try {
    const why = kernels === undefined ? ', as cuDNN is not installed' : ''
    return { executor: ownKernels(options), note: `convolutions by own kernels (ptx)${why}` }
  } catch (error) {
    if (!(error instanceof KernelUnfit) || !cudnnStatus().ok) throw error
    const warning = `${error.message}; cuDNN computes in place of this program's kernels`
    return { executor: makeExecutor(options, new CudnnBackend()), note: cudnn, warning }
  }
}
