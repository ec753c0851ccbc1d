/**
 * The whole pipeline through the compiled program: videos per second in bulk, and latency at half of that rate.
 *
 *     bun bench/end-to-end.ts [-c FILE] [--video-root DIR] [--device cpu|cuda|auto] [-v N] [--save] [-- FLAGS...]
 *
 * By default the demo on this host's device. What stands after -- goes to `rnb run` as it is.
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { SummaryLine } from '../src/results/schema.ts'
import { report } from './report.ts'

const { values: options, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    config: { type: 'string', short: 'c', default: 'config/demo.json' },
    'video-root': { type: 'string' },
    device: { type: 'string', default: 'auto' },
    videos: { type: 'string', short: 'v', default: '200' },
    binary: { type: 'string', default: 'dist/rnb' },
    save: { type: 'boolean', default: false },
  },
})
const root = join(import.meta.dir, '..')

function run(label: string, ...flags: string[]): SummaryLine {
  const where = options['video-root'] === undefined ? [] : ['--video-root', options['video-root']]
  const args = ['run', '-c', options.config, '--device', options.device, '-v', options.videos, ...where]
  const command = [
    join(root, options.binary),
    ...args,
    ...flags,
    '--quiet',
    '--log-dir',
    '/tmp/rnb-bench-logs',
    ...positionals,
  ]
  const { stdout, stderr, exitCode } = Bun.spawnSync(command, { cwd: root })
  if (exitCode !== 0) throw new Error(`${label}: exit ${exitCode}: ${stderr}`)
  return JSON.parse(stdout.toString().trim().split('\n').at(-1)!) as SummaryLine
}

const bulk = run('bulk', '-mi', '0')
const capacity = bulk.throughput.videos_per_s ?? Number.NaN
const half = run('half load', '--rate', String(capacity / 2))
const figures = (name: string, summary: SummaryLine) => ({
  name,
  videos: summary.requests.measured,
  videos_per_s: summary.throughput.videos_per_s,
  clips_per_s: summary.throughput.clips_per_s,
  latency_ms: summary.latency_ms,
  clips: summary.clips,
})
const results = [figures('bulk', bulk), figures('half load', half)]
const text = (value: number | null | undefined) => (value == null ? '-' : value.toFixed(2))
report({
  benchmark: 'end-to-end',
  versions: bulk.versions,
  results: { config: options.config, runs: results },
  table: [
    ['', 'videos/s', 'clips/s', 'p50 ms', 'p99 ms'],
    ...results.map(r => [
      r.name,
      text(r.videos_per_s),
      text(r.clips_per_s),
      text(r.latency_ms?.p50),
      text(r.latency_ms?.p99),
    ]),
  ],
  save: options.save,
})
