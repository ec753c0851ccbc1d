import { cudaDriver } from '../../ffi/cuda/driver.ts'
import { libavStatus } from '../../ffi/libav/library.ts'
import { onnxRuntime } from '../../ffi/onnxruntime.ts'
import { makeArchitecture } from '../../models/architecture.ts'
import { seededNetwork } from '../../models/seeded.ts'
import { createCpuExecutor } from '../compute/cpu.ts'
import { runReference } from '../compute/reference.ts'
import { hostFacts } from '../results/host.ts'
import { Rng } from '../rng.ts'
import { VERSION } from '../version.ts'
import { EXIT } from './exit.ts'

/** One thing that was looked at. */
interface Finding {
  what: string
  ok: boolean
  detail: string
}

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error))

function attempt(what: string, look: () => string): Finding {
  try {
    return { what, ok: true, detail: look() }
  } catch (error) {
    return { what, ok: false, detail: message(error) }
  }
}

/** Relative error of the CPU's network path on a small network, against its definition in float64. */
export function cpuSelfTest(): number {
  const network = seededNetwork(makeArchitecture({ widths: [4, 6, 8, 8], stemMid: 5, classes: 7 }), 1)
  const [frames, size, classes] = [4, 16, 7]
  const rng = Rng.of(1, 'self-test')
  const input = Float32Array.from({ length: 3 * frames * size * size }, () => rng.normal())
  const output = new Float32Array(classes).fill(Number.NaN)
  const executor = createCpuExecutor({
    network,
    startIndex: 1,
    endIndex: 5,
    frames,
    size,
    maxClips: 1,
    threads: 1,
  })
  try {
    executor.run(input, 1, output)
  } finally {
    executor.close()
  }
  const expected = runReference(network, 1, 5, input, [3, frames, size, size])
  const norm = (values: Iterable<number>) => Math.hypot(...values)
  return norm(expected.map((value, k) => output[k]! - value)) / norm(expected)
}

const TOLERANCE = 1e-5

function networkFinding(): Finding {
  return attempt('network on the CPU', () => {
    const error = cpuSelfTest()
    if (!(error < TOLERANCE)) throw new Error(`wrong results: relative error ${error} on a small network`)
    return `agrees with its definition (relative error ${error.toExponential(1)})`
  })
}

function cudaFindings(): Finding[] {
  const driver = attempt('CUDA', () => {
    const found = cudaDriver()
    if (!found) return 'no NVIDIA driver: pipelines run on the CPU'
    const devices = found.devices.map(
      ({ index, name, capability, memoryBytes }) =>
        `${index}: ${name}, capability ${capability}, ${Math.round(memoryBytes / 2 ** 20)} MiB`,
    )
    return [`${found.path}, CUDA ${found.version}`, ...devices].join('; ')
  })
  return [driver]
}

function libavFinding(): Finding {
  return attempt('libav', () => {
    const status = libavStatus()
    if (!status.ok) throw new Error(status.problem)
    return `${status.version} (${status.paths.join(', ')})`
  })
}

/** A line a finding, in columns. */
function table(findings: readonly Finding[]): string[] {
  const width = Math.max(...findings.map(({ what }) => what.length))
  return findings.map(
    ({ what, ok, detail }) => `${what.padEnd(width)}  ${ok ? 'ok     ' : 'MISSING'}  ${detail}`,
  )
}

/** Whether a pipeline file could run here as it is. */
async function pipelineFinding(file: string): Promise<Finding> {
  const { checkRunFlags } = await import('./arguments.ts')
  const { prepare } = await import('./prepare.ts')
  const flags = {
    mean_interval_ms: 3,
    batch_size: 1,
    max_batch_delay_ms: 5,
    videos: 1,
    queue_size: 500,
    config_file_path: file,
    per_gpu_queue: false,
    check: true,
    device: 'auto',
    share_gpu: false,
    seed: 0,
    warmup: 0,
    top: 5,
    on_error: 'skip',
    quiet: true,
  }
  return attempt(`pipeline ${file}`, () => {
    const { plan } = prepare(checkRunFlags(flags), ['none'])
    return [`can run here: ${plan.instances.map(({ name }) => name).join('; ')}`, ...plan.notes].join('; ')
  })
}

/**
 * `rnb doctor`: what this host has, as a table on standard error, or as one JSON object on standard output.
 * @returns 1 if something that a run needs is missing
 */
export async function doctor(flags: { json: boolean; config_file_path?: string }): Promise<number> {
  const host = hostFacts()
  const findings: Finding[] = [
    { what: 'rnb', ok: true, detail: `${VERSION}, Bun ${Bun.version}` },
    {
      what: 'host',
      ok: true,
      detail: `${host.cpu}, ${host.cores} cores, ${Math.round(host.memory_bytes / 2 ** 30)} GiB, ${host.kernel}`,
    },
    libavFinding(),
    attempt('ONNX Runtime', () => `${onnxRuntime().version} (${onnxRuntime().path})`),
    networkFinding(),
    ...cudaFindings(),
    ...(flags.config_file_path === undefined ? [] : [await pipelineFinding(flags.config_file_path)]),
  ]
  const ok = findings.every(finding => finding.ok)
  if (flags.json) console.log(JSON.stringify({ type: 'doctor', ok, host, findings }))
  else for (const line of table(findings)) console.error(line)
  return ok ? EXIT.done : EXIT.failed
}
