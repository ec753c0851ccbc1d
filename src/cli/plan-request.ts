import * as v from 'valibot'
import { UsageError } from '../errors.ts'
import type { Goal } from '../planner/search/objective.ts'

const whole = (flag: string, least: number, most: number) => {
  const right = `${flag} takes a whole number from ${least} to ${most}`
  return v.pipe(v.number(right), v.integer(right), v.minValue(least, right), v.maxValue(most, right))
}
const above0 = (flag: string) =>
  v.pipe(
    v.number(`${flag} takes a number`),
    v.finite(`${flag} takes a number`),
    v.gtValue(0, `${flag} must be above 0`),
  )

/** Whole numbers with commas between them, each once, in their order. */
const list = (flag: string, least: number, most: number) =>
  v.pipe(
    v.string(),
    v.transform(given =>
      given.split(',').map(word => (/^\s*\d+\s*$/.test(word) ? Number(word) : Number.NaN)),
    ),
    v.array(whole(flag, least, most)),
    v.transform(values => [...new Set(values)].sort((a, b) => a - b)),
  )

const whatIf = v.pipe(
  v.string(),
  v.regex(
    /^(gpus|hosts)=[1-9]\d{0,4}(,(gpus|hosts)=[1-9]\d{0,4})?$/,
    '--what-if takes gpus=N, hosts=N, or both with a comma between',
  ),
  v.transform(given =>
    Object.fromEntries(
      given
        .split(',')
        .map(part => part.split('='))
        .map(([key, value]) => [key, Number(value)]),
    ),
  ),
  v.object({
    gpus: v.optional(whole('gpus of --what-if', 1, 64)),
    hosts: v.optional(whole('hosts of --what-if', 1, 10_000)),
  }),
)

const MOST = 2 ** 15 - 1

const schema = v.object({
  config_file_path: v.string(),
  video_root: v.optional(v.string()),
  weights: v.optional(v.string()),
  labels: v.optional(v.string()),
  maximize: v.optional(v.picklist(['throughput'], '--maximize takes throughput')),
  rate: v.optional(above0('--rate')),
  slo_ms: v.optional(above0('--slo-ms')),
  gpus: v.optional(list('--gpus', 0, 1023)),
  device: v.picklist(['cpu', 'cuda', 'auto'], '--device is one of cpu, cuda, auto'),
  share_gpu: v.boolean(),
  budget: above0('--budget'),
  what_if: v.optional(whatIf),
  no_proof: v.boolean(),
  no_cache: v.boolean(),
  loaders: v.picklist(['gpu', 'cpu', 'gpu,cpu', 'cpu,gpu'], '--loaders takes gpu, cpu, or gpu,cpu'),
  batches: v.optional(list('--batches', 1, MOST)),
  segments: v.optional(list('--segments', 1, MOST)),
  pieces: v.optional(whole('--pieces', 1, 5)),
  replicas: v.optional(whole('--replicas', 1, 64)),
  seed: whole('--seed', 0, 2 ** 31 - 1),
  out: v.string(),
  quiet: v.boolean(),
})
export type PlanFlags = v.InferOutput<typeof schema>

/** @throws {UsageError} listing every flag that is out of range, or saying which contradict each other */
export function checkPlanFlags(given: Record<string, unknown>): PlanFlags {
  const checked = v.safeParse(schema, given)
  if (!checked.success)
    throw new UsageError([...new Set(checked.issues.map(issue => issue.message))].join('\n'))
  const { maximize, rate, slo_ms, what_if, gpus, device } = checked.output
  if (maximize !== undefined && (rate !== undefined || slo_ms !== undefined))
    throw new UsageError(
      'plan: --maximize throughput takes no --rate and no --slo-ms: plan for one or the other',
    )
  if (slo_ms !== undefined && rate === undefined)
    throw new UsageError('plan: --slo-ms needs a --rate to be met at')
  if (what_if?.gpus !== undefined && gpus !== undefined)
    throw new UsageError('plan: --what-if gpus=N says how many GPUs there are: leave --gpus out')
  if (device === 'cpu' && (gpus !== undefined || what_if?.gpus !== undefined))
    throw new UsageError('plan: --device cpu uses no GPUs: leave one of them out')
  return checked.output
}

/** What is asked, of each host. */
export const goalOf = ({ rate, what_if }: PlanFlags): Goal =>
  rate === undefined ? { kind: 'throughput' } : { kind: 'p99', ratePerS: rate / (what_if?.hosts ?? 1) }
