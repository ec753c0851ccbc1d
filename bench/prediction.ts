/**
 * What simulations of a profile are worth: throughput in bulk, and throughput, p50 and p99 at shares of that rate, as
 * predicted and as the program then had them, for a number of pipelines of a loader and a network.
 *
 *     bun bench/prediction.ts [--device cpu|0] [--clips 1,15] [--video-root DIR] [--weights FILE|random] [--profile-seconds 60]
 *         [--seconds 4] [--warm-up 40] [--bulk 300] [--loads 0.3,0.6,0.9] [--only 'WORDS'] [--within S] [--batches 1,2,4] [--crowds 2,4]
 *         [--host-decoders N] [--profile FILE] [--cache] [--keep DIR] [--patience S] [--retries N] [--rnb dist/rnb] [--save]
 *
 * All loads of a pipeline are one run, one after the other: some requests to warm up, all of the bulk at once, and then
 * random arrivals for `--seconds` at each share of the predicted rate, with a pause before each. The simulation has the
 * same arrivals, videos and clips. `--keep` keeps the program's lines, to be looked at. What would begin after
 * `--within` seconds is left out, and said to be. `--patience` waits for up to so many seconds until others use less than a tenth
 * of the host, before each run, and `--retries` repeats one during which they used more.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { drawSchedule } from '../src/client/schedule.ts'
import { builtin } from '../src/pipeline/builtin.ts'
import { readProfile } from '../src/planner/profile/cache.ts'
import { makeProfile } from '../src/planner/profile/make.ts'
import { ProfilePredictor } from '../src/planner/profile/predictor.ts'
import { percentile } from '../src/results/statistics.ts'
import { awaitQuiet, Others } from './others.ts'
import { arrangementOf, type Case, type CaseOptions, casesFor, pipelineOf } from './prediction-cases.ts'
import { report } from './report.ts'
import { type Ran, RnbCommand, RunFailed } from './rnb-command.ts'

const root = join(import.meta.dir, '..')
const { values: options } = parseArgs({
  options: {
    device: { type: 'string', default: 'cpu' },
    clips: { type: 'string', default: '2' },
    kernels: { type: 'string' },
    'video-root': { type: 'string', default: join(root, 'models/demo/videos') },
    weights: { type: 'string', default: join(root, 'models/demo/demo.safetensors') },
    'profile-seconds': { type: 'string', default: '60' },
    profile: { type: 'string' },
    cache: { type: 'boolean', default: false },
    'host-decoders': { type: 'string', default: '0' },
    seconds: { type: 'string', default: '4' },
    'warm-up': { type: 'string', default: '40' },
    bulk: { type: 'string', default: '300' },
    loads: { type: 'string', default: '0.3,0.6,0.9' },
    only: { type: 'string', default: '' },
    within: { type: 'string', default: '600' },
    batches: { type: 'string', default: '1,2,4' },
    crowds: { type: 'string', default: '2,4' },
    rnb: { type: 'string', default: join(root, 'dist/rnb') },
    keep: { type: 'string' },
    patience: { type: 'string', default: '0' },
    retries: { type: 'string', default: '0' },
    save: { type: 'boolean', default: false },
  },
})
/** A share of the host's cores: what others use beyond it is seen in the figures. */
const QUIET = 0.1
const patienceS = Number(options.patience)
const numbers = (text: string): number[] => text.split(',').map(Number)
const began = performance.now()
const elapsedS = () => (performance.now() - began) / 1000

/** Of arrivals, videos and clips; profiles have others. */
const SEED = 20
const WARM_UP = Number(options['warm-up'])
const PAUSE_MS = 500
/** The first results of a bulk come while threads start. */
const RAMP = 0.1

const device = options.device === 'cpu' ? -1 : Number(options.device)
const population = numbers(options.clips)
const weights = options.weights === 'random' ? undefined : resolve(options.weights)
const videoRoot = resolve(options['video-root'])
const caseOptions: CaseOptions = {
  device,
  loader: {
    num_clips_population: population,
    num_clips_weights: population.map((_, i) => (i === 0 ? 10 : 1)),
  },
  network: options.kernels === undefined ? {} : { kernels: options.kernels },
  queueSize: 20_000,
}
const deviceFlag = device < 0 ? 'cpu' : 'cuda'
// Without what makes a compiled executable act as `bun`.
const command = ['env', '-u', 'BUN_BE_BUN', resolve(options.rnb)]

async function profileOf() {
  if (options.profile !== undefined) return readProfile(options.profile)
  return makeProfile({
    files: { pipeline: pipelineOf({ name: 'profile' }, caseOptions) },
    batches: numbers(options.batches),
    crowds: numbers(options.crowds),
    hostDecoders: Number(options['host-decoders']),
    command,
    videoRoot,
    ...(weights !== undefined && { weights }),
    device: deviceFlag,
    budgetS: Number(options['profile-seconds']),
    cache: options.cache,
    registry: builtin,
    say: line => console.error(`${elapsedS().toFixed(1)} s: ${line}`),
  })
}

interface Phase {
  name: string
  first: number
  end: number
  /** Requests of it that are left out at its start. */
  ramp: number
}

interface Figures {
  videosPerS: number
  p50Ms: number
  p99Ms: number
}

/** Arrivals of all phases, in ms. */
function arrivalsOf(bulkPerS: number): { timesMs: number[]; phases: Phase[] } {
  const timesMs: number[] = []
  const phases: Phase[] = []
  const add = (name: string, startMs: number, times: Iterable<number>, ramp: number) => {
    const first = timesMs.length
    for (const ms of times) timesMs.push(startMs + ms)
    phases.push({ name, first, end: timesMs.length, ramp })
  }
  const bulk = Number(options.bulk)
  add('warm-up', 0, new Float64Array(WARM_UP), 0)
  const warmMs = PAUSE_MS + (3000 * WARM_UP) / bulkPerS
  add('bulk', warmMs, new Float64Array(bulk), Math.round(RAMP * bulk))
  let at = warmMs + PAUSE_MS + (1300 * bulk) / bulkPerS
  for (const [i, load] of numbers(options.loads).entries()) {
    const meanIntervalMs = 1000 / (load * bulkPerS)
    const durationS = Number(options.seconds)
    const ns = drawSchedule({ kind: 'poisson', meanIntervalMs }, { videos: 1e6, durationS, seed: SEED + i })
    add(
      String(load),
      at,
      ns.map(value => value / 1e6),
      0,
    )
    at += 1000 * durationS + PAUSE_MS
  }
  return { timesMs, phases }
}

/** @param endMs NaN of requests without a result */
function figures(phase: Phase, intendedMs: readonly number[], endMs: readonly number[]): Figures {
  const ids = Array.from({ length: phase.end - phase.first }, (_, i) => phase.first + i).filter(
    id => !Number.isNaN(endMs[id]!),
  )
  const ends = ids
    .map(id => endMs[id]!)
    .sort((a, b) => a - b)
    .slice(phase.ramp)
  const latencies = ids.map(id => endMs[id]! - intendedMs[id]!).sort((a, b) => a - b)
  return {
    videosPerS: ((ends.length - 1) / (ends.at(-1)! - ends[0]!)) * 1000,
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
  }
}

if (patienceS > 0) awaitQuiet(QUIET, patienceS)
const profile = await profileOf()
if (!profile) throw new Error('interrupted')
console.error(
  JSON.stringify({ measured: profile.measured, capacities: profile.capacities, fitted: profile.fitted }),
)
for (const { title, width, ahead, shares, calls } of profile.steps) {
  const all = calls.flatMap(({ ms }) => ms).sort((a, b) => a - b)
  const [p50, p99] = [percentile(all, 0.5), percentile(all, 0.99)]
  console.error(JSON.stringify({ title, width, ahead, shares, calls: all.length, p50, p99 }))
}
const predictor = new ProfilePredictor(profile, {
  registry: builtin,
  ...(weights !== undefined && { weights }),
})
const rnb = new RnbCommand(resolve(options.rnb))
const folder = mkdtempSync(join(tmpdir(), 'rnb-prediction-'))
const overload = { onFull: 'wait' as const, timeoutNs: Number.POSITIVE_INFINITY }

/** The run during which others used the host least, of some. @throws {RunFailed} */
function undisturbed(run: () => Ran): Ran & { othersShare: number } {
  let best: (Ran & { othersShare: number }) | undefined
  for (let attempt = 0; attempt <= Number(options.retries); attempt++) {
    if (patienceS > 0) awaitQuiet(QUIET, patienceS)
    const others = new Others()
    const ran = run()
    const othersShare = others.share(ran.cpuS)
    if (!best || othersShare < best.othersShare) best = { ...ran, othersShare }
    if (othersShare < QUIET || elapsedS() > Number(options.within)) break
  }
  return best!
}

/** @throws {RunFailed} */
function compare(of: Case) {
  const arrangement = arrangementOf(of, caseOptions)
  const bulk = Number(options.bulk)
  const first = predictor.simulate(arrangement, {
    schedule: new Float64Array(bulk),
    seed: SEED,
    bulk: true,
    overload,
  })
  const { timesMs, phases } = arrivalsOf(first.prediction.videosPerS)
  const simulating = performance.now()
  const { simulated } = predictor.simulate(arrangement, {
    schedule: Float64Array.from(timesMs, ms => ms * 1e6),
    seed: SEED,
    overload,
  })
  const simulatedMs = performance.now() - simulating
  const config = join(folder, 'pipeline.json')
  const trace = join(folder, 'arrivals.jsonl')
  writeFileSync(config, JSON.stringify(arrangement.config))
  writeFileSync(trace, timesMs.map(ms => `${JSON.stringify({ at_ms: ms })}\n`).join(''))
  const runOnce = () =>
    rnb.run([
      ...[
        '-c',
        config,
        '--device',
        deviceFlag,
        '--video-root',
        videoRoot,
        '--results',
        '-',
        '--on-full',
        'wait',
      ],
      ...(weights === undefined ? [] : ['--weights', weights]),
      ...['--seed', String(SEED), '-b', String(arrangement.batch), '-qs', String(arrangement.queueSize)],
      ...['--max-batch-delay-ms', String(arrangement.maxBatchDelayMs), '--arrival', `trace:${trace}`],
    ])
  const { results, othersShare } = undisturbed(runOnce)
  if (options.keep !== undefined) {
    mkdirSync(options.keep, { recursive: true })
    const lines = results.map(line => `${JSON.stringify(line)}\n`).join('')
    writeFileSync(join(options.keep, `${of.name.replace(/\W+/g, '-')}.jsonl`), lines)
  }
  const endMs = new Array<number>(timesMs.length).fill(Number.NaN)
  for (const { id, intended_ms, latency_ms } of results) endMs[id] = intended_ms + latency_ms
  const simulatedEndMs = Array.from(simulated.endNs, ns => ns / 1e6)
  return {
    name: of.name,
    arrangement: { ...arrangement, config: arrangement.config.pipeline },
    requests: timesMs.length,
    results: results.length,
    simulatedMs,
    othersShare,
    load: loadavg()[0],
    at: phases.slice(1).map(phase => ({
      name: phase.name,
      requests: phase.end - phase.first,
      predicted: figures(phase, timesMs, simulatedEndMs),
      measured: figures(phase, timesMs, endMs),
    })),
  }
}

const percent = (predicted: number, measured: number): string => {
  const error = 100 * (predicted / measured - 1)
  return `${error >= 0 ? '+' : ''}${error.toFixed(1)} %`
}
const header = [
  'pipeline',
  'load',
  'videos/s',
  'predicted',
  'error',
  'p50 ms',
  'predicted',
  'error',
  'p99 ms',
  'predicted',
  'error',
]
const rowsOf = ({ name, at }: ReturnType<typeof compare>): string[][] =>
  at.map(({ name: load, predicted, measured }) => [
    name,
    load,
    ...(['videosPerS', 'p50Ms', 'p99Ms'] as const).flatMap(key => [
      measured[key].toFixed(1),
      predicted[key].toFixed(1),
      percent(predicted[key], measured[key]),
    ]),
  ])

const wanted = ({ name, cpuDecoders = 0 }: Case): boolean =>
  name.includes(options.only) &&
  (cpuDecoders === 0 || options['host-decoders'] !== '0' || options.profile !== undefined)
const compared: ReturnType<typeof compare>[] = []
const left: string[] = []
for (const of of casesFor(device).filter(wanted)) {
  if (elapsedS() > Number(options.within)) {
    left.push(of.name)
    continue
  }
  try {
    const done = compare(of)
    compared.push(done)
    for (const row of rowsOf(done)) console.error(`${elapsedS().toFixed(1)} s: ${row.join(' | ')}`)
  } catch (error) {
    if (!(error instanceof RunFailed)) throw error
    console.error(`${of.name}: ${error.message}`)
    left.push(of.name)
  }
}
rnb.close()
rmSync(folder, { recursive: true, force: true })
report({
  benchmark: 'prediction',
  suffix: device < 0 ? 'cpu' : 'gpu',
  results: {
    profile: {
      measured: profile.measured,
      capacities: profile.capacities,
      fitted: profile.fitted,
      steps: profile.steps.map(({ calls, ...step }) => ({
        ...step,
        calls: calls.reduce((sum, { ms }) => sum + ms.length, 0),
      })),
    },
    compared,
    left,
  },
  table: [header, ...compared.flatMap(rowsOf)],
  markdown: true,
  save: options.save,
})
