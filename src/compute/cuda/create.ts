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
  /**
   * What computes convolutions. By default the program's own kernels in float16 on compute capability 9.0, elsewhere cuDNN
   * where it is installed, and else own kernels.
   */
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

const byCudnn = (options: CudaExecutorOptions, why = ''): Created => ({
  executor: makeExecutor(options, new CudnnBackend()),
  note: `convolutions by cuDNN${why}`,
})

/** By kernels that suit any GPU from compute capability 8.0, and any shape. */
function byGeneralKernels(options: CudaExecutorOptions, why = ''): Created {
  const { multiprocessors } = describeDevice(options.device)
  const absent = options.kernels === undefined && !cudnnStatus().ok ? ', as cuDNN is not installed' : ''
  return {
    executor: makeExecutor(options, new PtxBackend(multiprocessors)),
    note: `convolutions by own kernels (ptx${why})${absent}`,
  }
}

/** Whether there are kernels for just this GPU, which are tried first. */
const hasHopperKernels = ({ device, precision }: CudaExecutorOptions): boolean =>
  precision === 'fp16' && describeDevice(device).capability === HOPPER

/** By the kernels for this capability, where the network's shapes are ones for them; else by what takes all shapes. */
function byHopperKernels(options: CudaExecutorOptions): Created {
  const { multiprocessors } = describeDevice(options.device)
  try {
    const executor = makeExecutor(options, new HopperBackend(multiprocessors))
    return { executor, note: 'convolutions by own kernels (ptx: wgmma)' }
  } catch (error) {
    if (!(error instanceof HopperUnsuited)) throw error
    if (options.kernels === undefined && cudnnStatus().ok) return byCudnn(options, `, as ${error.message}`)
    return byGeneralKernels(options, `: the general ones, as ${error.message}`)
  }
}

/**
 * Makes layers of a network ready on this thread's GPU: weights in its memory, a way for every convolution, a graph for
 * each of a few numbers of clips. With cuDNN that takes seconds, as ways are measured; nothing is chosen later. Own
 * kernels are tested first: where one is wrong, or not taken by the driver, cuDNN takes their place, or, without it, the
 * general ones take the place of those for just this GPU.
 * @throws {UsageError} for layers that the network does not have, or clips too small for them
 * @throws {LibraryError} without cuDNN, if that was asked for
 * @throws {KernelUnfit} if own kernels are wrong, and there is no cuDNN
 * @throws {NativeError} such as of memory that is short
 */
export function createCudaExecutor(options: CudaExecutorOptions): Created {
  const { kernels } = options
  if (kernels === 'cudnn') return byCudnn(options)
  const hopper = hasHopperKernels(options)
  if (kernels === undefined && !hopper && cudnnStatus().ok) return byCudnn(options)
  try {
    return hopper ? byHopperKernels(options) : byGeneralKernels(options)
  } catch (error) {
    if (!(error instanceof KernelUnfit)) throw error
    if (cudnnStatus().ok)
      return {
        ...byCudnn(options),
        warning: `${error.message}; cuDNN computes in place of this program's kernels`,
      }
    if (!hopper) throw error
    const warning = `${error.message}; this program's general kernels compute in place of those for this GPU`
    return { ...byGeneralKernels(options), warning }
  }
}
