import { lostDevice } from '../../ffi/cuda/lost.ts'
import type { CUstream } from '../../ffi/cuda/types.ts'
import { deviceName } from './devices.ts'
import type { Instance, Plan } from './plan.ts'

/** A GPU did what it must not, or failed: nothing more can be done on it. */
export class DeviceLoss extends Error {
  override readonly name = 'DeviceLoss'
}

/**
 * What people should hear of an error in an instance on a GPU. A kernel that goes wrong shows at whatever is asked of its
 * GPU next, by any thread: where several steps share the GPU, all of them are named.
 * @returns the error itself, unless the GPU is lost
 */
export function deviceLoss(error: unknown, stream: CUstream, { device }: Instance, plan: Plan): unknown {
  const seen = lostDevice(stream)
  if (seen === undefined) return error
  const there = plan.instances.filter(other => other.device === device).map(({ step }) => step)
  const steps = [...new Set(there)].map(
    step => `${step} (${plan.steps[step]!.name ?? plan.steps[step]!.kind})`,
  )
  const whose =
    steps.length > 1
      ? `, or of another step that runs there: ${steps.join(', ')}. With CUDA_LAUNCH_BLOCKING=1 in the environment ` +
        'the step fails whose it was'
      : ''
  const message = error instanceof Error ? error.message : String(error)
  return new DeviceLoss(
    `${deviceName(device)} is lost to this run by a fault of this step${whose} (${seen}); seen in: ${message}`,
    { cause: error },
  )
}
