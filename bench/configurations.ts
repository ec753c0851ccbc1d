/**
 * Each pipeline that comes along for a host: videos per second in bulk, latency at shares of that rate, and whether its
 * labels are those of the first pipeline. Prints README's table.
 *
 *     bun bench/configurations.ts [--host cpu|1-gpu|2-gpus|8-gpus] [--only single,whole,...] [--video-root DIR]
 *         [--weights FILE|random] [--clips 1] [--kernels ptx|cudnn] [-v N] [--loads 0.5,0.9] [--seconds S] [--warm-up 5] [--within S]
 *         [--rnb dist/rnb] [--save] [-- FLAGS...]
 *
 * By default those for as many GPUs as the host has, with the demo's videos and network. Half of the videos in bulk
 * are warm-up, and requests of `--warm-up` seconds come before the first share of the rate. At a share of the rate, requests come for about `--seconds`; all shares are one run, with a pause between
 * them, as starting one takes seconds on a GPU. What would begin after `--within` seconds is left out, and said to be. On a
 * GPU host without Bun, the compiled program runs it: `BUN_BE_BUN=1 rnb bench/configurations.ts --rnb $(which rnb) ...`.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { drawSchedule } from '../src/client/schedule.ts'
import { detectHost } from '../src/pipeline/host.ts'
import { distribution } from '../src/results/statistics.ts'
import { report } from './report.ts'
import { type Ran, RnbCommand, RunFailed } from './rnb-command.ts'

const root = join(import.meta.dir, '..')
const { values: options, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    host: { type: 'string' },
    only: { type: 'string' },
    'video-root': { type: 'string', default: join(root, 'models/demo/videos') },
    weights: { type: 'string', default: join(root, 'models/demo/demo.safetensors') },
    clips: { type: 'string' },
    kernels: { type: 'string' },
    videos: { type: 'string', short: 'v', default: '200' },
    loads: { type: 'string', default: '0.5,0.9' },
    seconds: { type: 'string', default: '2' },
    'warm-up': { type: 'string', default: '5' },
    within: { type: 'string', default: '150' },
    rnb: { type: 'string', default: join(root, 'dist/rnb') },
    save: { type: 'boolean', default: false },
  },
})

/** Steps with no pipeline of their own to compare, and one that takes no videos. */
const LEFT_OUT = new Set(['synthetic', 'two-networks'])
const NETWORKS = new Set(['network', 'single'])
const LOADERS = new Set(['loader', 'single'])
/** What RnB called them. */
const RNB_NAMES: ReadonlyMap<string, string> = new Map([
  ['replicated', 'baseline'],
  ['batched', 'rnb'],
  ['whole', 'r2p1d-whole'],
  ['single', 'r2p1d-nopipeline'],
  ['segmented', 'r2p1d-segment'],
  ['gpu-queues', 'r2p1d-aggressive'],
  ['shared-queue', 'r2p1d-aggressive-global'],
  ['grouped-queues', 'r2p1d-aggressive-four-groups'],
])
/** Requests at the start of each load that statistics leave out. */
const WARMUP = 10
/** Of those in bulk: while code is compiled, in seconds, a host with many threads is slower. */
const warmUpOf = (videos: number): number => Math.round(videos / 2)
/** Between one load and the next: queues become empty. */
const PAUSE_NS = 5e8
/** Fewer say little of a percentile. */
const LEAST_REQUESTS = 50

/** The folder of config/ that fits this host best. */
function hostFolder(): string {
  const { gpus } = detectHost()
  if (gpus >= 8) return '8-gpus'
  if (gpus >= 2) return '2-gpus'
  return gpus === 1 ? '1-gpu' : 'cpu'
}
const host = options.host ?? hostFolder()

/** Pipeline files of the host, by name. As in RnB, `whole` names one GPU, however many there are. */
const files = new Map(
  [host, ...(/^[28]-gpus$/.test(host) ? ['1-gpu/whole.json'] : [])]
    .flatMap(path =>
      path.endsWith('.json') ? [path] : readdirSync(join(root, 'config', path)).map(file => join(path, file)),
    )
    .map(path => [basename(path, '.json'), join(root, 'config', path)]),
)

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

const rnb = new RnbCommand(resolve(options.rnb))
const common = [
  ...['--device', host === 'cpu' ? 'cpu' : 'cuda', '--video-root', resolve(options['video-root'])],
  ...(options.weights === 'random' ? [] : ['--weights', resolve(options.weights)]),
  ...['--on-full', 'wait', '--results', '-'],
]
/** @throws {RunFailed} */
const run = (config: string, videos: number, warmup: number, ...flags: string[]): Ran => {
  const requests = ['-v', String(videos), '-qs', String(videos), '--warmup', String(warmup)]
  return rnb.run(['-c', config, ...requests, ...common, ...flags, ...positionals])
}

const wanted = options.only?.split(',')
const unknown = wanted?.filter(name => !files.has(name)) ?? []
if (unknown.length > 0) throw new Error(`config/${host} has no ${unknown.join(', ')}`)
const names = [...files.keys()]
  .filter(name => wanted?.includes(name) ?? !LEFT_OUT.has(name))
  // What the others' labels are compared with comes first.
  .sort((a, b) => Number(b === 'single') - Number(a === 'single') || (a < b ? -1 : 1))
const loads = options.loads.split(',').map(Number)
const labelsOf = ({ results }: Ran) => new Map(results.map(({ id, top }) => [id, top[0]?.index]))
let reference: ReturnType<typeof labelsOf> | undefined
let versions: Record<string, string> = {}

/** Latency while requests come at random at shares of a rate, one share after the other. @throws {RunFailed} */
function measureLoads(config: string, capacity: number) {
  const trace = join(folder, 'arrivals.jsonl')
  const times: number[] = []
  /** @returns of the first of them */
  const add = (rate: number, videos: number, seed: number): number => {
    const startNs = times.length === 0 ? 0 : times.at(-1)! + PAUSE_NS
    const first = times.length
    for (const ns of drawSchedule({ kind: 'poisson', meanIntervalMs: 1000 / rate }, { videos, seed }))
      times.push(startNs + ns)
    return first
  }
  // More than the least would pile up while it is still slow from the start.
  const least = Math.min(...loads) * capacity
  add(least, Math.ceil(least * Number(options['warm-up'])), loads.length)
  const phases = loads.map((load, seed) => {
    const rate = load * capacity
    const videos = WARMUP + Math.max(LEAST_REQUESTS, Math.round(rate * Number(options.seconds)))
    const first = add(rate, videos, seed) + WARMUP
    return { load, offered_per_s: rate, first, end: times.length }
  })
  writeFileSync(trace, times.map(ns => `${JSON.stringify({ at_ms: ns / 1e6 })}\n`).join(''))
  const { summary, results } = run(config, times.length, WARMUP, '--arrival', `trace:${trace}`)
  return phases.map(({ first, end, ...phase }) => {
    const measured = results.filter(({ id }) => id >= first && id < end)
    const latency = Float64Array.from(measured, ({ latency_ms }) => latency_ms * 1e6)
    return { ...phase, exit: summary.exit.reason, latency_ms: distribution(latency) }
  })
}

/** @throws {RunFailed} */
function measure(name: string) {
  const config = adapted(files.get(name)!)
  const videos = Number(options.videos)
  const bulk = run(config, videos, warmUpOf(videos), '-mi', '0')
  const labels = labelsOf(bulk)
  reference ??= labels
  versions = bulk.summary.versions
  const capacity = bulk.summary.throughput.videos_per_s
  if (capacity === null) throw new RunFailed(`${options.videos} videos are too few for a rate; raise -v`)
  console.error(`${name}: ${capacity.toFixed(1)} videos/s`)
  return {
    exit: bulk.summary.exit.reason,
    results: labels.size,
    other_labels: [...labels].filter(([id, label]) => reference!.get(id) !== label).length,
    videos_per_s: capacity,
    clips_per_s: bulk.summary.throughput.clips_per_s,
    at: measureLoads(config, capacity),
  }
}

const began = performance.now()
const elapsedS = () => (performance.now() - began) / 1000
const figures = names.map(name => {
  const rnbName = RNB_NAMES.get(name)
  const called = { name, ...(rnbName !== undefined && { rnb_name: rnbName }) }
  if (elapsedS() > Number(options.within)) return { ...called, skipped: 'no time was left' }
  try {
    return { ...called, ...measure(name) }
  } catch (error) {
    if (!(error instanceof RunFailed)) throw error
    console.error(`${name}: ${error.message}`)
    return { ...called, failed: error.message }
  }
})
rnb.close()
rmSync(folder, { recursive: true, force: true })

const text = (value: number | null | undefined, digits = 1) => (value == null ? '-' : value.toFixed(digits))
const cells = (row: (typeof figures)[number]): string[] => {
  if (!('at' in row))
    return ['failed' in row ? 'failed' : 'not run', '', '', ...loads.flatMap(() => ['', ''])]
  const { videos_per_s, clips_per_s, other_labels, results, at } = row
  return [
    text(videos_per_s),
    text(clips_per_s),
    `${other_labels} of ${results}`,
    ...at.flatMap(({ latency_ms }) => [text(latency_ms?.p50), text(latency_ms?.p99)]),
  ]
}
report({
  benchmark: 'configurations',
  suffix: host,
  versions,
  results: {
    host,
    videos: Number(options.videos),
    seconds: Number(options.seconds),
    weights: basename(options.weights),
    clips: options.clips ?? 'as in the files',
    flags: positionals,
    took_s: Math.round(elapsedS()),
    configurations: figures,
  },
  table: [
    [
      'configuration',
      "RnB's name",
      'videos/s',
      'clips/s',
      'other labels',
      ...loads.flatMap(load => [`p50 at ${100 * load} %, ms`, 'p99, ms']),
    ],
    ...figures.map(row => [`\`${row.name}\``, row.rnb_name ? `\`${row.rnb_name}\`` : '', ...cells(row)]),
  ],
  markdown: true,
  save: options.save,
})
