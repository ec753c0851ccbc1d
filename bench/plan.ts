/**
 * How well and how fast plans are found: `bun bench/plan.ts [--seconds 20] [--requests 1000000] [--save]`. Synthetic steps that cost about what
 * R(2+1)D-18 does on an H100 (decoding on seven engines, a network that shares the GPU), on one, two and eight GPUs, for throughput and for p99 at 70 % of it: plans tried, the bound, and the gap to it. Then a
 * simulation of the best plan on eight GPUs with a million requests.
 */
import { parseArgs } from 'node:util'
import { builtin } from '../src/pipeline/builtin.ts'
import { findPlan, runsOn, usableSpace } from '../src/planner/search/find.ts'
import { type Goal, objectiveOf } from '../src/planner/search/objective.ts'
import { usualLimits } from '../src/planner/space/limits.ts'
import { templateOf } from '../src/planner/space/template.ts'
import { SyntheticPredictor } from '../src/planner/synthetic.ts'
import { report } from './report.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    requests: { type: 'string', default: '1000000' },
    save: { type: 'boolean', default: false },
  },
})
const CORES = 16
const TOLERANCE = 0.01
const LOAD = 0.7
const PER_GPU = 500

const template = templateOf(
  {
    pipeline: [
      {
        model: 'synthetic-loader',
        queue_groups: [{ gpus: [0], out_queues: [0] }],
        num_clips_population: [1, 15],
        num_clips_weights: [10, 1],
        service_ms: 4,
        service_ms_per_clip: 6,
        busy: true,
      },
      {
        model: 'synthetic-network',
        queue_groups: [{ gpus: [0], in_queue: 0 }],
        service_ms: { uniform: [0.4, 0.8] },
        service_ms_per_clip: 0.25,
      },
    ],
  },
  builtin,
)

interface Line {
  what: string
  gpus: number
  requests: number
  /** Of the clock, and of the processor. */
  seconds: number
  cpu_seconds: number
  [more: string]: unknown
}
const lines: Line[] = []

/** Does something, and notes what came of it and how long it took. */
function timed<T>(what: string, gpus: number, requests: number, work: () => { facts: object; result: T }): T {
  const [begin, cpu] = [performance.now(), process.cpuUsage()]
  const { facts, result } = work()
  const { user, system } = process.cpuUsage(cpu)
  const figure = (value: number) => Number(value.toFixed(2))
  const times = {
    seconds: figure((performance.now() - begin) / 1000),
    cpu_seconds: figure((user + system) / 1e6),
  }
  lines.push({ what, gpus, requests, ...times, ...facts })
  return result
}

for (const gpus of [1, 2, 8]) {
  const machine = { gpus, gpu: { decoders: 7, compute: 1 }, host: { cores: CORES } }
  const predictor = new SyntheticPredictor(machine)
  const numbers = Array.from({ length: gpus }, (_, gpu) => gpu)
  const { space } = usableSpace(
    template,
    { ...usualLimits(numbers, CORES), loadersOn: ['gpu'] },
    runsOn(predictor),
  )
  const sample = { requests: PER_GPU * Math.max(2, gpus), seed: 1 }
  const search = (what: string, goal: Goal) =>
    timed(what, gpus, sample.requests, () => {
      const found = findPlan(space, predictor, objectiveOf(goal, sample), {
        budgetMs: 1000 * Number(values.seconds),
        tolerance: TOLERANCE,
      })
      const { best, bound, ended, size, evaluated, expanded, beyondBound } = found
      const gap = best && Number((Math.abs(bound - best.value) / Math.abs(best.value)).toPrecision(3))
      const facts = {
        goal,
        plans: size,
        tried: evaluated,
        nodes: expanded,
        ended,
        value: best?.value,
        bound,
        gap,
      }
      return { facts: { ...facts, beyond_bound: beyondBound }, result: best }
    })
  const best = search('throughput', { kind: 'throughput' })
  if (!best) throw new Error('no plan was found')
  const ratePerS = LOAD * best.value
  search('p99', { kind: 'p99', ratePerS })
  if (gpus < 8) continue
  const requests = Number(values.requests)
  timed('simulation', gpus, requests, () => {
    const arrangement = { ...best.arrangement, queueSize: 100_000 }
    const { videosPerS, p99Ms, completed } = predictor.predict(arrangement, { requests, seed: 2, ratePerS })
    return {
      facts: { rate_per_s: ratePerS, completed, videos_per_s: videosPerS, p99_ms: p99Ms },
      result: undefined,
    }
  })
}

const cell = (value: unknown): string =>
  typeof value === 'number' ? String(Number(value.toPrecision(4))) : String(value ?? '')
const columns = [
  'what',
  'gpus',
  'requests',
  'seconds',
  'cpu_seconds',
  'plans',
  'tried',
  'ended',
  'value',
  'bound',
  'gap',
]
report({
  benchmark: 'plan',
  results: lines,
  table: [columns, ...lines.map(line => columns.map(column => cell(line[column])))],
  save: values.save,
})
