/**
 * Whether hardware counters are read right: occupancy, tensor cores and memory of each kernel of r2plus1d_18, as
 * `rnb profile` reads them and as Nsight Compute does, on one GPU.
 *
 *     bun bench/occupancy.ts [--clips 10] [--save]
 *
 * `ncu` must be found. It runs this file once more, with --child, and looks at what lies between the driver's calls that
 * begin and end profiling. Neither flushes caches nor fixes clocks; kernels that take some microseconds vary all the same.
 */
import { dlopen, FFIType } from 'bun:ffi'
import { parseArgs } from 'node:util'
import { releaseContext, retainContext } from '../ffi/cuda/context.ts'
import { describeDevice } from '../ffi/cuda/device.ts'
import { libcuda } from '../ffi/cuda/library.ts'
import { Owner } from '../ffi/cuda/owner.ts'
import { createStream, destroyStream, synchronizeStream } from '../ffi/cuda/stream.ts'
import { KernelCounters } from '../ffi/cupti/counters.ts'
import { R2PLUS1D_18 } from '../models/architecture.ts'
import { seededNetwork } from '../models/seeded.ts'
import { createCudaExecutor } from '../src/compute/cuda/create.ts'
import { METRICS } from '../src/profile/metrics.ts'
import { report } from './report.ts'

const { values: options } = parseArgs({
  args: process.argv.slice(2),
  options: {
    clips: { type: 'string', default: '10' },
    child: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
  },
})
const clips = Number(options.clips)
const metrics = Object.values(METRICS)

const owner = new Owner()
const context = owner.own(retainContext(0), releaseContext)
const stream = owner.own(createStream(), destroyStream)
const { executor } = createCudaExecutor({
  network: seededNetwork(R2PLUS1D_18, 1),
  startIndex: 1,
  endIndex: 5,
  frames: 8,
  size: 112,
  maxClips: clips,
  counts: [clips],
  stream,
  precision: 'fp16',
  device: 0,
})
owner.own(executor, made => made.close())

/** A kernel, and the metrics' values in their order. */
interface Kernel {
  launch: string
  values: number[]
}

function own(): Kernel[] {
  const counters = owner.own(new KernelCounters(context, metrics), made => made.close())
  const kernels: Kernel[] = []
  executor.each(clips, ({ name, how }, run) => {
    const read = counters.measure(() => {
      run()
      synchronizeStream(stream)
    })
    kernels.push(...read.map(values => ({ launch: `${name}, ${how}`, values })))
  })
  return kernels
}

/** The launches alone, for ncu. */
function child(): void {
  const { symbols } = dlopen(libcuda().path, {
    cuProfilerStart: { args: [], returns: FFIType.i32 },
    cuProfilerStop: { args: [], returns: FFIType.i32 },
  })
  symbols.cuProfilerStart()
  executor.each(clips, (_, run) => {
    run()
    synchronizeStream(stream)
  })
  symbols.cuProfilerStop()
}

/** Fields of one line of CSV, all of them in quotes. */
const fields = (line: string): string[] => line.slice(1, -1).split('","')

/** The metrics' values of each kernel, in order, by ncu. */
function byNcu(): number[][] {
  const flags = ['--clock-control', 'none', '--cache-control', 'none', '--profile-from-start', 'off']
  const form = ['--target-processes', 'all', '--csv', '--page', 'raw', '--metrics', metrics.join(',')]
  const self = [process.execPath, import.meta.path, '--child', '--clips', String(clips)]
  const { stdout, stderr, exitCode } = Bun.spawnSync(['ncu', ...flags, ...form, ...self])
  if (exitCode !== 0)
    throw new Error(`ncu: ${stderr.toString().slice(-1000)}${stdout.toString().slice(-1000)}`)
  const lines = stdout
    .toString()
    .split('\n')
    .filter(line => line.startsWith('"'))
  const head = fields(lines[0]!)
  const columns = metrics.map(metric => head.indexOf(metric))
  // The second line has units.
  return lines.slice(2).map(line => {
    const cells = fields(line)
    return columns.map(column => Number(cells[column]!.replaceAll(',', '')))
  })
}

if (options.child) {
  child()
  owner.close()
} else {
  const kernels = own()
  owner.close()
  const other = byNcu()
  if (other.length !== kernels.length)
    throw new Error(`${kernels.length} kernels here, and ${other.length} by ncu: they can't be compared`)
  const names = Object.keys(METRICS)
  const rows = kernels.map(({ launch, values }, i) => ({ launch, own: values, ncu: other[i]! }))
  const worst = names.map((name, m) => ({
    name,
    points: Math.max(...rows.map(row => Math.abs(row.own[m]! - row.ncu[m]!))),
  }))
  report({
    benchmark: 'occupancy',
    versions: { bun: Bun.version },
    results: { gpu: describeDevice(0).name, clips, metrics: METRICS, rows, worst },
    table: [
      ['launch', ...names.flatMap(name => [name, 'by ncu'])],
      ...rows.map(row => [
        row.launch,
        ...names.flatMap((_, m) => [row.own[m]!.toFixed(1), row.ncu[m]!.toFixed(1)]),
      ]),
      ['most apart', ...worst.flatMap(({ points }) => [points.toFixed(1), ''])],
    ],
    save: options.save,
  })
}
