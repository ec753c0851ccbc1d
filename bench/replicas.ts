/**
 * What more GPUs bring: videos per second in bulk of a pipeline on one GPU, and of the same with a replica of loader and
 * network on each, with queues for each GPU (-p) and with common ones. Four seconds of each run are warm-up: two GPUs
 * begin at a third of their rate. With two GPUs it takes some two minutes.
 *
 *     bun bench/replicas.ts --video-root DIR [--gpus 2] [--seconds 8] [--loads decoding,network] [--weights FILE] [--rnb dist/rnb] [--save]
 *
 * Two loads: one that decoding limits (one clip a video, fp16), and one that the network limits (fp32 by own kernels).
 * On a GPU host without Bun: `BUN_BE_BUN=1 rnb bench/replicas.ts --rnb $(which rnb) ...`.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { SummaryLine } from '../src/results/schema.ts'
import { report } from './report.ts'

const { values: options } = parseArgs({
  options: {
    'video-root': { type: 'string' },
    gpus: { type: 'string', default: '2' },
    seconds: { type: 'string', default: '8' },
    loads: { type: 'string', default: 'decoding,network' },
    weights: { type: 'string' },
    rnb: { type: 'string', default: 'dist/rnb' },
    save: { type: 'boolean', default: false },
  },
})
const videoRoot = options['video-root']
if (videoRoot === undefined) throw new Error('--video-root DIR: videos to decode')
const folder = mkdtempSync(join(tmpdir(), 'rnb-replicas-'))

/** Requests of the run that finds out how fast one GPU is. */
const PROBE = 1500
const BATCH = 8
const WARM_UP_S = 4
const LOADS = { decoding: {}, network: { precision: 'fp32', kernels: 'ptx' } }
const all = Array.from({ length: Number(options.gpus) }, (_, gpu) => gpu)

/** A bulk run on these GPUs, of so many videos, the first of which do not count. */
function run(
  load: keyof typeof LOADS,
  gpus: readonly number[],
  videos: number,
  warmUp: number,
  flags: readonly string[],
): SummaryLine {
  const config = join(folder, 'pipeline.json')
  const pipeline = [
    {
      model: 'loader',
      queue_groups: [{ gpus, out_queues: [0] }],
      num_clips_population: [1],
      num_clips_weights: [1],
      num_shared_tensors: 60,
    },
    { model: 'network', queue_groups: [{ gpus, in_queue: 0 }], ...LOADS[load] },
  ]
  writeFileSync(config, JSON.stringify({ pipeline }))
  const weights = options.weights === undefined ? [] : ['--weights', resolve(options.weights)]
  const command = [
    ...[resolve(options.rnb), 'run', '-c', config, '--video-root', resolve(videoRoot!), ...weights],
    ...['-v', String(videos), '--warmup', String(warmUp), '-b', String(BATCH), '-mi', '0'],
    ...['--quiet', '--log-dir', join(folder, 'logs'), ...flags],
  ]
  const { stdout, stderr, exitCode } = Bun.spawnSync(command, {
    env: { ...process.env, BUN_BE_BUN: undefined },
  })
  if (exitCode !== 0) throw new Error(`${load} on GPUs ${gpus}: exit ${exitCode}: ${stderr}`)
  const summary = JSON.parse(stdout.toString().trim().split('\n').at(-1)!) as SummaryLine
  // Of what is ended by a time limit, this is left.
  console.error(`${load} on GPUs ${gpus.join()} ${flags.join(' ')}: ${rateOf(summary).toFixed(1)} videos/s`)
  return summary
}

const rateOf = ({ throughput }: SummaryLine): number => throughput.videos_per_s ?? Number.NaN

try {
  const loads = options.loads.split(',').filter((load): load is keyof typeof LOADS => load in LOADS)
  const results = loads.flatMap(load => {
    const rate = rateOf(run(load, [0], PROBE, PROBE / 4, []))
    const measure = (gpus: readonly number[], flags: readonly string[]) => {
      const warmUp = Math.round(gpus.length * rate * WARM_UP_S)
      return run(load, gpus, warmUp + Math.round(gpus.length * rate * Number(options.seconds)), warmUp, flags)
    }
    const one = measure([0], [])
    const runs = [
      { name: 'one GPU', gpus: 1, summary: one },
      { name: 'queues for each', gpus: all.length, summary: measure(all, ['-p']) },
      { name: 'common queues', gpus: all.length, summary: measure(all, []) },
    ]
    return runs.map(({ name, gpus, summary }) => ({
      load,
      name,
      gpus,
      videos: summary.requests.asked,
      videos_per_s: rateOf(summary),
      window_s: summary.throughput.window_s,
      times_one: rateOf(summary) / rateOf(one),
      copies: summary.copies,
      notes: summary.notes,
    }))
  })
  report({
    benchmark: 'replicas',
    results,
    table: [
      ['limited by', '', 'GPUs', 'videos/s', 'times one'],
      ...results.map(r => [
        r.load,
        r.name,
        String(r.gpus),
        r.videos_per_s.toFixed(1),
        r.times_one.toFixed(2),
      ]),
    ],
    save: options.save,
  })
} finally {
  rmSync(folder, { recursive: true })
}
