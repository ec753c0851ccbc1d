import * as v from 'valibot'
import type { Argv } from 'yargs'
import { UsageError } from '../errors.ts'
import type { Goal } from '../planner/search/objective.ts'
import { number, text } from './arguments.ts'

const BUDGET_S = 600

/** Flags of `rnb plan`. */
export function planFlags(parser: Argv) {
  return parser
    .usage(
      '$0 plan -c PIPELINE --video-root DIR\n\nMeasures the steps of a pipeline, searches the ways to place them, runs the best, and writes a pipeline file.',
    )
    .option('config_file_path', {
      alias: ['c', 'config-file-path', 'config'],
      ...text,
      demandOption: true,
      describe: 'pipeline file, of which the steps count',
    })
    .option('video_root', { alias: 'video-root', ...text, describe: 'videos: a folder, a glob, or LIST.txt' })
    .option('weights', { ...text, describe: 'checkpoint' })
    .option('labels', { ...text, describe: 'text file with one class name a line' })
    .option('maximize', { ...text, describe: 'throughput: as many videos a second as can be (the default)' })
    .option('rate', { ...number, describe: 'in place of that, the lowest p99 at so many videos a second' })
    .option('slo_ms', {
      alias: 'slo-ms',
      ...number,
      describe: 'with --rate: p99 to keep to, with as few GPUs as do it',
    })
    .option('gpus', { ...text, describe: 'GPUs to use, such as 0,1 [default: all]' })
    .option('device', { ...text, default: 'auto', describe: 'cpu, cuda or auto (CUDA if there is a driver)' })
    .option('share_gpu', {
      alias: 'share-gpu',
      type: 'boolean',
      default: false,
      describe: 'use a GPU that another process uses',
    })
    .option('budget', { ...number, default: BUDGET_S, describe: 'seconds for all of it' })
    .option('what_if', {
      alias: 'what-if',
      ...text,
      describe: 'plan for gpus=8, or hosts=100,gpus=8, by simulation alone',
    })
    .option('no_proof', {
      alias: 'no-proof',
      type: 'boolean',
      default: false,
      describe: 'run no plan: say what is predicted',
    })
    .option('no_cache', {
      alias: 'no-cache',
      type: 'boolean',
      default: false,
      describe: 'measure anew, whatever was measured before',
    })
    .option('loaders', {
      ...text,
      default: 'gpu,cpu',
      describe: 'where loaders may run, on a host with GPUs: gpu, cpu, or both',
    })
    .option('batches', { ...text, describe: 'sizes of network batches to choose from, such as 1,4' })
    .option('segments', { ...text, describe: 'parts of a video to choose from, such as 1,3' })
    .option('pieces', { ...number, describe: 'steps that a network may be cut into' })
    .option('replicas', {
      ...number,
      describe: 'instances of a step on one GPU, or of each on the CPU, at most',
    })
    .option('seed', { ...number, default: 0, describe: 'of everything that is drawn' })
    .option('out', {
      ...text,
      default: 'plan',
      describe: 'folder for pipeline.json, plan.json, report.html and the runs',
    })
    .option('quiet', { type: 'boolean', default: false, describe: 'print nothing but JSON and errors' })
    .example('$0 plan -c whole --video-root clips/ --maximize throughput', 'the most videos a second')
    .example(
      '$0 plan -c whole --video-root clips/ --rate 300 --slo-ms 50 --gpus 0,1',
      'the fewest GPUs for a goal',
    )
}

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
