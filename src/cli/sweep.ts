import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import * as v from 'valibot'
import { UsageError } from '../errors.ts'
import type { SummaryLine } from '../results/schema.ts'
import { judgeRun, leastRequests } from '../sweep/goal.ts'
import { type Flags, type GridPoint, gridOf } from '../sweep/grid.ts'
import { type PointEnd, Runner } from '../sweep/runner.ts'
import { findMax } from '../sweep/search.ts'
import { EXIT } from './exit.ts'
import { report } from './report.ts'

/** Times that a rate may be judged, with twice as many requests each time. */
const LOOKS = 3

const positive = (flag: string) =>
  v.pipe(v.number(`${flag} takes a number`), v.gtValue(0, `${flag} must be above 0`))
const ownFlags = v.object({
  out: v.string(),
  find_max: v.boolean(),
  percentile: v.pipe(
    v.number('--percentile takes a number'),
    v.gtValue(0, '--percentile must be above 0'),
    v.ltValue(100, '--percentile must be below 100'),
  ),
  tolerance: positive('--tolerance'),
})
type OwnFlags = v.InferOutput<typeof ownFlags>

/** Flags that a search sets itself. */
const SEARCHED = ['mean_interval_ms', 'rate', 'arrival', 'concurrency', 'duration'] as const

/** A point's line of JSON. */
function line(name: string, out: string, end: PointEnd): string {
  const base = { type: 'point', name, folder: join(out, name) }
  if (end.kind !== 'measured') return JSON.stringify({ ...base, ...end })
  const { exit, rate, throughput, latency_ms, goodput } = end.summary
  return JSON.stringify({
    ...base,
    kind: end.kind,
    earlier: end.earlier,
    exit,
    rate,
    throughput,
    latency_ms,
    goodput,
  })
}

const figure = (value: number | null | undefined, unit: string): string =>
  value === null || value === undefined ? '' : `, ${Number(value.toPrecision(4))} ${unit}`

/** A point's line for people. */
function describe(name: string, end: PointEnd): string {
  if (end.kind !== 'measured') return `${name}: ${end.kind === 'failed' ? end.message : end.kind}`
  const { exit, throughput, latency_ms } = end.summary
  const p99 = figure(latency_ms?.p99, 'ms p99')
  return `${name}: ${exit.reason}${figure(throughput.videos_per_s, 'videos/s')}${p99}${end.earlier ? ' (ran before)' : ''}`
}

/** Runs points, and says how each ended. */
class Sweep {
  readonly runner: Runner
  failed = 0
  interrupted = false

  constructor(
    command: readonly string[],
    readonly own: OwnFlags,
  ) {
    this.runner = new Runner(command, own.out)
  }

  async point(name: string, flags: Flags): Promise<SummaryLine | undefined> {
    const end = await this.runner.run(name, flags)
    console.error(describe(name, end))
    console.log(line(name, this.own.out, end))
    if (end.kind === 'measured') return end.summary
    if (end.kind === 'failed') this.failed++
    else this.interrupted = true
    return undefined
  }

  /** The highest rate that meets the goal with a point's other flags. */
  async search({ name, flags }: GridPoint): Promise<boolean> {
    const { percentile, tolerance } = this.own
    const share = percentile / 100
    const least = Math.max(
      Number(flags.videos ?? 0),
      leastRequests(share, LOOKS) + Number(flags.warmup ?? 10),
    )
    const bulk = await this.point(`${name}-bulk`, {
      ...flags,
      videos: String(least),
      queue_size: String(least),
      arrival: 'bulk',
    })
    const capacity = bulk?.throughput.videos_per_s
    if (!capacity) return false
    const runs: { rate: number; videos: number; seed: number; verdict: string }[] = []
    const found = await findMax({
      capacity,
      tolerance,
      looks: LOOKS,
      probe: async (rate, scale, purpose) => {
        if (this.interrupted) return 'missed'
        const seed = Number(flags.seed ?? 0) + (purpose === 'confirmation' ? 1 : 0)
        const videos = least * scale
        const text = String(Number(rate.toPrecision(4)))
        const summary = await this.point(`${name}-rate${text}-v${videos}-seed${seed}`, {
          ...flags,
          rate: text,
          videos: String(videos),
          seed: String(seed),
        })
        const verdict = summary ? judgeRun(summary, share, LOOKS) : 'missed'
        runs.push({ rate: Number(text), videos, seed, verdict })
        return verdict
      },
    })
    if (this.interrupted) return false
    const rate = found.rate === null ? null : Number(found.rate.toPrecision(4))
    console.log(
      JSON.stringify({
        type: 'max',
        name,
        flags,
        percentile,
        slo_ms: Number(flags.slo_ms),
        rate,
        confirmed: found.confirmed,
        runs,
      }),
    )
    const goal = `p${percentile} within ${flags.slo_ms} ms`
    console.error(
      rate === null
        ? `${name}: no rate has ${goal}`
        : `${name}: ${rate} videos/s with ${goal}, with two seeds (${runs.length} runs)`,
    )
    return rate !== null
  }
}

/** Folders of a sweep that hold results. */
const finished = (out: string): string[] =>
  existsSync(out)
    ? readdirSync(out)
        .sort()
        .map(name => join(out, name))
        .filter(path => existsSync(join(path, 'results.jsonl')))
    : []

/**
 * `rnb sweep`: runs every combination of flags, or looks for the highest rate that meets a goal, one process after the other;
 * points that a sweep into the same folder has run before are not run again. Then a report.
 * @param command - of rnb itself
 * @param flags - of `rnb run`, with lists of values
 * @returns the exit status
 */
export async function sweep(
  command: readonly string[],
  flags: Flags,
  given: Record<string, unknown>,
): Promise<number> {
  const checked = v.safeParse(ownFlags, given)
  if (!checked.success)
    throw new UsageError([...new Set(checked.issues.map(issue => issue.message))].join('\n'))
  const own = checked.output
  if (own.find_max) {
    if (flags.slo_ms === undefined) throw new UsageError('sweep: --find-max needs a goal: --slo-ms')
    for (const flag of SEARCHED)
      if (flags[flag] !== undefined)
        throw new UsageError(`sweep: --find-max chooses the rate itself: leave --${flag} out`)
  }
  const points = gridOf(flags)
  const sweep = new Sweep(command, own)
  // A wrong value should show now, and not when the points before it have run.
  for (const point of points) sweep.runner.check(point.flags)
  const stop = () => sweep.runner.stop()
  process.on('SIGINT', stop).on('SIGTERM', stop)
  let met = true
  try {
    for (const point of points) {
      if (sweep.interrupted) break
      if (own.find_max) met = (await sweep.search(point)) && met
      else await sweep.point(point.name, point.flags)
    }
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop)
  }
  const runs = finished(own.out)
  if (runs.length > 0) await report(runs, { output: join(own.out, 'report.html') })
  if (sweep.interrupted) return EXIT.interrupted
  return sweep.failed > 0 || !met ? EXIT.failed : EXIT.done
}
