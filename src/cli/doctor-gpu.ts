import { releaseContext, retainContext } from '../../ffi/cuda/context.ts'
import { canAccessPeer } from '../../ffi/cuda/device.ts'
import { type CudaDevice, cudaDriver } from '../../ffi/cuda/driver.ts'
import { cudnnStatus } from '../../ffi/cudnn/library.ts'
import { cuptiStatus } from '../../ffi/cupti/library.ts'
import { nvcuvidStatus } from '../../ffi/nvcuvid/library.ts'
import { gpuUse, nvmlStatus } from '../../ffi/nvml.ts'
import type { Kernels } from '../compute/cuda/backend.ts'
import type { Precision } from '../compute/cuda/layout.ts'
import { CUDA_SELF_TEST_TOLERANCE, cudaSelfTest } from '../compute/cuda/self-test.ts'
import { NVDEC_CODECS, NvdecCapabilities } from '../video/nvdec/capabilities.ts'
import { attempt, type Finding } from './doctor-finding.ts'

/** What a GPU decodes of one codec, chroma format and depth. */
interface Decodes {
  codec: string
  chroma: '4:2:0' | '4:2:2' | '4:4:4'
  depth: number
  engines: number
  smallest: [width: number, height: number]
  largest: [width: number, height: number]
}

/** A GPU for programs that read. */
export interface GpuFacts extends CudaDevice {
  /** Processes that compute on it, and bytes that are free; null where NVML does not say. */
  processes: number[] | null
  free_bytes: number | null
  nvdec: Decodes[]
  /** GPUs whose memory it reaches. */
  peers: number[]
}

/** Runs `look` with a GPU as this thread's. */
function onGpu<T>(index: number, look: () => T): T {
  const context = retainContext(index)
  try {
    return look()
  } finally {
    releaseContext(context)
  }
}

/** cudaVideoChromaFormat of each name. */
const CHROMA = { '4:2:0': 1, '4:2:2': 2, '4:4:4': 3 } as const
const DEPTHS = [8, 10, 12]

function decodesOf(index: number): Decodes[] {
  if (!nvcuvidStatus().ok) return []
  return onGpu(index, () => {
    const capabilities = new NvdecCapabilities()
    const known: Decodes[] = []
    for (const codec of Object.keys(NVDEC_CODECS))
      for (const chroma of ['4:2:0', '4:2:2', '4:4:4'] as const)
        for (const depth of DEPTHS) {
          const caps = capabilities.query(codec, CHROMA[chroma], depth)
          if (!caps?.supported) continue
          const smallest: Decodes['smallest'] = [caps.minWidth, caps.minHeight]
          const largest: Decodes['largest'] = [caps.maxWidth, caps.maxHeight]
          known.push({ codec, chroma, depth, engines: caps.engines, smallest, largest })
        }
    return known
  })
}

function factsOf(device: CudaDevice, count: number): GpuFacts {
  const use = nvmlStatus().ok ? gpuUse(device.uuid) : undefined
  const others = Array.from({ length: count }, (_, index) => index).filter(index => index !== device.index)
  return {
    ...device,
    processes: use?.processes.map(({ pid }) => pid) ?? null,
    free_bytes: use?.memory.free ?? null,
    nvdec: decodesOf(device.index),
    peers: others.filter(other => canAccessPeer(device.index, other)),
  }
}

const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`

function gpuText({ name, capability, memoryBytes, processes, free_bytes, uuid }: GpuFacts): string {
  const use =
    processes === null
      ? 'nobody knows whether it is in use'
      : processes.length === 0
        ? 'free'
        : `in use by ${processes.join(', ')}`
  const left = free_bytes === null ? '' : `, ${mebibytes(free_bytes)} free`
  return `${name}, capability ${capability}, ${mebibytes(memoryBytes)}${left}, ${use} (${uuid})`
}

/** `h264 4:2:0 8 bits (to 4096x4096), hevc ...`, with the number of engines. */
function nvdecText({ nvdec }: GpuFacts): string {
  if (nvdec.length === 0) throw new Error('it decodes nothing: videos are decoded on the CPU')
  const formats = new Map<string, number[]>()
  for (const { codec, chroma, depth, largest } of nvdec) {
    const key = `${codec} ${chroma} to ${largest.join('x')}`
    formats.set(key, [...(formats.get(key) ?? []), depth])
  }
  const engines = Math.max(...nvdec.map(decodes => decodes.engines))
  const list = [...formats].map(([format, depths]) => `${format} (${depths.join(', ')} bits)`)
  return `${engines} engine${engines === 1 ? '' : 's'}; ${list.join(', ')}`
}

const PRECISIONS = Object.keys(CUDA_SELF_TEST_TOLERANCE) as Precision[]

/** Whether a small network comes out right. @throws {Error} that says what is wrong, and what to do */
function selfTest(device: number, kernels: Kernels): string {
  const cudnn = cudnnStatus()
  const by = kernels === 'ptx' ? 'own kernels' : cudnn.ok ? `cuDNN ${cudnn.version} (${cudnn.path})` : 'cuDNN'
  const errors = PRECISIONS.map(precision => {
    const error = cudaSelfTest(device, precision, kernels)
    if (error < CUDA_SELF_TEST_TOLERANCE[precision]) return `${precision} ${error.toExponential(1)}`
    const instead = kernels === 'ptx' ? 'cudnn' : 'ptx'
    const install = kernels === 'ptx' ? '' : 'install another cuDNN 9, or '
    throw new Error(
      `wrong results in ${precision} by ${by}: relative error ${error.toPrecision(2)} on a small network; ` +
        `${install}set "kernels": "${instead}" in network steps`,
    )
  })
  return `right results by ${by}: relative errors ${errors.join(', ')} on a small network`
}

/** What a library's own status says. */
function statusFinding(
  what: string,
  status: { ok: true; path: string; version?: string; driver?: string } | { ok: false; problem: string },
): Finding {
  if (!status.ok) return { what, ok: false, detail: status.problem }
  return { what, ok: true, detail: `${status.version ?? status.driver ?? ''} (${status.path})`.trim() }
}

function peerFindings(gpus: readonly GpuFacts[]): Finding[] {
  return gpus.flatMap(({ index, peers }) =>
    gpus
      .filter(other => other.index !== index)
      .map(other => ({
        what: `gpu ${index} from gpu ${other.index}`,
        ok: true,
        detail: peers.includes(other.index) ? 'peer to peer' : 'through pinned memory of the host',
      })),
  )
}

/** Of one GPU: itself, its decoders, and its way to compute networks. */
function gpuFindings(gpu: GpuFacts): Finding[] {
  const name = `gpu ${gpu.index}`
  const own = attempt(`${name}, own kernels`, () => selfTest(gpu.index, 'ptx'))
  const cudnn = cudnnStatus().ok ? [attempt(`${name}, cuDNN`, () => selfTest(gpu.index, 'cudnn'))] : []
  return [
    attempt(name, () => gpuText(gpu)),
    { ...attempt(`${name}, NVDEC`, () => nvdecText(gpu)), optional: true },
    ...cudnn,
    // Nobody uses them where cuDNN is in order, unless asked to.
    { ...own, optional: cudnn.some(({ ok }) => ok) },
  ]
}

/** The driver, its GPUs, and what they need; the driver alone where there is no GPU. */
export function cudaFindings(): { gpus: GpuFacts[]; findings: Finding[] } {
  const gpus: GpuFacts[] = []
  const driver = attempt('CUDA', () => {
    const found = cudaDriver()
    if (!found) return 'no NVIDIA driver: pipelines run on the CPU'
    gpus.push(...found.devices.map(device => factsOf(device, found.devices.length)))
    return `${found.path}, CUDA ${found.version}, ${gpus.length} GPU${gpus.length === 1 ? '' : 's'}`
  })
  if (gpus.length === 0) return { gpus, findings: [driver] }
  const libraries = [
    statusFinding('NVDEC', nvcuvidStatus()),
    // Own kernels do its work where it is not installed.
    { ...statusFinding('cuDNN', cudnnStatus()), optional: true },
    statusFinding('NVML', nvmlStatus()),
    // For traces and profiles alone.
    { ...statusFinding('CUPTI', cuptiStatus()), optional: true },
  ]
  return { gpus, findings: [driver, ...libraries, ...gpus.flatMap(gpuFindings), ...peerFindings(gpus)] }
}
