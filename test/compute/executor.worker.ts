import { parentPort, workerData } from 'node:worker_threads'
import { createCpuExecutor } from '../../src/compute/cpu.ts'
import type { ExecutorOptions } from '../../src/compute/executor.ts'

// Runs one clip fifty times; says what came out, or that it was not always the same.
const { options, memory } = workerData as { options: ExecutorOptions; memory: SharedArrayBuffer }
const executor = createCpuExecutor(options)
const input = new Float32Array(memory)
const run = () => {
  const logits = new Float32Array(10)
  executor.run(input, 1, logits)
  return logits
}
const first = run()
for (let i = 0; i < 50; i++) {
  if (run().join() !== first.join()) throw new Error(`run ${i} gave other logits`)
}
executor.close()
parentPort?.postMessage(first)
