/**
 * What the program itself takes: videos per second from the client through queues and runners to written results, where
 * every step is synthetic and does nothing.
 *
 *     bun bench/overhead.ts [--rnb PATH] [-v N] [--repeat N] [--save]
 *
 * Each shape runs `--repeat` times, in turn with the others; the table has medians, and the least and the most. `through`
 * counts to the end of the last step, `written` from the start of the clock until every result is in the log folder,
 * `process` is the whole life of the process.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { report } from './report.ts'
import { median, RnbCommand } from './rnb-command.ts'

const { values: options } = parseArgs({
  args: process.argv.slice(2),
  options: {
    rnb: { type: 'string', default: 'dist/rnb' },
    videos: { type: 'string', short: 'v', default: '100000' },
    repeat: { type: 'string', default: '5' },
    save: { type: 'boolean', default: false },
  },
})

/** Instances of the loader and the network, items in a network's batch, and parts of a video. */
interface Shape {
  name: string
  loaders: number
  networks: number
  batch?: number
  segments?: number
}
const SHAPES: readonly Shape[] = [
  { name: '1 loader, 1 network', loaders: 1, networks: 1 },
  { name: '2 loaders, 1 network', loaders: 2, networks: 1 },
  { name: '4 loaders, 2 networks', loaders: 4, networks: 2 },
  { name: '8 loaders, 4 networks', loaders: 8, networks: 4 },
  { name: '2 loaders, 1 network, batches of 8', loaders: 2, networks: 1, batch: 8 },
  { name: '2 loaders, 2 networks, 3 parts a video', loaders: 2, networks: 2, segments: 3 },
]

const onCpu = (count: number): number[] => new Array<number>(count).fill(-1)

/** Its pipeline file. */
const pipelineOf = ({ loaders, networks, segments = 1 }: Shape) => [
  {
    model: 'synthetic-loader',
    queue_groups: [{ gpus: onCpu(loaders), out_queues: [0] }],
    num_clips_population: [segments],
    num_clips_weights: [1],
    num_segments: segments,
    num_shared_tensors: 50,
  },
  {
    model: 'synthetic-network',
    queue_groups: [{ gpus: onCpu(networks), in_queue: 0, ...(segments > 1 && { out_queues: [0] }) }],
    num_classes: 10,
    ...(segments > 1 && { num_shared_tensors: 50 }),
  },
  ...(segments > 1
    ? [{ model: 'aggregator', queue_groups: [{ gpus: [-1], in_queue: 0 }], aggregate: segments }]
    : []),
]

const folder = mkdtempSync(join(tmpdir(), 'rnb-overhead-'))
const rnb = new RnbCommand(resolve(options.rnb))
const videos = Number(options.videos)

function measure(shape: Shape) {
  const file = join(folder, 'pipeline.json')
  writeFileSync(file, JSON.stringify({ pipeline: pipelineOf(shape) }))
  const { summary, wallS } = rnb.run([
    ...['-c', file, '--device', 'cpu', '-mi', '0', '--seed', '0'],
    ...['-v', options.videos, '-qs', options.videos, '--on-full', 'wait'],
    ...['-b', String(shape.batch ?? 1)],
  ])
  if (summary.requests.completed !== videos)
    throw new Error(`${shape.name}: ${summary.requests.completed} of ${videos} videos have results`)
  return {
    through: Math.round(summary.throughput.videos_per_s!),
    written: Math.round(videos / summary.duration_s),
    process: Math.round(videos / wallS),
  }
}

const runs = SHAPES.map(shape => ({ shape, samples: [] as ReturnType<typeof measure>[] }))
for (let round = 0; round < Number(options.repeat); round++)
  for (const { shape, samples } of runs) samples.push(measure(shape))
rnb.close()
rmSync(folder, { recursive: true })

const KEYS = ['through', 'written', 'process'] as const
const figures = runs.map(({ shape, samples }) => ({
  ...shape,
  videos_per_s: Object.fromEntries(
    KEYS.map(key => {
      const values = samples.map(sample => sample[key])
      return [key, { median: median(values), least: Math.min(...values), most: Math.max(...values) }]
    }),
  ),
}))
const thousands = (value: number) => (value / 1000).toFixed(1)
report({
  benchmark: 'overhead',
  results: { videos, repeat: Number(options.repeat), shapes: figures },
  table: [
    ['k videos/s', ...KEYS.flatMap(key => [key, 'least', 'most'])],
    ...figures.map(({ name, videos_per_s }) => [
      name,
      ...KEYS.flatMap(key => {
        const { median: middle, least, most } = videos_per_s[key]!
        return [middle, least, most].map(thousands)
      }),
    ]),
  ],
  save: options.save,
})
