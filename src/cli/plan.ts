import { join } from 'node:path'
import { documentOf, GIVEN, type PlanDocument, planName } from '../planner/document.ts'
import { withinMemory } from '../planner/memory.ts'
import { networkMemory } from '../planner/network-memory.ts'
import { planOf, sameRun } from '../planner/plan-of.ts'
import { type Planned, planFor } from '../planner/planning.ts'
import { makeProfile } from '../planner/profile/make.ts'
import { machineOf, ProfilePredictor } from '../planner/profile/predictor.ts'
import { entrantsOf } from '../planner/proof/entrants.ts'
import { type Entrant, type Proven, prove } from '../planner/proof/prove.ts'
import { usableSpace } from '../planner/search/find.ts'
import { coveringStructures } from '../planner/space/cover.ts'
import type { Arrangement, PipelineFile, Predictor } from '../planner/types.ts'
import { makePlanPage } from '../report/plan-page.ts'
import { Runner } from '../sweep/runner.ts'
import { VERSION } from '../version.ts'
import { EXIT } from './exit.ts'
import { notesOf, notesOfProfile, proofLine } from './plan-notes.ts'
import { write, writeJson } from './plan-output.ts'
import { goalOf, type PlanFlags } from './plan-request.ts'
import { memoryOf, QUEUE_SIZE, type Subject, subjectOf } from './plan-subject.ts'

/** Of the time: for measuring the steps, with what is fitted to that, and for the search; the rest is for the proof. */
const FOR_RUNS = 0.4
const FOR_PROFILE = 0.55
const FOR_SEARCH = 0.2
/** Plans that run for real, beside the file as given. */
const ENTRANTS = 4
/** Shares of a figure that are not looked for, and do not matter. */
const TOLERANCE = 0.01
/** Requests that plans are tried with, for each GPU, and at the least. */
const REQUESTS = 500
const GIVEN_DELAY_MS = 5
/** Proofs have other seeds than the search: what it found by luck should not last. */
const PROOF_SEEDS = 1000

/** Stops planning, and keeps what has been measured. */
class Interrupted extends Error {}

/** Does the parts of a plan one after the other, and says how it goes. */
class Planning {
  readonly #began = performance.now()
  readonly #seconds: Record<string, number> = {}
  #runner: Runner | undefined
  #profiled: string[] = []
  #stopped = false

  constructor(
    readonly command: readonly string[],
    readonly flags: PlanFlags,
  ) {}

  /** What runs now finishes what is in flight, and nothing else starts. */
  readonly #stop = (): void => {
    this.#stopped = true
    this.#runner?.stop()
  }

  /** From here on people may stop it, and what has been measured is kept. */
  listen(): void {
    process.on('SIGINT', this.#stop).on('SIGTERM', this.#stop)
  }

  /** A signal ends the program at once, as ever. */
  leave(): void {
    process.off('SIGINT', this.#stop).off('SIGTERM', this.#stop)
  }

  say(line: string): void {
    if (!this.flags.quiet) console.error(line)
  }

  get #leftMs(): number {
    return 1000 * this.flags.budget - (performance.now() - this.#began)
  }

  async #timed<T>(part: string, work: () => T | Promise<T>): Promise<T> {
    const begin = performance.now()
    const result = await work()
    this.#seconds[part] = Number(((performance.now() - begin) / 1000).toFixed(1))
    return result
  }

  async run(): Promise<{ document: PlanDocument; pipeline: PipelineFile; proven: Proven | undefined }> {
    const { flags } = this
    const subject = await subjectOf(flags)
    const predictor = await this.#timed('profile', () => this.#predictor(subject))
    if (this.#stopped) throw new Interrupted()
    // The search has nothing to keep, and would not hear of a signal before its end.
    this.leave()
    const planned = await this.#timed('search', () => this.#search(subject, predictor))
    this.listen()
    const simulated = flags.what_if !== undefined
    const given: Entrant = {
      name: GIVEN,
      arrangement: {
        config: subject.file,
        batch: 1,
        maxBatchDelayMs: GIVEN_DELAY_MS,
        perGpuQueue: false,
        queueSize: QUEUE_SIZE,
      },
    }
    const best = entrantsOf(planned.plans, ENTRANTS).map(place => ({
      name: planName(place),
      arrangement: planned.plans[place]!.arrangement,
    }))
    const alike = best.find(({ arrangement }) => sameRun(arrangement, given.arrangement, subject.host))
    // Second, so that it is seen what planning brings even if there is no time for the others.
    const entrants = simulated || alike ? best : [...best.slice(0, 1), given, ...best.slice(1)]
    const proven =
      flags.no_proof || simulated
        ? undefined
        : await this.#timed('proof', () => this.#prove(entrants, planned, subject))
    const file = join(flags.out, 'pipeline.json')
    const document = documentOf({
      version: VERSION,
      pipeline: flags.config_file_path,
      goal: goalOf(flags),
      sloMs: flags.slo_ms,
      sample: planned.objective.load,
      hosts: flags.what_if?.hosts ?? 1,
      simulated,
      planned,
      predictor,
      entrants,
      given,
      proven,
      file,
      seconds: this.#seconds,
      notes: [
        ...notesOf(flags, planned, proven),
        ...(alike ? [`the file as given is the same as ${alike.name}`] : []),
        ...this.#profiled,
      ],
    })
    return { document, pipeline: document.winner.arrangement.config, proven }
  }

  /** Measures the steps, or knows them from before. */
  async #predictor({ file, registry, template, limits, onGpus, host }: Subject): Promise<Predictor> {
    const { flags } = this
    const { space } = usableSpace(template, limits, arrangement => {
      planOf(arrangement, { requests: 1, seed: 0, ratePerS: 1 }, host)
    })
    const files = coveringStructures(space).map((structure): [string, PipelineFile] => {
      const { config } = space.arrangement(space.simplest(structure, { inFlight: 0, cpuDecoders: 0 }))
      return [`structure-${structure + 1}`, config]
    })
    this.say(
      `measuring the steps of ${files.length} way${files.length === 1 ? '' : 's'} to cut and place them`,
    )
    const profile = await makeProfile({
      files: Object.fromEntries(files),
      // What lies between is taken from both sides of it.
      batches: [...new Set([Math.min(...limits.batches), Math.max(...limits.batches)])],
      // Few show where calls begin to disturb each other, many what can be done at most.
      crowds: onGpus ? [...new Set([Math.max(...limits.inFlight), Math.min(...limits.inFlight)])] : [2, 4],
      hostDecoders: Math.max(...limits.cpuDecoders),
      gpus: limits.gpus,
      command: this.command,
      ...(file.video_root !== undefined && { videoRoot: file.video_root }),
      ...(file.weights !== undefined && { weights: file.weights }),
      device: onGpus ? 'cuda' : 'cpu',
      budgetS: Math.round(FOR_RUNS * flags.budget),
      fittedS: FOR_PROFILE * flags.budget,
      mostS: (1 - FOR_SEARCH) * flags.budget,
      wholeS: flags.budget,
      cache: !flags.no_cache,
      registry,
      say: line => this.say(line),
      started: runner => {
        this.#runner = runner
        if (this.#stopped) runner.stop()
      },
    })
    if (!profile) throw new Interrupted()
    this.#profiled = notesOfProfile(profile)
    const machine = machineOf(profile, host.gpus)
    const predictor = new ProfilePredictor(profile, {
      registry,
      machine,
      ...(file.weights !== undefined && { weights: file.weights }),
    })
    return withinMemory(
      predictor,
      memoryOf(limits.gpus),
      (arrangement, { gpus }) =>
        planOf(arrangement, { requests: 1, seed: 0, ratePerS: 1 }, { ...host, gpus }).plan,
      networkMemory(host.networks!),
    )
  }

  #search({ template, limits }: Subject, predictor: Predictor): Planned {
    const { flags } = this
    const planned = planFor(template, limits, predictor, {
      goal: goalOf(flags),
      sloMs: flags.slo_ms,
      sample: { requests: REQUESTS * Math.max(2, limits.gpus.length), seed: flags.seed },
      searchMs: 1000 * FOR_SEARCH * flags.budget,
      tolerance: TOLERANCE,
    })
    const { found, plans } = planned
    this.say(
      `tried ${found.evaluated} of at most ${found.size} plans; the best, as predicted: ${summary(plans[0].arrangement)}`,
    )
    return planned
  }

  async #prove(entrants: readonly Entrant[], planned: Planned, { onGpus }: Subject): Promise<Proven> {
    const { flags } = this
    const runner = new Runner(this.command, join(flags.out, 'proof'))
    this.#runner = runner
    if (this.#stopped) runner.stop()
    const proven = await prove({
      entrants,
      goal: goalOf(flags),
      runner,
      flags: { device: onGpus ? 'cuda' : 'cpu', ...(flags.share_gpu && { share_gpu: 'true' }) },
      videosPerS: planned.plans[0].bulk.videosPerS,
      seed: flags.seed + PROOF_SEEDS,
      budgetMs: Math.max(0, this.#leftMs),
      tolerance: TOLERANCE,
      now: () => performance.now(),
      say: line => this.say(line),
    })
    if (proven.interrupted) throw new Interrupted()
    return proven
  }
}

const summary = ({ config }: Arrangement): string =>
  config.pipeline
    .map(({ model, queue_groups }) => `${model} x ${queue_groups.flatMap(({ gpus }) => gpus).length}`)
    .join(', ')

/**
 * `rnb plan`: measures the steps of a pipeline, searches the ways to place them, runs the best for real, and writes the winner
 * with the reasons.
 * @param command of rnb itself
 * @returns the exit status
 * @throws {UsageError} if what is asked cannot be met: what stands in the way, and what nearest could be
 */
export async function plan(command: readonly string[], flags: PlanFlags): Promise<number> {
  const planning = new Planning(command, flags)
  planning.listen()
  try {
    const { document, pipeline, proven } = await planning.run()
    writeJson(join(flags.out, 'pipeline.json'), pipeline)
    writeJson(join(flags.out, 'plan.json'), document)
    write(join(flags.out, 'report.html'), makePlanPage(document))
    for (const line of document.notes) planning.say(`note: ${line}`)
    if (document.proof) planning.say(`proof: ${proofLine(document.proof)}`)
    planning.say(`${join(flags.out, 'report.html')}: ${document.winner.summary}`)
    planning.say(document.winner.command)
    console.log(JSON.stringify(document))
    return proven && proven.end.winner === undefined ? EXIT.failed : EXIT.done
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error
    console.error('rnb: interrupted; what has been measured is kept')
    return EXIT.interrupted
  } finally {
    planning.leave()
  }
}
