import { onnxRuntime } from '../../ffi/onnxruntime.ts'
import { joined } from '../../models/onnx/protobuf.ts'
import { ONNX_INPUT, ONNX_OUTPUT, writeOnnx } from '../../models/onnx/write.ts'
import { cutShape } from '../../models/shapes.ts'
import { elements } from '../queue/tensor.ts'
import type { ExecutorOptions, NetworkExecutor } from './executor.ts'

/**
 * Runs layers of a network on the CPU, in ONNX Runtime. The weights are used in place, not copied, so the network must
 * not change meanwhile.
 * @throws {UsageError} for layers that the network does not have, or clips too small for them
 * @throws {LibraryError} if there is no ONNX Runtime
 */
export function createCpuExecutor(options: ExecutorOptions): NetworkExecutor {
  const { network, startIndex, endIndex, frames, size, maxClips, threads } = options
  const clip = { frames, height: size, width: size }
  const { model, initializers } = writeOnnx(network, { startIndex, endIndex, clip, weights: 'outside' })
  const session = onnxRuntime().session(joined(model), { threads, spin: false, initializers })
  const shapes = {
    input: cutShape(network.architecture, startIndex - 1, clip),
    output: cutShape(network.architecture, endIndex, clip),
  }
  let open = true

  /** The first `clips` rows of what the caller gave. */
  function tensor(which: 'input' | 'output', name: string, clips: number, memory: Float32Array) {
    const shape = [clips, ...shapes[which]]
    const needed = elements(shape)
    if (memory.length < needed) {
      throw new RangeError(`network: ${which} of ${clips} clips takes ${needed} floats, not ${memory.length}`)
    }
    return { name, shape, data: memory.length === needed ? memory : memory.subarray(0, needed) }
  }

  return {
    inputShape: clips => [clips, ...shapes.input],
    outputShape: clips => [clips, ...shapes.output],
    run(input, clips, output) {
      if (!open) throw new Error('network: this executor is closed')
      if (!Number.isInteger(clips) || clips < 1 || clips > maxClips) {
        throw new RangeError(`network: ${clips} clips in a call that takes 1 to ${maxClips}`)
      }
      session.run([tensor('input', ONNX_INPUT, clips, input)], [tensor('output', ONNX_OUTPUT, clips, output)])
    },
    close() {
      if (open) session.close()
      open = false
    },
  }
}
