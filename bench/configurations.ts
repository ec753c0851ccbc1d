/**
 * Each pipeline that comes along for a host: videos per second in bulk, latency at shares of that rate, and whether its
 * labels are those of the first pipeline.
 *
 *     bun bench/configurations.ts [--host cpu|1-gpu|2-gpus|8-gpus] [--only single,whole,...] [--video-root DIR] [--weights FILE]
 *         [--clips 1] [--kernels ptx|cudnn] [-v N] [--loads 0.5,0.9] [--rnb dist/rnb] [--save] [-- FLAGS...]
 *
 * By default those for the CPU, with the demo's videos and network. On a GPU host without Bun, the compiled program runs
 * it: `BUN_BE_BUN=1 rnb bench/configurations.ts --rnb $(which rnb) ...`.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { ResultLine, SummaryLine } from '../src/results/schema.ts'
import { report } from './report.ts'

const root = join(import.meta.dir, '..')
const { values: options, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    host: { type: 'string', default: 'cpu' },
    only: { type: 'string' },
    'video-root': { type: 'string', default: join(root, 'models/demo/videos') },
    weights: { type: 'string', default: join(root, 'models/demo/demo.safetensors') },
    clips: { type: 'string' },
    kernels: { type: 'string' },
    videos: { type: 'string', short: 'v', default: '200' },
    loads: { type: 'string', default: '0.5,0.9' },
    rnb: { type: 'string', default: 'dist/rnb' },
    save: { type: 'boolean', default: false },
  },
})

/** Steps with no pipeline of their own to compare, and one that takes no videos. */
const LEFT_OUT = new Set(['synthetic', 'two-networks'])
const NETWORKS = new Set(['network', 'single'])
const LOADERS = new Set(['loader', 'single'])

interface PipelineFile {
  pipeline: Record<string, unknown>[]
}

const folder = mkdtempSync(join(tmpdir(), 'rnb-configurations-'))

/** The pipeline with the clips and kernels that are asked for. Returns the file. */
function adapted(path: string): string {
  const file = JSON.parse(readFileSync(path, 'utf8')) as PipelineFile
  for (const step of file.pipeline) {
    if (options.clips !== undefined && LOADERS.has(String(step.model))) {
      step.num_clips_population = options.clips.split(',').map(Number)
      step.num_clips_weights = options.clips.split(',').map((_, i) => (i === 0 ? 10 : 1))
    }
    if (options.kernels !== undefined && NETWORKS.has(String(step.model))) step.kernels = options.kernels
  }
  const to = join(folder, basename(path))
  writeFileSync(to, JSON.stringify(file))
  return to
}

interface Ran {
  summary: SummaryLine
  labels: Map<number, number | undefined>
}

function run(config: string, ...flags: string[]): Ran {
  const weights = options.weights === 'random' ? [] : ['--weights', resolve(options.weights)]
  const command = [resolve(root, options.rnb), 'run', '-c', config, '-v', options.videos, ...weights]
  const given = [
    '--video-root',
    resolve(options['video-root']),
    '--results',
    '-',
    '--quiet',
    '--log-dir',
    join(folder, 'logs'),
  ]
  const { stdout, stderr } = Bun.spawnSync([...command, ...given, ...flags, ...positionals], {
    maxBuffer: 2 ** 30,
  })
  const lines = stdout.toString().trimEnd().split('\n')
  const last = lines.pop()
  if (!last?.startsWith('{')) throw new Error(`${config}: ${stderr}`)
  const results = lines.map(line => JSON.parse(line) as ResultLine).filter(({ type }) => type === 'result')
  return {
    summary: JSON.parse(last) as SummaryLine,
    labels: new Map(results.map(({ id, top }) => [id, top[0]?.index])),
  }
}

const names = readdirSync(join(root, 'config', options.host))
  .map(file => basename(file, '.json'))
  .filter(name => (options.only ? options.only.split(',').includes(name) : !LEFT_OUT.has(name)))
  // What the others' labels are compared with comes first.
  .sort((a, b) => Number(b === 'single') - Number(a === 'single') || (a < b ? -1 : 1))
const loads = options.loads.split(',').map(Number)
let reference: Ran['labels'] | undefined
let versions: Record<string, string> = {}

const figures = names.map(name => {
  const config = adapted(join(root, 'config', options.host, `${name}.json`))
  const bulk = run(config, '-mi', '0')
  reference ??= bulk.labels
  versions = bulk.summary.versions
  const other = [...bulk.labels].filter(([id, label]) => reference!.get(id) !== label).length
  const capacity = bulk.summary.throughput.videos_per_s ?? Number.NaN
  console.error(`${name}: ${capacity.toFixed(1)} videos/s`)
  return {
    name,
    exit: bulk.summary.exit.reason,
    results: bulk.labels.size,
    other_labels: other,
    videos_per_s: capacity,
    clips_per_s: bulk.summary.throughput.clips_per_s,
    at: loads.map(load => {
      const { summary } = run(config, '--rate', String(load * capacity))
      return {
        load,
        exit: summary.exit.reason,
        videos_per_s: summary.throughput.videos_per_s,
        latency_ms: summary.latency_ms,
      }
    }),
  }
})
rmSync(folder, { recursive: true, force: true })

const text = (value: number | null | undefined, digits = 1) => (value == null ? '-' : value.toFixed(digits))
report({
  benchmark: 'configurations',
  suffix: options.host,
  versions,
  results: {
    host: options.host,
    videos: Number(options.videos),
    weights: basename(options.weights),
    clips: options.clips ?? 'as in the files',
    configurations: figures,
  },
  table: [
    [
      'configuration',
      'videos/s',
      'clips/s',
      'other labels',
      ...loads.flatMap(load => [`p50 at ${100 * load} %`, 'p99, ms']),
    ],
    ...figures.map(({ name, videos_per_s, clips_per_s, other_labels, results, at }) => [
      name,
      text(videos_per_s),
      text(clips_per_s),
      `${other_labels} of ${results}`,
      ...at.flatMap(({ latency_ms }) => [text(latency_ms?.p50), text(latency_ms?.p99)]),
    ]),
  ],
  save: options.save,
})
