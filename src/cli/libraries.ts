import { libcudnn } from '../../ffi/cudnn/library.ts'
import { libav } from '../../ffi/libav/library.ts'
import { nvcuvid } from '../../ffi/nvcuvid/library.ts'
import { onnxRuntime } from '../../ffi/onnxruntime.ts'
import type { Plan } from '../pipeline/plan.ts'
import { CPU } from '../steps/step.ts'

/** Opens the libraries that a plan's steps cannot do without. @throws {LibraryError} saying what to install */
export function requireLibraries({ steps, instances }: Plan): void {
  for (const { device, step, options } of instances) {
    const { kind } = steps[step]!
    const decodes = kind === 'loader' || kind === 'single'
    const computes = kind === 'network' || kind === 'single'
    if (device === CPU) {
      if (decodes) libav()
      if (computes) onnxRuntime()
    } else {
      if (decodes) nvcuvid()
      if (computes && options.kernels === 'cudnn') libcudnn()
    }
  }
}
