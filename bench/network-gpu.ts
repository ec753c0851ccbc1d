/**
 * Milliseconds of r2plus1d_18 on a GPU, through cuDNN or own kernels, and, beside it, of PyTorch.
 *
 *     bun bench/network-gpu.ts [--clips 1,10,64] [--kernels cudnn] [--precision fp16] [--frames 8] [--device 0] [--repeats 200]
 *                              [--torch FILE] [--modes nhwc2d] [--json] [--save] [--note TEXT]
 *
 * JSON on stdout, a table on stderr (not with --json); --save also writes it to bench/results/network-gpu-DATE.json.
 * `ms` is the median of single runs of the whole network, graph and linear layer, between CUDA events on the stream;
 * `withGatherMs` adds the copy of all clips into the graph's input. Inputs are random. `--torch` names
 * torch-r2plus1d.py, which is then run by python3 on the same GPU with the same frames and numbers of clips. `warmUpS` is
 * what making the executor took: measuring the ways to compute each convolution, for all numbers of clips.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { median, min } from 'simple-statistics'
import { releaseContext, retainContext } from '../ffi/cuda/context.ts'
import { describeDevice } from '../ffi/cuda/device.ts'
import { cudaDriver } from '../ffi/cuda/driver.ts'
import { allocate, free, memoryInfo, upload } from '../ffi/cuda/memory.ts'
import { Owner } from '../ffi/cuda/owner.ts'
import {
  createEvent,
  createStream,
  destroyEvent,
  destroyStream,
  elapsedMs,
  recordEvent,
  synchronizeEvent,
} from '../ffi/cuda/stream.ts'
import { cudnnStatus } from '../ffi/cudnn/library.ts'
import { monotonicNs } from '../ffi/libc.ts'
import { R2PLUS1D_18 } from '../models/architecture.ts'
import { seededNetwork } from '../models/seeded.ts'
import type { Kernels } from '../src/compute/cuda/backend.ts'
import { createCudaExecutor } from '../src/compute/cuda/create.ts'
import type { GraphReport } from '../src/compute/cuda/executor.ts'
import { clipBytes, type Precision, planarStrides } from '../src/compute/cuda/layout.ts'
import { Rng } from '../src/rng.ts'

const SIZE = 112
const GFLOP_PER_FRAME = 40.52 / 8

const { values: options } = parseArgs({
  args: process.argv.slice(2),
  options: {
    clips: { type: 'string', default: '1,10,64' },
    precision: { type: 'string', default: 'fp16' },
    frames: { type: 'string', default: '8' },
    device: { type: 'string', default: '0' },
    repeats: { type: 'string', default: '200' },
    tries: { type: 'string', default: '1000' },
    kernels: { type: 'string', default: 'cudnn' },
    torch: { type: 'string' },
    modes: { type: 'string', default: 'nhwc2d' },
    json: { type: 'boolean' },
    save: { type: 'boolean' },
    /** What a reader should know of the conditions. */
    note: { type: 'string' },
    /** Writes what was chosen for each convolution to a file. */
    convolutions: { type: 'string' },
  },
})
const counts = options.clips.split(',').map(Number)
const frames = Number(options.frames)
const precision = options.precision as Precision
const repeats = Number(options.repeats)

interface Row {
  clips: number
  ms: number
  leastMs: number
  withGatherMs: number
  clipsPerS: number
  tflops: number
  nodes: number
  /** Sum of what the convolutions took when they were measured alone. */
  convolutionsMs: number
}

interface Measured {
  rows: Row[]
  warmUpS: number
  memoryMiB: number
  graphs: readonly GraphReport[]
}

function measure(): Measured {
  const owner = new Owner()
  owner.own(retainContext(Number(options.device)), releaseContext)
  const stream = owner.own(createStream(), destroyStream)
  const network = seededNetwork(R2PLUS1D_18, 1)
  const before = memoryInfo().free
  const start = monotonicNs()
  const maxClips = Math.max(...counts)
  const executor = owner.own(
    createCudaExecutor({
      network,
      startIndex: 1,
      endIndex: 5,
      frames,
      size: SIZE,
      maxClips,
      counts,
      stream,
      precision,
      tries: Number(options.tries),
      device: Number(options.device),
      kernels: options.kernels as Kernels,
    }).executor,
    e => e.close(),
  )
  const warmUpS = (monotonicNs() - start) / 1e9
  const memoryMiB = Math.round((before - memoryInfo().free) / 2 ** 20)
  const memory = (bytes: number) => owner.own(allocate(bytes, { what: 'clips', lower: '--clips' }), free)
  const rng = Rng.of(1, 'network-gpu')
  const clip = Float32Array.from({ length: 3 * frames * SIZE * SIZE }, () => rng.normal())
  const planar = memory(clip.byteLength)
  upload(planar, clip, clip.byteLength, stream)
  const clips = memory(maxClips * clipBytes(executor.input))
  const output = memory(4 * maxClips * R2PLUS1D_18.classes)
  for (let i = 0; i < maxClips; i++) executor.arrange(planar, 'f32', planarStrides(executor.input), 1, i)
  const [begin, end] = [
    owner.own(createEvent('time'), destroyEvent),
    owner.own(createEvent('time'), destroyEvent),
  ]
  const times = (work: () => void): number[] => {
    for (let i = 0; i < 10; i++) work()
    return Array.from({ length: repeats }, () => {
      recordEvent(begin, stream)
      work()
      recordEvent(end, stream)
      synchronizeEvent(end)
      return elapsedMs(begin, end)
    })
  }
  const rows = counts.map(count => {
    const alone = times(() => executor.launch(count, output))
    const gathered = times(() => {
      for (let i = 0; i < count; i++) executor.gather(clips, 1, i)
      executor.launch(count, output)
    })
    const ms = median(alone)
    const graph = executor.graphs.find(g => g.clips === count)!
    return {
      clips: count,
      ms,
      leastMs: min(alone),
      withGatherMs: median(gathered),
      clipsPerS: (1000 * count) / ms,
      tflops: (count * frames * GFLOP_PER_FRAME) / ms,
      nodes: graph.nodes,
      convolutionsMs: graph.launches.reduce((sum, { us }) => sum + (us ?? 0), 0) / 1000,
    }
  })
  const measured = { rows, warmUpS, memoryMiB, graphs: executor.graphs }
  owner.close()
  return measured
}

/** The lines that torch-r2plus1d.py prints. */
function measureTorch(script: string): unknown[] {
  const { modes, clips } = options
  const command = ['python3', script, '--frames', `${frames}`, '--batches', clips, '--modes', modes]
  const { exitCode, stdout, stderr } = Bun.spawnSync(command)
  if (exitCode !== 0) throw new Error(`${script} failed: ${stderr.toString().slice(-2000)}`)
  return stdout
    .toString()
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
}

const { rows, warmUpS, memoryMiB, graphs } = measure()
const cudnn = cudnnStatus()
const result = {
  benchmark: 'network-gpu',
  date: new Date().toISOString(),
  machine: { gpu: describeDevice(Number(options.device)).name },
  versions: {
    bun: Bun.version,
    cudnn: cudnn.ok ? cudnn.version : 'missing',
    driver: cudaDriver()?.version,
  },
  command: `bun bench/network-gpu.ts ${process.argv.slice(2).join(' ')}`.trim(),
  note: options.note,
  network: `r2plus1d_18 (torchvision layout), random weights, ${options.kernels}, ${precision}, clips of ${frames} x ${SIZE} x ${SIZE}`,
  warmUpS,
  memoryMiB,
  rows,
  torch: options.torch === undefined ? undefined : measureTorch(options.torch),
}

if (options.convolutions) writeFileSync(options.convolutions, JSON.stringify(graphs))
const json = `${JSON.stringify(result, null, 2)}\n`
console.log(json.trimEnd())
if (options.save) {
  const folder = join(import.meta.dir, 'results')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `network-gpu-${result.date.slice(0, 10)}.json`), json)
}
if (!options.json) {
  const line = (cells: (string | number)[]) =>
    console.error(cells.map(cell => String(cell).padStart(10)).join(''))
  line(['clips', 'ms', 'least ms', 'gathered', 'clips/s', 'TFLOP/s', 'nodes', 'alone ms'])
  for (const r of rows) {
    const { clips, nodes } = r
    const [ms, least, gathered, alone] = [r.ms, r.leastMs, r.withGatherMs, r.convolutionsMs].map(n =>
      n.toFixed(3),
    )
    line([clips, ms!, least!, gathered!, Math.round(r.clipsPerS), r.tflops.toFixed(1), nodes, alone!])
  }
  console.error(`ready after ${warmUpS.toFixed(1)} s, in ${memoryMiB} MiB`)
  for (const torch of result.torch ?? []) console.error(JSON.stringify(torch))
}
