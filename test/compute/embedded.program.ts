import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { onnxRuntime } from '../../ffi/onnxruntime.ts'
import { makeArchitecture } from '../../models/architecture.ts'
import { seededNetwork } from '../../models/seeded.ts'
import { createCpuExecutor } from '../../src/compute/cpu.ts'

// Compiled by embedded.test.ts: three workers start together and run the same network; says which library they used.

function logits(): string {
  const sizes = { frames: 4, size: 16, maxClips: 1, threads: 1 }
  const executor = createCpuExecutor({ network: workerData, startIndex: 1, endIndex: 5, ...sizes })
  const output = new Float32Array(4)
  executor.run(new Float32Array(3 * 4 * 16 * 16).fill(0.5), 1, output)
  executor.close()
  return output.join()
}

function link(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return ''
  }
}

async function main(): Promise<object> {
  const architecture = makeArchitecture({ blocks: [1, 1, 1, 1], widths: [4, 4, 4, 4], classes: 4 })
  const network = seededNetwork(architecture, 1)
  const workers = Array.from({ length: 3 }, () => {
    const worker = new Worker(Bun.main, { workerData: network })
    return new Promise<string>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
  })
  const results = await Promise.all(workers)
  const code = readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter(line => / r-xp .*onnxruntime/.test(line))
  const open = readdirSync('/proc/self/fd').filter(fd => link(fd).startsWith('/memfd:rnb-onnxruntime'))
  const copies = new Set(open.map(fd => statSync(`/proc/self/fd/${fd}`).ino))
  return { path: onnxRuntime().path, logits: results, copies: copies.size, mapped: code.length }
}

if (isMainThread) {
  const said = await main().catch(error => ({ error: `${error.name}: ${error.message}` }))
  console.log(JSON.stringify(said))
} else {
  parentPort?.postMessage(logits())
}
