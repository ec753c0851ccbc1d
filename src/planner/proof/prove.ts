import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { hashOf } from '../../pipeline/hash.ts'
import { writeFileAtomic } from '../../results/atomic-file.ts'
import type { SummaryLine } from '../../results/schema.ts'
import type { Flags } from '../../sweep/grid.ts'
import type { PointEnd } from '../../sweep/runner.ts'
import { VERSION } from '../../version.ts'
import { flagsOf } from '../describe.ts'
import type { Goal } from '../search/objective.ts'
import type { Arrangement } from '../types.ts'
import { type RaceEnd, race } from './race.ts'

/** A plan that takes part, the best first by prediction. */
export interface Entrant {
  name: string
  arrangement: Arrangement
}

/** Who runs the program: `src/sweep/runner.ts`. */
export interface ProofRunner {
  readonly out: string
  run(name: string, flags: Flags): Promise<PointEnd>
}

export interface ProofOptions {
  entrants: readonly Entrant[]
  goal: Goal
  runner: ProofRunner
  /** Of all runs: videos, device, ... */
  flags: Flags
  /** Videos a second that the best is predicted to do. */
  videosPerS: number
  /** Seed of the first round; each round has the next. */
  seed: number
  /** Time for all runs. */
  budgetMs: number
  /** Differences of a smaller share do not matter. */
  tolerance: number
  now(): number
  say(line: string): void
}

/** What a run came to, in the figures of predictions. */
export interface Measured {
  videosPerS: number
  p50Ms: number
  p99Ms: number
}

export interface Proven {
  end: RaceEnd
  seeds: number[]
  /** Of each run in the race. */
  requests: number
  /** Results that each run's figures leave out at its start. */
  warmup: number
  /** With a seed that no run before had: in bulk and at a rate. Undefined where no time was left for it. */
  heldOut?: { seed: number; requests: number; bulk?: Measured; atRate?: Measured & { ratePerS: number } }
  /** Whether it ended because people asked for it. */
  interrupted: boolean
}

const ROUNDS = 8
/** Runs that a race of four and the file as given takes, about, with those on the held-out seed. */
const RUNS = 20
/** A run's start and end, about, that no request sees: on GPUs kernels are tested, and decoders made and destroyed. */
const AROUND_MS = { cpu: 1500, cuda: 5000 }
const LEAST_REQUESTS = 40
const MOST_REQUESTS = 20_000
/** Results that a run's figures leave out at its start; on GPUs at least this share, as each loader's thread compiles its code anew. */
const WARM_UP = 10
const GPU_WARM_UP = 1 / 3
/** A run that is shorter than this, its start not counted, says little. */
const LEAST_MS = { cpu: 1500, cuda: 4000 }
/** Share of the measured throughput at which latencies are checked, where no rate was asked for. */
const LOAD = 0.7
/** What runs with the held-out seed take, in runs of the race: one in bulk, and one in which requests come more slowly. */
const HELD_OUT = 1 + 1 / LOAD

/** How good a run was, of which more is better; undefined for one that did not carry its load. */
export function figureOf({ exit, throughput, latency_ms }: SummaryLine, goal: Goal): number | undefined {
  if (exit.status !== 0) return undefined
  const figure = goal.kind === 'throughput' ? throughput.videos_per_s : latency_ms?.p99
  if (figure === null || figure === undefined) return undefined
  return goal.kind === 'throughput' ? figure : -figure
}

const measuredOf = ({ exit, throughput, latency_ms }: SummaryLine): Measured | undefined =>
  exit.status !== 0 || !latency_ms || !throughput.videos_per_s
    ? undefined
    : { videosPerS: throughput.videos_per_s, p50Ms: latency_ms.p50, p99Ms: latency_ms.p99 }

/** Runs the best plans for real, all under the same seeds, and the winner once more with another one, as far as there is time. */
export async function prove(options: ProofOptions): Promise<Proven> {
  return await new Proving(options).run()
}

class Proving {
  readonly #begin: number
  readonly #requests: number
  readonly #warmup: number
  #interrupted = false
  /** Of all runs so far. */
  #longestMs = 0

  constructor(readonly options: ProofOptions) {
    const { budgetMs, videosPerS, goal, flags, now } = options
    this.#begin = now()
    const perS = goal.kind === 'p99' ? goal.ratePerS : videosPerS
    const onGpus = flags.device === 'cuda'
    const kind = onGpus ? 'cuda' : 'cpu'
    const runMs = Math.max(LEAST_MS[kind], budgetMs / RUNS - AROUND_MS[kind])
    this.#requests = Math.round(Math.min(MOST_REQUESTS, Math.max(LEAST_REQUESTS, (perS * runMs) / 1000)))
    this.#warmup = onGpus ? Math.max(WARM_UP, Math.round(GPU_WARM_UP * this.#requests)) : WARM_UP
  }

  async run(): Promise<Proven> {
    const { entrants, goal, seed, tolerance } = this.options
    let ran = 0
    const end = await race({
      runners: entrants.length,
      rounds: ROUNDS,
      tolerance,
      // Time for this run and for those to come with the held-out seed; a second plan is worth more than the last of these.
      goOn: () => !this.#interrupted && this.#timeFor(1 + (ran < 2 ? 1 : HELD_OUT)),
      run: async (runner, round) => {
        ran++
        const summary = await this.#point(entrants[runner]!, seed + round, this.#load(goal))
        return summary && figureOf(summary, goal)
      },
    })
    const rounds = Math.max(0, ...end.values.map(values => values.length))
    const seeds = Array.from({ length: rounds }, (_, round) => seed + round)
    const base = { end, seeds, requests: this.#requests, warmup: this.#warmup }
    const winner = end.winner === undefined ? undefined : entrants[end.winner]
    if (!winner || this.#interrupted || !this.#timeFor(1)) return { ...base, interrupted: this.#interrupted }
    const heldOut = await this.#holdOut(winner, seed + ROUNDS)
    return { ...base, heldOut, interrupted: this.#interrupted }
  }

  #passed(): number {
    return this.options.now() - this.#begin
  }

  /** Whether there is time for so many runs as long as the longest. */
  #timeFor(runs: number): boolean {
    return this.#passed() + runs * this.#longestMs <= this.options.budgetMs
  }

  /** Under the goal's load; then, if there is time, under the other: in bulk, or at a rate below what that run showed. */
  async #holdOut(winner: Entrant, seed: number): Promise<NonNullable<Proven['heldOut']>> {
    const { goal } = this.options
    const measured = async (load: Goal) => {
      const summary = await this.#point(winner, seed, this.#load(load))
      return summary && measuredOf(summary)
    }
    const base = { seed, requests: this.#requests }
    if (goal.kind === 'p99') {
      const { ratePerS } = goal
      const atRate = await measured(goal)
      const bulk = this.#timeFor(1) ? await measured({ kind: 'throughput' }) : undefined
      return { ...base, ...(bulk && { bulk }), ...(atRate && { atRate: { ...atRate, ratePerS } }) }
    }
    const bulk = await measured(goal)
    if (!bulk || !this.#timeFor(1 / LOAD)) return { ...base, ...(bulk && { bulk }) }
    const ratePerS = Number((LOAD * bulk.videosPerS).toPrecision(4))
    const atRate = await measured({ kind: 'p99', ratePerS })
    return { ...base, bulk, ...(atRate && { atRate: { ...atRate, ratePerS } }) }
  }

  /** Flags of a load: all at once, or at a rate. */
  #load(goal: Goal): Flags {
    return goal.kind === 'throughput' ? { arrival: 'bulk' } : { rate: String(goal.ratePerS) }
  }

  async #point({ name, arrangement }: Entrant, seed: number, load: Flags): Promise<SummaryLine | undefined> {
    if (this.#interrupted) return undefined
    const { runner, flags, say } = this.options
    const folder = join(runner.out, 'plans')
    mkdirSync(folder, { recursive: true })
    const file = join(folder, `${name}.json`)
    writeFileAtomic(file, `${JSON.stringify(arrangement.config, null, 2)}\n`)
    const queueSize =
      load.arrival === 'bulk' ? Math.max(this.#requests, arrangement.queueSize) : arrangement.queueSize
    const asked: Flags = {
      config_file_path: file,
      ...flagsOf({ ...arrangement, queueSize }),
      ...flags,
      ...load,
      videos: String(this.#requests),
      warmup: String(this.#warmup),
      seed: String(seed),
    }
    // A plan of another time may have had this name: what ran before counts only if all of it is the same.
    const mark = hashOf({ version: VERSION, config: arrangement.config, asked })
    const begin = this.#passed()
    const end = await runner.run(`${name}-seed${seed}-${mark}`, asked)
    this.#longestMs = Math.max(this.#longestMs, this.#passed() - begin)
    if (end.kind === 'interrupted') this.#interrupted = true
    if (end.kind === 'failed') say(`${name}: ${end.message}`)
    if (end.kind !== 'measured') return undefined
    const { throughput, latency_ms, exit } = end.summary
    const figures =
      exit.status === 0
        ? `${throughput.videos_per_s?.toPrecision(4)} videos/s, p99 ${latency_ms?.p99.toPrecision(4)} ms`
        : exit.reason
    say(`ran ${name}, seed ${seed}: ${figures}`)
    return end.summary
  }
}
