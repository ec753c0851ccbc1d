import { mkdirSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import { join } from 'node:path'
import { describeDevice } from '../../ffi/cuda/device.ts'
import { gpuUse } from '../../ffi/nvml.ts'
import { UsageError } from '../errors.ts'
import { builtin } from '../pipeline/builtin.ts'
import { loadConfig } from '../pipeline/config.ts'
import { detectHost } from '../pipeline/host.ts'
import { withModules } from '../pipeline/modules.ts'
import type { Registry } from '../pipeline/registry.ts'
import { documentOf, GIVEN, type PlanDocument, planName } from '../planner/document.ts'
import { givenFile } from '../planner/given.ts'
import { type Memory, withinMemory } from '../planner/memory.ts'
import { networkMemory } from '../planner/network-memory.ts'
import { planOf, type Surroundings, sameRun } from '../planner/plan-of.ts'
import { type Planned, planFor } from '../planner/planning.ts'
import { makeProfile } from '../planner/profile/make.ts'
import { networkReader } from '../planner/profile/networks.ts'
import { machineOf, ProfilePredictor } from '../planner/profile/predictor.ts'
import type { Profile } from '../planner/profile/schema.ts'
import { LINK_BYTES_PER_S } from '../planner/profile/service.ts'
import { type Entrant, type Proven, prove } from '../planner/proof/prove.ts'
import { usableSpace } from '../planner/search/find.ts'
import { coveringStructures } from '../planner/space/cover.ts'
import { type Limits, usualLimits } from '../planner/space/limits.ts'
import { type Template, templateOf } from '../planner/space/template.ts'
import type { Arrangement, PipelineFile, Predictor } from '../planner/types.ts'
import { makePlanPage } from '../report/plan-page.ts'
import { writeFileAtomic } from '../results/atomic-file.ts'
import { CPU } from '../steps/step.ts'
import { Runner } from '../sweep/runner.ts'
import { VERSION } from '../version.ts'
import { EXIT } from './exit.ts'
import { goalOf, type PlanFlags } from './plan-request.ts'

/** Of the time: for measuring the steps, and for the search; the rest is for the proof. */
const FOR_PROFILE = 0.4
const FOR_SEARCH = 0.2
/** Plans that run for real, beside the file as given. */
const ENTRANTS = 4
/** Shares of a figure that are not looked for, and do not matter. */
const TOLERANCE = 0.01
/** Requests that plans are tried with, for each GPU, and at the least. */
const REQUESTS = 500
/** Half a confidence interval of a mean, relative to it, that people should hear of. */
const WIDE = 0.05
/** RnB's, and the program's. */
const QUEUE_SIZE = 500
const GIVEN_DELAY_MS = 5
/** Proofs have other seeds than the search: what it found by luck should not last. */
const PROOF_SEEDS = 1000

/** Stops planning, and keeps what has been measured. */
class Interrupted extends Error {}

/** What is planned for: the pipeline, and where it may run. */
interface Subject {
  file: PipelineFile
  registry: Registry
  template: Template
  limits: Limits
  onGpus: boolean
  /** What the program's own plan of an arrangement depends on. */
  host: Surroundings
}

/** GPUs by their numbers. @throws {UsageError} for one that is not there */
function gpusOf({ gpus, device, what_if }: PlanFlags): number[] {
  const host = device === 'cpu' ? { gpus: 0, driver: false } : detectHost()
  if (device === 'cuda' && !host.driver)
    throw new UsageError('plan: no NVIDIA driver was found: install it, or use --device cpu')
  const missing = (gpus ?? []).filter(gpu => gpu >= host.gpus)
  if (missing.length > 0)
    throw new UsageError(
      `plan: --gpus names ${missing.join(', ')}, but there ${host.gpus === 1 ? 'is 1 GPU' : `are ${host.gpus} GPUs`}`,
    )
  const count = host.gpus > 0 ? (what_if?.gpus ?? host.gpus) : 0
  if (what_if?.gpus !== undefined && host.gpus === 0)
    throw new UsageError(
      'plan: --what-if gpus=N goes from what was measured on a GPU, and there is none here',
    )
  return gpus ?? Array.from({ length: count }, (_, gpu) => gpu)
}

/** Memory that slots and networks may take: what the GPU with the least of it has free, and all of the host's. */
function memoryOf(gpus: readonly number[]): Memory {
  // Of more GPUs than there are, each is as those.
  const here = gpus.filter(gpu => gpu < detectHost().gpus)
  const free = here.map(gpu => gpuUse(describeDevice(gpu).uuid).memory.free)
  return { host: totalmem(), ...(free.length > 0 && { gpu: Math.min(...free) }) }
}

function limitsOf(flags: PlanFlags, gpus: readonly number[]): Limits {
  const usual = usualLimits(gpus, availableParallelism())
  const { batches, loaders, segments, pieces, replicas } = flags
  return {
    ...usual,
    queueSize: QUEUE_SIZE,
    loadersOn: (['gpu', 'cpu'] as const).filter(place => loaders.includes(place)),
    ...(batches && { batches }),
    ...(segments && { segments }),
    ...(pieces !== undefined && { pieces }),
    ...(replicas !== undefined && {
      replicas,
      cpuReplicas: Array.from({ length: replicas }, (_, i) => i + 1),
    }),
  }
}

/** Reads what is to be planned, and keeps a copy that can run from anywhere. */
async function subjectOf(flags: PlanFlags): Promise<Subject> {
  const gpus = gpusOf(flags)
  const { config_file_path: path, out, video_root, weights, labels } = flags
  const config = loadConfig(path, await withModules(path, builtin), gpus.length)
  const file = givenFile(config, { videoRoot: video_root, weights, labels })
  if (file.video_root === undefined && config.steps[0]!.kind.needsVideos !== false)
    throw new UsageError(
      'no videos: give --video-root DIR, GLOB or LIST.txt, or video_root in the pipeline file',
    )
  const copy = join(out, 'given.json')
  writeJson(copy, file)
  const registry = await withModules(copy, builtin)
  return {
    file,
    registry,
    template: templateOf(file, registry),
    limits: limitsOf(flags, gpus),
    onGpus: gpus.length > 0,
    host: {
      registry,
      gpus: gpus.length === 0 ? 0 : Math.max(...gpus) + 1,
      networks: networkReader(registry, file.weights),
    },
  }
}

function writeJson(path: string, value: unknown): void {
  write(path, `${JSON.stringify(value, null, 2)}\n`)
}

/** @throws {UsageError} if it can't be written */
function write(path: string, content: string): void {
  try {
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileAtomic(path, content)
  } catch (error) {
    throw new UsageError(`plan: ${path} could not be written: ${(error as Error).message}`)
  }
}

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
    const best = planned.plans
      .slice(0, ENTRANTS)
      .map(({ arrangement }, i) => ({ name: planName(i), arrangement }))
    const alike = best.find(({ arrangement }) => sameRun(arrangement, given.arrangement, subject.host))
    const entrants = simulated || alike ? best : [...best, given]
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
      crowds: onGpus ? [Math.max(...limits.inFlight)] : [2, 4],
      hostDecoders: Math.max(...limits.cpuDecoders),
      command: this.command,
      ...(file.video_root !== undefined && { videoRoot: file.video_root }),
      ...(file.weights !== undefined && { weights: file.weights }),
      device: onGpus ? 'cuda' : 'cpu',
      budgetS: Math.round(FOR_PROFILE * flags.budget),
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

/** How well the steps are known, where that is not as well as wanted. */
function notesOfProfile({ measured: { left, widestInterval } }: Profile): string[] {
  const wide = widestInterval === null || widestInterval > WIDE
  const known =
    widestInterval === null ? 'some from a single call' : `within ${(100 * widestInterval).toFixed(0)} %`
  return [
    ...(left.length > 0
      ? [`no time was left to measure ${left.join(', ')}: a larger --budget, or the same command again, does`]
      : []),
    ...(wide
      ? [`means of calls are known with 95 % confidence only ${known}: predictions are no better`]
      : []),
  ]
}

/** What is made on one GPU may then be taken on another. */
const usesSeveralGpus = ({ pipeline }: PipelineFile): boolean => {
  const devices = pipeline.flatMap(({ queue_groups: groups }) => groups.flatMap(({ gpus = [] }) => gpus))
  return new Set(devices.filter(gpu => gpu !== CPU)).size > 1
}

/** What limits the meaning of a plan. */
function notesOf(flags: PlanFlags, { found, plans, unknown }: Planned, proven: Proven | undefined): string[] {
  const notes: string[] = []
  if (unknown.length > 0)
    notes.push(`left out of the search, as there was no time to measure it: ${unknown.join(' | ')}`)
  if (flags.what_if) notes.push('simulated: nothing of this ran, and the GPUs or hosts were not measured')
  else if (flags.no_proof) notes.push('not proven: no plan ran for real (--no-proof)')
  else if (proven?.end.winner === undefined) notes.push('not proven: no run gave figures')
  if (found.ended === 'stopped')
    notes.push(`the search ended with its time: it tried ${found.evaluated} of at most ${found.size} plans`)
  if (found.beyondBound > 0)
    notes.push(
      `${found.beyondBound} plans were predicted to be better than their bound: the bound and the gap prove nothing here`,
    )
  if (usesSeveralGpus(plans[0].arrangement.config))
    notes.push(
      `transfers from GPU to GPU were not measured: ${LINK_BYTES_PER_S / 1e9} GB/s are assumed, as over PCIe 4.0`,
    )
  const slo = flags.slo_ms
  const won = proven?.end.winner === undefined ? undefined : proven.end.values[proven.end.winner]
  if (slo !== undefined && won?.some(value => -value > slo))
    notes.push(
      `p99 was over ${slo} ms in ${won.filter(value => -value > slo).length} of the winner's ${won.length} runs`,
    )
  if (plans[0].bulk.aborted) notes.push('a queue was full in bulk, as predicted')
  return notes
}

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
