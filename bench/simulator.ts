/**
 * The simulator beside the program: synthetic steps of known durations in both, and how fast it is. `bun bench/simulator.ts [WORD]`
 * writes a line of JSON for each pipeline to standard output: throughput, p50 and p99 of the latency from the intended
 * arrival, measured and simulated, and by how much they differ: with threads that are woken at once, and after the time that
 * the program takes for that where one request is in flight (`handOver`).
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { drawSchedule } from '../src/client/schedule.ts'
import { builtin } from '../src/pipeline/builtin.ts'
import { checkConfig } from '../src/pipeline/config.ts'
import { makePlan } from '../src/pipeline/plan.ts'
import { syntheticService } from '../src/simulator/service.ts'
import { type Simulated, simulate } from '../src/simulator/simulate.ts'

const SEED = 1
const WARM_UP = 10
const RUNS = 3
/** Requests one at a time, for the hand-over. */
const ALONE = 100

interface Case {
  name: string
  pipeline: Record<string, unknown>[]
  requests: number
  intervalMs: number
  batch?: number
}

const loader = (gpus: number, service_ms: unknown, more: object = {}) => ({
  model: 'synthetic-loader',
  queue_groups: [{ gpus: new Array(gpus).fill(-1), out_queues: [0] }],
  num_clips_population: [1],
  num_clips_weights: [1],
  num_shared_tensors: 20,
  service_ms,
  ...more,
})
const network = (gpus: number, service_ms: unknown, more: object = {}) => ({
  model: 'synthetic-network',
  queue_groups: [{ gpus: new Array(gpus).fill(-1), in_queue: 0 }],
  num_classes: 10,
  service_ms,
  ...more,
})

const cases: Case[] = [
  {
    name: 'tandem, exponential',
    pipeline: [loader(1, { exponential: 6 }), network(1, { exponential: 5 })],
    requests: 1000,
    intervalMs: 10,
  },
  {
    name: 'two loaders, two networks',
    pipeline: [loader(2, { uniform: [5, 15] }), network(2, 10)],
    requests: 1000,
    intervalMs: 8,
  },
  {
    name: 'batches of four',
    pipeline: [loader(4, { exponential: 10 }), network(1, 8, { service_ms_per_clip: 1 })],
    requests: 1000,
    intervalMs: 4,
    batch: 4,
  },
  {
    name: 'one clip or fifteen',
    pipeline: [
      loader(2, 2, { num_clips_population: [1, 15], num_clips_weights: [10, 1], service_ms_per_clip: 1 }),
      network(1, 1, { service_ms_per_clip: 1.5 }),
    ],
    requests: 1000,
    intervalMs: 7,
  },
]

const percentile = (sorted: Float64Array, p: number): number => sorted[Math.ceil(p * sorted.length) - 1]!

function planOf({ pipeline, requests, intervalMs, batch = 1 }: Case, gpus = 0) {
  const settings = {
    seed: SEED,
    batch,
    maxBatchDelayMs: 5,
    top: 1,
    threads: 1,
    clip: { frames: 8, size: 112 },
  }
  const config = checkConfig({ pipeline }, builtin, { name: 'bench.json', folder: '/' })
  const sizes = { queueSize: requests, videos: requests, bulk: intervalMs === 0, perGpuQueue: false }
  const plan = makePlan(config, { settings, ...sizes, device: 'cpu' }, { driver: gpus > 0, gpus })
  return { plan, settings }
}

function simulated(of: Case, handOverMs?: readonly number[]): Simulated {
  const { plan, settings } = planOf(of)
  const schedule = drawSchedule(
    { kind: 'poisson', meanIntervalMs: of.intervalMs },
    { videos: of.requests, seed: SEED },
  )
  const overload = { onFull: 'abort' as const, timeoutNs: Number.POSITIVE_INFINITY }
  return simulate({
    plan,
    settings,
    overload,
    schedule,
    service: syntheticService(SEED),
    ...(handOverMs && { handOver: { ms: handOverMs, seed: SEED } }),
  })
}

/** Of requests after the warm-up: latencies in ms, and results a second from the first arrival to the last end. */
function figures(intendedMs: readonly number[], endMs: readonly number[]) {
  const latencies = Float64Array.from(endMs.slice(WARM_UP), (end, i) => end - intendedMs[WARM_UP + i]!).sort()
  const last = endMs.reduce((a, b) => Math.max(a, b), 0)
  return {
    videosPerS: (endMs.length / (last - intendedMs[0]!)) * 1000,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
  }
}
type Figures = ReturnType<typeof figures>

/** A line of a result, as far as it is read here. */
interface Line {
  type: string
  id: number
  latency_ms: number
  steps: { queue_ms: number; wait_ms: number }[]
}

/** Runs the program from its source. */
function results(of: Case, folder: string, ...load: (string | number)[]): Line[] {
  const file = join(folder, 'pipeline.json')
  writeFileSync(file, JSON.stringify({ pipeline: of.pipeline }))
  const main = new URL('../src/main.ts', import.meta.url).pathname
  const flags = ['-c', file, '-b', of.batch ?? 1, '-qs', of.requests, ...load]
  const more = ['--seed', SEED, '--device', 'cpu', '--results', '-', '--log-dir', folder, '--quiet']
  const { stdout, exitCode, stderr } = Bun.spawnSync([
    process.execPath,
    main,
    ...[...flags, ...more].map(String),
  ])
  if (exitCode !== 0) throw new Error(`rnb ended with ${exitCode}: ${stderr}`)
  return stdout
    .toString()
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as Line)
    .filter(({ type }) => type === 'result')
}

/** From the end of a step until the next begins with it, where nothing else goes on. */
function handOver(of: Case, folder: string): number[] {
  const lines = results({ ...of, batch: 1 }, folder, '-v', ALONE, '--concurrency', 1)
  return lines.slice(WARM_UP).flatMap(({ steps }) => steps.map(({ queue_ms, wait_ms }) => queue_ms + wait_ms))
}

function measured(of: Case, intendedMs: readonly number[], folder: string): Figures {
  const lines = results(of, folder, '-v', of.requests, '-mi', of.intervalMs)
  const endMs = new Array<number>(of.requests).fill(Number.NaN)
  for (const { id, latency_ms } of lines) endMs[id] = intendedMs[id]! + latency_ms
  return figures(intendedMs, endMs)
}

const percent = (a: number, b: number): number => Number((100 * (a / b - 1)).toFixed(1))
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

const folder = mkdtempSync(join(tmpdir(), 'rnb-simulator-'))
console.error(`${cpus().length} x ${cpus()[0]?.model}, bun ${Bun.version}, load ${loadavg()[0]}`)
try {
  const only = process.argv[2]
  for (const of of cases.filter(({ name }) => only === undefined || name.includes(only))) {
    const run = simulated(of)
    const ms = (ns: Float64Array) => Array.from(ns, value => value / 1e6)
    const predicted = figures(ms(run.intendedNs), ms(run.endNs))
    const runs = Array.from({ length: RUNS }, () => measured(of, ms(run.intendedNs), folder))
    const real: Figures = {
      videosPerS: median(runs.map(({ videosPerS }) => videosPerS)),
      p50: median(runs.map(({ p50 }) => p50)),
      p99: median(runs.map(({ p99 }) => p99)),
    }
    const handOverMs = handOver(of, folder)
    const later = simulated(of, handOverMs)
    const withHandOver = figures(ms(later.intendedNs), ms(later.endNs))
    const errorsOf = (of: Figures) => ({
      videosPerS: percent(of.videosPerS, real.videosPerS),
      p50: percent(of.p50, real.p50),
      p99: percent(of.p99, real.p99),
    })
    console.log(
      JSON.stringify({
        name: of.name,
        requests: of.requests,
        runs: RUNS,
        simulated: predicted,
        measured: real,
        each: runs,
        load: loadavg()[0],
        errorsPercent: errorsOf(predicted),
        handOverMs: { p50: median(handOverMs), requests: ALONE },
        withHandOver,
        withHandOverErrorsPercent: errorsOf(withHandOver),
      }),
    )
  }
  // The size that a plan of eight GPUs needs: 16 loaders of 16 threads and 8 networks, a million requests.
  const large: Case = {
    name: 'eight networks, a million requests',
    pipeline: [
      loader(16, { exponential: 20 }, { in_flight: 16 }),
      network(8, 1, { service_ms_per_clip: 0.5 }),
    ],
    requests: 1_000_000,
    intervalMs: 0.2,
    batch: 8,
  }
  const begin = performance.now()
  const run = simulated(large)
  const wallS = (performance.now() - begin) / 1000
  const done = run.succeeded.reduce((sum, value) => sum + value, 0)
  console.log(
    JSON.stringify({ name: large.name, ending: run.ending, done, simulatedS: run.lastNs / 1e9, wallS }),
  )
} finally {
  rmSync(folder, { recursive: true })
}
