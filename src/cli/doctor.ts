import { cudaDriver } from '../../ffi/cuda/driver.ts'
import { cudnnStatus } from '../../ffi/cudnn/library.ts'
import { libavStatus } from '../../ffi/libav/library.ts'
import { nvcuvidStatus } from '../../ffi/nvcuvid/library.ts'
import { gpuUse, nvmlStatus } from '../../ffi/nvml.ts'
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
  /** Whether this host can do without: the CPU's libraries where there is a GPU, and the GPU's where there is none. */
  optional?: boolean
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

/** What a library's own status says. */
function statusFinding(
  what: string,
  status: { ok: true; path: string; version?: string; driver?: string } | { ok: false; problem: string },
): Finding {
  if (!status.ok) return { what, ok: false, detail: status.problem }
  return { what, ok: true, detail: `${status.version ?? status.driver ?? ''} (${status.path})`.trim() }
}

/** The driver, its GPUs, and what they need; the driver alone where there is no GPU. */
function cudaFindings(): { gpus: number; findings: Finding[] } {
  let gpus = 0
  const driver = attempt('CUDA', () => {
    const found = cudaDriver()
    if (!found) return 'no NVIDIA driver: pipelines run on the CPU'
    gpus = found.devices.length
    const devices = found.devices.map(({ index, name, capability, memoryBytes, uuid }) => {
      const { processes } = gpuUse(uuid)
      const use = processes.length === 0 ? 'free' : `in use by ${processes.map(({ pid }) => pid).join(', ')}`
      return `${index}: ${name}, capability ${capability}, ${Math.round(memoryBytes / 2 ** 20)} MiB, ${use}`
    })
    return [`${found.path}, CUDA ${found.version}`, ...devices].join('; ')
  })
  if (gpus === 0) return { gpus, findings: [driver] }
  const libraries = [
    statusFinding('NVDEC', nvcuvidStatus()),
    statusFinding('cuDNN', cudnnStatus()),
    statusFinding('NVML', nvmlStatus()),
  ]
  return { gpus, findings: [driver, ...libraries] }
}

function libavFinding(): Finding {
  return attempt('libav', () => {
    const status = libavStatus()
    if (!status.ok) throw new Error(status.problem)
    return `${status.version} (${status.paths.join(', ')})`
  })
}

const stateOf = ({ ok, optional }: Finding): string => (ok ? 'ok' : optional ? 'absent' : 'MISSING')

/** A line a finding, in columns. */
function table(findings: readonly Finding[]): string[] {
  const width = Math.max(...findings.map(({ what }) => what.length))
  return findings.map(
    finding => `${finding.what.padEnd(width)}  ${stateOf(finding).padEnd(7)}  ${finding.detail}`,
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
    on_full: 'abort',
    quiet: true,
  }
  const what = `pipeline ${file}`
  try {
    const { plan } = await prepare(checkRunFlags(flags), ['none'])
    const can = `can run here: ${plan.instances.map(({ name }) => name).join('; ')}`
    return { what, ok: true, detail: [can, ...plan.notes].join('; ') }
  } catch (error) {
    return { what, ok: false, detail: message(error) }
  }
}

/**
 * `rnb doctor`: what this host has, as a table on standard error, or as one JSON object on standard output.
 * @returns 1 if something that a run needs is missing
 */
export async function doctor(flags: { json: boolean; config_file_path?: string }): Promise<number> {
  const host = hostFacts()
  const cuda = cudaFindings()
  const onCpu = [
    libavFinding(),
    attempt('ONNX Runtime', () => `${onnxRuntime().version} (${onnxRuntime().path})`),
    networkFinding(),
  ].map(finding => ({ ...finding, optional: cuda.gpus > 0 }))
  const findings: Finding[] = [
    { what: 'rnb', ok: true, detail: `${VERSION}, Bun ${Bun.version}` },
    {
      what: 'host',
      ok: true,
      detail: `${host.cpu}, ${host.cores} cores, ${Math.round(host.memory_bytes / 2 ** 30)} GiB, ${host.kernel}`,
    },
    ...onCpu,
    ...cuda.findings,
    ...(flags.config_file_path === undefined ? [] : [await pipelineFinding(flags.config_file_path)]),
  ]
  const ok = findings.every(finding => finding.ok || finding.optional)
  if (flags.json) process.stdout.write(`${JSON.stringify({ type: 'doctor', ok, host, findings })}\n`)
  else for (const line of table(findings)) console.error(line)
  return ok ? EXIT.done : EXIT.failed
}
