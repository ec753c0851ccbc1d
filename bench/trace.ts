/**
 * What `--trace` costs: videos per second, and processor time per video, with it and without, one after the other, again and
 * again. Processor time is that until the run has ended: writing the file comes after. On a host that others use, both vary more
 * than the cost: so what the records of a video take alone is measured too, as often as it likes, on this thread.
 *
 *     bun bench/trace.ts [-c FILE] [-v N] [--pairs N] [--binary PATH] [--save] [-- FLAGS...]
 *
 * By default the synthetic pipeline, whose steps do nothing: nothing else can hide the cost. What stands after -- goes to
 * `rnb run` as it is.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { monotonicNs } from '../ffi/libc.ts'
import type { SummaryLine } from '../src/results/schema.ts'
import { Rng } from '../src/rng.ts'
import { createNames, Track } from '../src/tracing/buffer.ts'
import { report } from './report.ts'

const { values: options, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    config: { type: 'string', short: 'c', default: 'synthetic' },
    videos: { type: 'string', short: 'v', default: '100000' },
    pairs: { type: 'string', default: '15' },
    binary: { type: 'string', default: 'dist/rnb' },
    save: { type: 'boolean', default: false },
  },
})
const root = join(import.meta.dir, '..')
const folder = mkdtempSync(join(tmpdir(), 'rnb-bench-trace-'))
const file = join(folder, 'trace.json')

function run(traced: boolean): SummaryLine {
  const { stdout, stderr, exitCode } = Bun.spawnSync(
    [
      resolve(root, options.binary),
      ...['run', '-c', options.config, '-v', options.videos, '-mi', '0', '--quiet', '--log-dir', folder],
      ...(traced ? ['--trace', file] : []),
      ...['--telemetry-ms', '100'],
      ...positionals,
    ],
    // Without what makes a compiled executable act as `bun`.
    { cwd: root, env: { ...process.env, BUN_BE_BUN: undefined } },
  )
  if (exitCode !== 0) throw new Error(`exit ${exitCode}: ${stderr}`)
  return JSON.parse(stdout.toString().trim().split('\n').at(-1)!) as SummaryLine
}

/** What one run came to. */
interface Figures {
  videosPerS: number
  /** Processor time of all threads, in microseconds. */
  usPerVideo: number
}

function figuresOf({ throughput, telemetry, duration_s, requests }: SummaryLine): Figures {
  const cores = telemetry?.host.process_cores?.mean ?? Number.NaN
  return {
    videosPerS: throughput.videos_per_s ?? Number.NaN,
    usPerVideo: (cores * duration_s * 1e6) / requests.completed,
  }
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

/** 95% interval of the median, from the values drawn anew again and again. */
function medianInterval(values: readonly number[]): [number, number] {
  const rng = Rng.of(0, 'bootstrap')
  const medians = Array.from({ length: 5000 }, () =>
    median(values.map(() => values[rng.int(values.length)]!)),
  ).sort((a, b) => a - b)
  return [medians[125]!, medians[4874]!]
}

const NOTES = 1_000_000

/** Nanoseconds that a record takes with the look at the clock that it needs: the least of several rounds. */
function nsPerRecord(): number {
  const track = new Track(Track.create(createNames()))
  const rounds = Array.from({ length: 7 }, () => {
    const begin = monotonicNs()
    for (let i = 0; i < NOTES; i++) track.visit('network', begin, monotonicNs(), i)
    return (monotonicNs() - begin) / NOTES
  })
  return Math.min(...rounds)
}

/** Records that one video leaves. */
async function recordsPerVideo(): Promise<number> {
  const { otherData } = (await Bun.file(file).json()) as { otherData: { records: number } }
  return otherData.records / Number(options.videos)
}

const versions = run(true).versions
const pairs = Array.from({ length: Number(options.pairs) }, (_, i) => {
  // Who comes first alternates: what the host does meanwhile meets both.
  const order = i % 2 === 0 ? [true, false] : [false, true]
  const figures = new Map(order.map(traced => [traced, figuresOf(run(traced))]))
  return { traced: figures.get(true)!, plain: figures.get(false)! }
})
const slower = pairs.map(({ traced, plain }) => 1 - traced.videosPerS / plain.videosPerS)
const dearer = pairs.map(({ traced, plain }) => traced.usPerVideo / plain.usPerVideo - 1)
const summed = (values: readonly number[]) => ({ median: median(values), ci95: medianInterval(values) })
const megabytes = statSync(file).size / 1e6
const noted = { ns_per_record: nsPerRecord(), records_per_video: await recordsPerVideo() }
rmSync(folder, { recursive: true })

const results = {
  config: options.config,
  videos: Number(options.videos),
  pairs,
  plain_videos_per_s: median(pairs.map(({ plain }) => plain.videosPerS)),
  plain_us_per_video: median(pairs.map(({ plain }) => plain.usPerVideo)),
  less_throughput: summed(slower),
  more_processor_time: summed(dearer),
  ...noted,
  trace_megabytes: megabytes,
}
const percent = (share: number): string => `${(100 * share).toFixed(2)} %`
report({
  benchmark: 'trace',
  versions,
  results,
  table: [
    ['without trace', 'with it', 'median of pairs', '95 %'],
    [
      `${results.plain_videos_per_s.toFixed(0)} videos/s`,
      'less',
      percent(results.less_throughput.median),
      results.less_throughput.ci95.map(percent).join(' .. '),
    ],
    [
      `${results.plain_us_per_video.toFixed(1)} us of processors a video`,
      'more',
      percent(results.more_processor_time.median),
      results.more_processor_time.ci95.map(percent).join(' .. '),
    ],
    [
      `${noted.records_per_video.toFixed(2)} records a video, ${noted.ns_per_record.toFixed(0)} ns each`,
      'more',
      percent((noted.records_per_video * noted.ns_per_record) / 1000 / results.plain_us_per_video),
      '(derived)',
    ],
  ],
  save: options.save,
})
