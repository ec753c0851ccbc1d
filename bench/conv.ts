/**
 * Microseconds of every kind of convolution of a network on a GPU, by each kind of kernels in the same run, beside its
 * floor.
 *
 *     bun bench/conv.ts [--clips 1,10,64] [--precision fp16] [--frames 8] [--device 0] [--kernels cudnn,ptx]
 *                       [--choices FILE] [--save] [--note TEXT]
 *
 * JSON on stdout, a table on stderr; --save also writes bench/results/conv-DATE.json. A convolution runs alone, again
 * and again on the same memory (so that what fits stays in the L2 cache), timed by events; where it is repeated in the
 * network the median of its places counts. The floor is the larger of its operations at 654 TFLOP/s (a matrix product of
 * 8192 cubed in float16 on an H100) and its bytes, each read or written once, at 2.98 TB/s. `--choices` writes to FILE
 * what every tile of kernels/convolution took, in up to 24 parts, which their model of costs is fitted to.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { median } from 'simple-statistics'
import { releaseContext, retainContext } from '../ffi/cuda/context.ts'
import { describeDevice } from '../ffi/cuda/device.ts'
import { cudaDriver } from '../ffi/cuda/driver.ts'
import { allocate, fillWords, free } from '../ffi/cuda/memory.ts'
import { Owner } from '../ffi/cuda/owner.ts'
import { createStream, destroyStream } from '../ffi/cuda/stream.ts'
import type { DevicePointer } from '../ffi/cuda/types.ts'
import { type FusedConvolution, outputOf } from '../ffi/cudnn/graph.ts'
import { cudnnStatus } from '../ffi/cudnn/library.ts'
import { fullParts, measures } from '../kernels/convolution/launch.ts'
import { TILES } from '../kernels/convolution/tiles.ts'
import { CLIP_SIZE, R2PLUS1D_18 } from '../models/architecture.ts'
import { seededNetwork } from '../models/seeded.ts'
import type { Kernels } from '../src/compute/cuda/backend.ts'
import { createCudaExecutor } from '../src/compute/cuda/create.ts'
import { BYTES, elementType, type Precision } from '../src/compute/cuda/layout.ts'
import { type ConvolutionOperation, makeProgram } from '../src/compute/cuda/program.ts'
import { choose, cost } from '../src/compute/cuda/ptx/choose.ts'
import { choiceName, PtxConvolutions, sumsBytes } from '../src/compute/cuda/ptx/convolutions.ts'
import { StreamTimer } from '../src/compute/cuda/stream-timer.ts'
import { report } from './report.ts'

const TFLOPS = 654
const BYTES_PER_US = 2.98e6

const { values: options } = parseArgs({
  args: process.argv.slice(2),
  options: {
    clips: { type: 'string', default: '1,10,64' },
    precision: { type: 'string', default: 'fp16' },
    frames: { type: 'string', default: '8' },
    device: { type: 'string', default: '0' },
    kernels: { type: 'string', default: 'cudnn,ptx' },
    choices: { type: 'string' },
    save: { type: 'boolean', default: false },
    note: { type: 'string' },
  },
})
const counts = options.clips.split(',').map(Number)
const precision = options.precision as Precision
const frames = Number(options.frames)
const device = Number(options.device)
const kinds = options.kernels.split(',') as Kernels[]
const network = seededNetwork(R2PLUS1D_18, 1)

/** A kind of convolution, for a number of clips, with the names of all that are of it. */
interface Kind {
  readonly problem: FusedConvolution
  readonly names: string[]
  readonly gflop: number
  readonly bytes: number
}

function kindOf({ convolution, problem: make }: ConvolutionOperation, clips: number): Kind {
  const problem = make(clips)
  const [n, , h, w] = outputOf(problem)
  const { channelsIn, channelsOut } = convolution
  const places = n * h * w
  const taps = problem.filter[2] * problem.filter[3]
  const read = problem.input[0] * problem.input[2] * problem.input[3] * channelsIn
  const written = places * channelsOut * (problem.residual ? 2 : 1)
  const bytes = BYTES[problem.type] * (read + written + taps * channelsIn * channelsOut)
  return { problem, names: [], gflop: (2 * places * channelsOut * channelsIn * taps) / 1e9, bytes }
}

function kindsOf(clips: number): Map<string, Kind> {
  const clip = { frames, height: CLIP_SIZE, width: CLIP_SIZE }
  const kinds = new Map<string, Kind>()
  for (const operation of makeProgram(network, 1, 5, clip, precision).operations) {
    if (operation.kind === 'pick') continue
    const key = JSON.stringify(operation.problem(clips))
    const kind = kinds.get(key) ?? kindOf(operation, clips)
    kind.names.push(operation.convolution.name)
    kinds.set(key, kind)
  }
  return kinds
}

const owner = new Owner()
owner.own(retainContext(device), releaseContext)
const stream = owner.own(createStream(), destroyStream)

/** Of each launch of the network, by number of clips and name. */
function profile(kernels: Kernels): Map<number, Map<string, { how: string; us: number }>> {
  const { executor, warning } = createCudaExecutor({
    network,
    startIndex: 1,
    endIndex: 5,
    frames,
    size: CLIP_SIZE,
    maxClips: Math.max(...counts),
    counts,
    device,
    stream,
    precision,
    kernels,
  })
  if (warning !== undefined) throw new Error(warning)
  try {
    return new Map(counts.map(count => [count, new Map(executor.profile(count).map(l => [l.name, l]))]))
  } finally {
    executor.close()
  }
}

const measured = new Map(kinds.map(kernels => [kernels, profile(kernels)]))

const rows = counts.flatMap(clips =>
  [...kindsOf(clips).values()].map(({ names, gflop, bytes }) => {
    const floorUs = Math.max((1000 * gflop) / TFLOPS, bytes / BYTES_PER_US)
    const by = Object.fromEntries(
      kinds.flatMap(kernels => {
        const launches = measured.get(kernels)!.get(clips)!
        const found = names.flatMap(name => launches.get(name) ?? [])
        if (found.length === 0) return []
        const us = median(found.map(launch => launch.us))
        const shares = { tflops: (1000 * gflop) / us, gbPerS: bytes / us / 1000, ofFloor: floorUs / us }
        return [[kernels, { us, how: found[0]!.how, ...shares }]]
      }),
    )
    return { clips, name: names[0]!, times: names.length, gflop, bytes, floorUs, by }
  }),
)

/** All launches of a network, each alone: convolutions and the rest. */
const totals = counts.map(clips => ({
  clips,
  floorUs: rows.filter(row => row.clips === clips).reduce((sum, row) => sum + row.times * row.floorUs, 0),
  ...Object.fromEntries(
    kinds.map(kernels => [
      kernels,
      [...measured.get(kernels)!.get(clips)!.values()].reduce((sum, { us }) => sum + us, 0),
    ]),
  ),
}))

/** Every way of kernels/convolution for every kind of convolution. */
function measureChoices(): object[] {
  const { multiprocessors } = describeDevice(device)
  const convolutions = owner.own(new PtxConvolutions(stream), made => made.close())
  const timer = owner.own(new StreamTimer(stream), made => made.close())
  const arithmetic = { fp16: 'f16', tf32: 'tf32', fp32: 'f32' }[precision] as 'f16' | 'tf32' | 'f32'
  return counts.flatMap(clips =>
    [...kindsOf(clips).values()].flatMap(({ names, problem }) => {
      const scratch = new Owner()
      // Small numbers, of either type: what is measured must not be all zeros, or overflow.
      const reserve = (elements: number): DevicePointer => {
        const bytes = 4 * Math.ceil((elements * BYTES[elementType(precision)]) / 4)
        const made = scratch.own(allocate(bytes, { what: 'a convolution', lower: '--clips' }), free)
        fillWords(made, 0x2c662e66, bytes / 4, stream)
        return made
      }
      const count = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)
      const memory = {
        input: reserve(count(problem.input)),
        filter: reserve(count(problem.filter)),
        bias: reserve(2 * problem.filter[0]),
        output: reserve(count(outputOf(problem))),
        ...(problem.residual ? { residual: reserve(count(outputOf(problem))) } : {}),
      }
      const chosen = choose(problem, arithmetic, multiprocessors)
      const made = TILES[arithmetic].flatMap(tile => {
        const { stages } = measures(problem, tile)
        return [...new Set([1, 2, 3, 4, 6, 8, 12, 16, 24].map(parts => fullParts(stages, parts)))].map(
          parts => {
            const choice = { tile, parts }
            const own = new Owner()
            const bytes = sumsBytes(problem, choice)
            // More bytes than the L2 cache has several times over are never worth it.
            if (bytes > 2 ** 29) return []
            try {
              const sums =
                bytes === 0 ? 0 : own.own(allocate(bytes, { what: 'sums', lower: '--clips' }), free)
              const us = 1000 * timer.time(() => convolutions.launch(problem, choice, memory, sums), 2)
              const isChosen = chosen.tile === tile && chosen.parts === parts
              const modelUs = cost(problem, choice, multiprocessors) / 1000
              return [
                {
                  clips,
                  name: names[0],
                  way: choiceName(choice),
                  us,
                  modelUs,
                  chosen: isChosen || undefined,
                },
              ]
            } finally {
              own.close()
            }
          },
        )
      })
      scratch.close()
      return made.flat()
    }),
  )
}

if (options.choices !== undefined) writeFileSync(options.choices, JSON.stringify(measureChoices()))
owner.close()

const cudnn = kinds.includes('cudnn') ? cudnnStatus() : undefined
const gpu = describeDevice(device).name
report({
  benchmark: 'conv',
  versions: { driver: `${cudaDriver()?.version}`, ...(cudnn?.ok ? { cudnn: cudnn.version } : {}) },
  results: {
    gpu,
    network: `r2plus1d_18 (torchvision layout), random weights, ${precision}, clips of ${frames} x ${CLIP_SIZE} x ${CLIP_SIZE}`,
    note: options.note,
    totals,
    rows,
  },
  table: [
    [
      'clips',
      'convolution',
      'x',
      'GFLOP',
      'floor us',
      ...kinds.flatMap(k => [`${k} us`, 'TFLOP/s', 'of floor', 'how']),
    ],
    ...rows.map(({ clips, name, times, gflop, floorUs, by }) => [
      `${clips}`,
      name,
      `${times}`,
      gflop.toFixed(2),
      floorUs.toFixed(1),
      ...kinds.flatMap(k => {
        const found = by[k]
        return found
          ? [found.us.toFixed(1), found.tflops.toFixed(0), found.ofFloor.toFixed(2), found.how]
          : ['', '', '', '']
      }),
    ]),
    ...totals.map(total => [
      `${total.clips}`,
      'all launches, alone',
      '',
      '',
      total.floorUs.toFixed(1),
      ...kinds.flatMap(k => [(total as Record<string, number>)[k]!.toFixed(1), '', '', '']),
    ]),
  ],
  save: options.save,
})
