import * as v from 'valibot'
import { type Arrival, parseArrival } from '../client/arrival.ts'
import { ON_FULL, type Overload } from '../client/overload.ts'
import { UsageError } from '../errors.ts'
import type { CallLimits } from '../pipeline/calls.ts'

/**
 * RnB's two-letter flags have one dash (`-mi 90`, `-qs=500`), which a POSIX parser would read as two flags.
 * These are rewritten to their long names.
 */
const TWO_LETTER: Record<string, string> = { '-mi': '--mean_interval_ms', '-qs': '--queue_size' }

/** Kinds of flags: with exactly one value, the last one where they stand twice (the parser would add numbers up). */
export const text = { type: 'string', nargs: 1 } as const
export const number = { type: 'number', nargs: 1 } as const

/** Flags of which the value may be a single dash, for standard output: `--results -`. */
const DASH_VALUED = new Set(['--results'])

/** Flags without a value, which the parser would take as false for any value but `true`. */
const SWITCHES = new Set([
  '-p',
  '--per_gpu_queue',
  '--per-gpu-queue',
  '--share_gpu',
  '--share-gpu',
  '--check',
  '--quiet',
  '--verbose',
  '--json',
  '--kernels',
  '--counters',
])

/** Rewrites what the parser would misread. @throws {UsageError} for a switch with a value that is neither true nor false */
export function normaliseArguments(argv: readonly string[]): string[] {
  const words: string[] = []
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!
    if (word === '--') return [...words, ...argv.slice(i)]
    const [flag, ...value] = word.split('=')
    if (SWITCHES.has(flag!) && value.length > 0 && !/^(true|false)$/.test(value.join('=')))
      throw new UsageError(`${flag} takes true or false, or no value`)
    const long = TWO_LETTER[flag!]
    if (DASH_VALUED.has(word) && argv[i + 1] === '-') words.push(`${word}=${argv[++i]}`)
    else words.push(long ? [long, ...value].join('=') : word)
  }
  return words
}

/** What queues and time cards have room for, far beyond what a run has use for. */
export const MOST_REQUESTS = 2 ** 24
const MOST_ITEMS = 2 ** 15 - 1

/**
 * The longest that a call may take where nobody says otherwise: beyond what a large batch takes on a slow CPU, a long
 * video with one keyframe to decode, or a network to compile and tune.
 */
export const STALL_MS = 600_000

const quantity = (flag: string, of = '') =>
  v.pipe(v.number(`${flag} takes a number${of}`), v.finite(`${flag} takes a number${of}`))
const delay = (flag: string) =>
  v.pipe(quantity(flag, ' of milliseconds'), v.minValue(0, `${flag} must be at least 0 milliseconds`))
const count = (flag: string, least: number, most: number) => {
  const right = `${flag} takes a whole number from ${least} to ${most}`
  return v.pipe(v.number(right), v.integer(right), v.minValue(least, right), v.maxValue(most, right))
}

/** What `rnb run` is asked for, after parsing and checking. */
const runFlags = v.pipe(
  v.object({
    mean_interval_ms: delay('--mean_interval_ms'),
    rate: v.optional(v.pipe(quantity('--rate', ' of requests/s'), v.gtValue(0, '--rate must be above 0'))),
    batch_size: count('--batch_size', 1, MOST_ITEMS),
    max_batch_delay_ms: delay('--max-batch-delay-ms'),
    videos: v.optional(count('--videos', 1, MOST_REQUESTS)),
    queue_size: count('--queue_size', 1, MOST_REQUESTS),
    config_file_path: v.string(),
    per_gpu_queue: v.boolean(),
    check: v.boolean(),
    video_root: v.optional(v.string()),
    weights: v.optional(v.string()),
    labels: v.optional(v.string()),
    device: v.picklist(['cpu', 'cuda', 'auto'], '--device is one of cpu, cuda, auto'),
    share_gpu: v.boolean(),
    seed: count('--seed', 0, 2 ** 31 - 1),
    warmup: count('--warmup', 0, MOST_REQUESTS),
    top: count('--top', 1, MOST_ITEMS),
    arrival: v.optional(v.string()),
    concurrency: v.optional(count('--concurrency', 1, MOST_REQUESTS)),
    duration: v.optional(
      v.pipe(quantity('--duration', ' of seconds'), v.gtValue(0, '--duration must be above 0')),
    ),
    slo_ms: v.optional(
      v.pipe(quantity('--slo-ms', ' of milliseconds'), v.gtValue(0, '--slo-ms must be above 0')),
    ),
    on_full: v.picklist(ON_FULL, `--on-full is one of ${ON_FULL.join(', ')}`),
    timeout_ms: v.optional(
      v.pipe(quantity('--timeout-ms', ' of milliseconds'), v.gtValue(0, '--timeout-ms must be above 0')),
    ),
    stall_ms: v.optional(delay('--stall-ms'), STALL_MS),
    on_error: v.picklist(['skip', 'abort'], '--on-error is one of skip, abort'),
    results: v.optional(v.string()),
    trace: v.optional(v.string()),
    log_dir: v.optional(v.string()),
    quiet: v.boolean(),
    verbose: v.optional(v.boolean(), false),
    telemetry_ms: v.optional(
      v.pipe(
        quantity('--telemetry-ms', ' of milliseconds'),
        v.minValue(1, '--telemetry-ms must be at least 1'),
      ),
    ),
    metrics_port: v.optional(count('--metrics-port', 0, 65535)),
  }),
  v.check(flags => flags.rate === undefined || Number.isFinite(intervalMs(flags)), '--rate is too small'),
)
export type RunFlags = v.InferOutput<typeof runFlags>

/** Names of all flags of `rnb run`. */
export const RUN_FLAGS = Object.keys(runFlags.entries) as (keyof RunFlags)[]

/** Mean time between arrivals in milliseconds; 0 for all at once. */
const intervalMs = (flags: { mean_interval_ms: number; rate?: number | undefined }): number =>
  flags.rate === undefined ? flags.mean_interval_ms : 1000 / flags.rate

/** What to do with requests that come faster than they are served. */
export const overloadOf = ({ on_full, timeout_ms }: RunFlags): Overload => ({
  onFull: on_full,
  timeoutNs: (timeout_ms ?? Number.POSITIVE_INFINITY) * 1e6,
})

/** How long calls of steps may take; undefined if they may hang. */
export const limitsOf = ({ stall_ms }: RunFlags): CallLimits | undefined =>
  stall_ms === 0 ? undefined : { stallMs: stall_ms, startMs: Math.max(stall_ms, STALL_MS) }

/**
 * How requests arrive: as asked, else bulk for an interval of 0 and Poisson otherwise.
 * @throws {UsageError} where flags contradict each other
 */
export function arrivalOf(flags: RunFlags): Arrival {
  const { arrival, concurrency, rate } = flags
  if (concurrency !== undefined) {
    if (arrival !== undefined || rate !== undefined)
      throw new UsageError(
        '--concurrency is a closed loop, in which a request arrives when another is done: remove --arrival and --rate',
      )
    return { kind: 'closed', concurrency }
  }
  const interval = intervalMs(flags)
  const asked = parseArrival(arrival ?? (interval === 0 ? 'bulk' : 'poisson'), interval)
  if (rate !== undefined && asked.kind !== 'poisson' && asked.kind !== 'constant')
    throw new UsageError(`--rate has no use with --arrival ${asked.kind}; remove one of them`)
  return asked
}

/** @throws {UsageError} listing every flag that is out of range, or saying which contradict each other */
export function checkRunFlags(parsed: Record<string, unknown>): RunFlags {
  const checked = v.safeParse(runFlags, parsed)
  if (checked.success) {
    arrivalOf(checked.output)
    return checked.output
  }
  throw new UsageError([...new Set(checked.issues.map(issue => issue.message))].join('\n'))
}
