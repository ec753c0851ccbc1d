import { describeDevice } from '../../../ffi/cuda/device.ts'
import { cudnnStatus } from '../../../ffi/cudnn/library.ts'
import type { Kernels } from './backend.ts'
import { CudnnBackend } from './cudnn/backend.ts'
import { type CudaExecutor, type ExecutorPlan, makeExecutor } from './executor.ts'
import { PtxBackend } from './ptx/backend.ts'
import { HopperBackend, HopperUnsuited } from './ptx/hopper/backend.ts'
import { KernelUnfit } from './ptx/self-test.ts'

/** The compute capability whose own instructions the kernels of kernels/hopper use: no other has them. */
const HOPPER = '9.0'

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

/** What an executor by own kernels is said to compute with. */
interface Own {
  readonly executor: CudaExecutor
  readonly how: string
}

/** By the kernels for this capability, where the network's shapes are ones for them; else by the general ones. */
function ownKernels(options: CudaExecutorOptions): Own {
  const { capability, multiprocessors } = describeDevice(options.device)
  const general = (how: string): Own => ({
    executor: makeExecutor(options, new PtxBackend(multiprocessors)),
    how,
  })
  if (capability !== HOPPER || options.precision !== 'fp16') return general('ptx')
  try {
    return { executor: makeExecutor(options, new HopperBackend(multiprocessors)), how: 'ptx: wgmma' }
  } catch (error) {
    if (!(error instanceof HopperUnsuited)) throw error
    return general(`ptx: the general ones, as ${error.message}`)
  }
}

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
    const { executor, how } = ownKernels(options)
    return { executor, note: `convolutions by own kernels (${how})${why}` }
  } catch (error) {
    if (!(error instanceof KernelUnfit) || !cudnnStatus().ok) throw error
    const warning = `${error.message}; cuDNN computes in place of this program's kernels`
    return { executor: makeExecutor(options, new CudnnBackend()), note: cudnn, warning }
  }
}
