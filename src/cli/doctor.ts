import { libavStatus } from '../../ffi/libav/library.ts'
import { onnxRuntime } from '../../ffi/onnxruntime.ts'
import { makeArchitecture } from '../../models/architecture.ts'
import { seededNetwork } from '../../models/seeded.ts'
import { createCpuExecutor } from '../compute/cpu.ts'
import { runReference } from '../compute/reference.ts'
import { hostFacts } from '../results/host.ts'
import { Rng } from '../rng.ts'
import { VERSION } from '../version.ts'
import { attempt, type Finding, table } from './doctor-finding.ts'
import { cudaFindings } from './doctor-gpu.ts'
import { type PipelineFlags, pipelineFindings } from './doctor-pipeline.ts'
import { EXIT } from './exit.ts'

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

function libavFinding(): Finding {
  return attempt('libav', () => {
    const status = libavStatus()
    if (!status.ok) throw new Error(status.problem)
    return `${status.version} (${status.paths.join(', ')})`
  })
}

/**
 * `rnb doctor`: what this host has, as a table on standard error, or as one JSON object on standard output.
 * @returns 1 if something that a run needs is missing
 */
export async function doctor(
  flags: Omit<PipelineFlags, 'config_file_path'> & { json: boolean; config_file_path?: string },
): Promise<number> {
  const { json, config_file_path: file, ...checked } = flags
  const host = hostFacts()
  // First: what tests the GPUs is a process that uses them.
  const pipeline = file === undefined ? [] : await pipelineFindings({ ...checked, config_file_path: file })
  const cuda = cudaFindings()
  const onCpu = [
    libavFinding(),
    attempt('ONNX Runtime', () => `${onnxRuntime().version} (${onnxRuntime().path})`),
    networkFinding(),
  ].map(finding => ({ ...finding, optional: cuda.gpus.length > 0 }))
  const findings: Finding[] = [
    { what: 'rnb', ok: true, detail: `${VERSION}, Bun ${Bun.version}` },
    {
      what: 'host',
      ok: true,
      detail: `${host.cpu}, ${host.cores} cores, ${Math.round(host.memory_bytes / 2 ** 30)} GiB, ${host.kernel}`,
    },
    ...onCpu,
    ...cuda.findings,
    ...pipeline,
  ]
  const ok = findings.every(finding => finding.ok || finding.optional)
  if (json)
    process.stdout.write(`${JSON.stringify({ type: 'doctor', ok, host, gpus: cuda.gpus, findings })}\n`)
  else for (const line of table(findings)) console.error(line)
  return ok ? EXIT.done : EXIT.failed
}
