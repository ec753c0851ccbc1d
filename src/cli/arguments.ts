import * as v from 'valibot'
import { UsageError } from '../errors.ts'

/**
 * RnB's two-letter flags have one dash (`-mi 90`, `-qs=500`), which a POSIX parser would read as two flags.
 * These are rewritten to their long names.
 */
const TWO_LETTER: Record<string, string> = { '-mi': '--mean_interval_ms', '-qs': '--queue_size' }

/** Flags of which the value may be a single dash, for standard output: `--results -`. */
const DASH_VALUED = new Set(['--results'])

/** Rewrites what the parser would misread. */
export function normaliseArguments(argv: readonly string[]): string[] {
  const words: string[] = []
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!
    if (word === '--') return [...words, ...argv.slice(i)]
    const [flag, ...value] = word.split('=')
    const long = TWO_LETTER[flag!]
    if (DASH_VALUED.has(word) && argv[i + 1] === '-') words.push(`${word}=${argv[++i]}`)
    else words.push(long ? [long, ...value].join('=') : word)
  }
  return words
}

const number = (flag: string, unit: string) =>
  v.pipe(v.number(`${flag} takes a number${unit}`), v.finite(`${flag} takes a number${unit}`))
const atLeast = (flag: string, unit: string, least: number) =>
  v.pipe(number(flag, unit), v.minValue(least, `${flag} must be at least ${least}${unit}`))
const count = (flag: string, least = 1) =>
  v.pipe(
    number(flag, ''),
    v.integer(`${flag} takes a whole number`),
    v.minValue(least, `${flag} must be at least ${least}`),
    v.maxValue(2 ** 31 - 1, `${flag} is too large`),
  )

/** What `rnb run` is asked for, after parsing and checking. */
const runFlags = v.pipe(
  v.object({
    mean_interval_ms: atLeast('--mean_interval_ms', ' milliseconds', 0),
    rate: v.optional(v.pipe(number('--rate', ' of requests/s'), v.gtValue(0, '--rate must be above 0'))),
    batch_size: count('--batch_size'),
    max_batch_delay_ms: atLeast('--max-batch-delay-ms', ' milliseconds', 0),
    videos: v.optional(count('--videos')),
    queue_size: count('--queue_size'),
    config_file_path: v.string(),
    per_gpu_queue: v.boolean(),
    check: v.boolean(),
    video_root: v.optional(v.string()),
    weights: v.optional(v.string()),
    labels: v.optional(v.string()),
    device: v.picklist(['cpu', 'cuda', 'auto'], '--device is one of cpu, cuda, auto'),
    share_gpu: v.boolean(),
    seed: v.pipe(count('--seed', 0)),
    warmup: count('--warmup', 0),
    top: count('--top'),
    arrival: v.optional(
      v.picklist(['poisson', 'constant', 'bulk'], '--arrival is one of poisson, constant, bulk'),
    ),
    duration: v.optional(
      v.pipe(number('--duration', ' of seconds'), v.gtValue(0, '--duration must be above 0')),
    ),
    slo_ms: v.optional(
      v.pipe(number('--slo-ms', ' of milliseconds'), v.gtValue(0, '--slo-ms must be above 0')),
    ),
    on_error: v.picklist(['skip', 'abort'], '--on-error is one of skip, abort'),
    results: v.optional(v.string()),
    log_dir: v.optional(v.string()),
    quiet: v.boolean(),
  }),
  v.check(
    flags => (flags.arrival !== 'poisson' && flags.arrival !== 'constant' ? true : intervalMs(flags) > 0),
    '--arrival poisson and constant need a --mean_interval_ms above 0 (0 means bulk: all at once)',
  ),
)
export type RunFlags = v.InferOutput<typeof runFlags>

/** Mean time between arrivals in milliseconds; 0 for all at once. */
export function intervalMs(flags: { mean_interval_ms: number; rate?: number | undefined }): number {
  return flags.rate === undefined ? flags.mean_interval_ms : 1000 / flags.rate
}

/** How requests arrive: as asked, else bulk for an interval of 0 and Poisson otherwise. */
export function arrivalOf(flags: RunFlags): 'poisson' | 'constant' | 'bulk' {
  return flags.arrival ?? (intervalMs(flags) === 0 ? 'bulk' : 'poisson')
}

/** @throws {UsageError} listing every flag that is out of range */
export function checkRunFlags(parsed: Record<string, unknown>): RunFlags {
  const checked = v.safeParse(runFlags, parsed)
  if (checked.success) return checked.output
  throw new UsageError(checked.issues.map(issue => issue.message).join('\n'))
}
