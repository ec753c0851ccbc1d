import { drawVideos } from '../../client/videos.ts'
import type { Instance, Plan } from '../../pipeline/plan.ts'
import { type Cold, slownessOf } from '../../simulator/resources.ts'
import type { Call, ServiceModel, Stretch } from '../../simulator/service.ts'
import { CPU, type Device, type RunSettings } from '../../steps/step.ts'
import { clipsDrawn } from '../../steps/synthetic/loader.ts'
import { NotMeasured } from '../not-measured.ts'
import { type Engine, engineOf, stepKey, threadsOf } from './keys.ts'
import type { Profile, ProfiledStep, Spread } from './schema.ts'
import { CallTimes } from './times.ts'

/** What a profile knows of a step, ready to be asked. */
export interface KnownStep extends ProfiledStep {
  times: CallTimes
}

/** Mixes the bits of a word: the finaliser of MurmurHash3 (Appleby). */
function mix(word: number): number {
  let h = word
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}

/** A number in [0, 1) for a request in a step: the same in every simulation of the seed, whatever the arrangement. */
export const drawOf = (seed: number, step: number, request: number): number =>
  (mix(mix(mix(seed + 1) ^ (step + 1)) ^ (request + 1)) >>> 0) / 2 ** 32

/** The steps of a profile, by what they are. */
export class KnownSteps {
  readonly #steps = new Map<string, KnownStep[]>()

  constructor({ steps }: Pick<Profile, 'steps'>) {
    for (const step of steps) {
      const known = { ...step, times: new CallTimes(step.calls) }
      this.#steps.set(step.key, [...(this.#steps.get(step.key) ?? []), known])
    }
  }

  /**
   * What is known of a step where it has so many threads for a call, or of that with the nearest number of them.
   * @throws {NotMeasured}
   */
  find(plan: Pick<Plan, 'steps'>, instance: Instance, engine: Engine, threads: number): KnownStep {
    const off = ({ width }: KnownStep) => Math.abs(Math.log(width / threads))
    return this.all(plan, instance, engine).toSorted((a, b) => off(a) - off(b))[0]!
  }

  /**
   * What is known of a step, with each number of threads for a call.
   * @throws {NotMeasured}
   */
  all(plan: Pick<Plan, 'steps'>, instance: Instance, engine: Engine): readonly KnownStep[] {
    const known = this.#steps.get(stepKey(plan, instance, engine))
    if (known) return known
    throw new NotMeasured(
      `${instance.name} was not measured: the profile has no such step; make it again with this pipeline`,
    )
  }
}

/** The name that predictions have for what calls on a device share. */
export const resourceOf = (name: string, device: number): string =>
  name === 'cores' ? 'host cores' : `gpu ${device} ${name}`

export interface ServiceOptions {
  plan: Plan
  settings: RunSettings
  requests: number
  /** The number of the first of them (0). */
  first?: number
}

/**
 * Bytes a second between two GPUs: not measured but assumed, somewhat below the 32 GB/s of PCIe 4.0 x16. NVLink carries
 * more: then plans that cross GPUs are predicted to be a bit slower than they are.
 */
export const LINK_BYTES_PER_S = 25e9

/** Steps that take as long as they were measured to: by themselves, and on what they share with others. */
export class ProfiledService implements ServiceModel {
  readonly #known: KnownStep[][]
  readonly #videos: Uint32Array
  readonly #first: number

  constructor(
    readonly profile: Profile,
    steps: KnownSteps,
    readonly options: ServiceOptions,
  ) {
    const { plan, settings, requests, first = 0 } = options
    this.#first = first
    const sharing = plan.instances.find(({ team }) => team)
    if (sharing && !profile.sharing)
      throw new NotMeasured(`${sharing.name}: it was not measured how its threads share a video's clips`)
    const both = plan.instances.find(({ decoders, workers }) => decoders > 0 && workers > decoders)
    if (both && profile.bothEngines === false)
      throw new NotMeasured(
        `${both.name}: it was not measured how its decoders on the host and the GPU's get on`,
      )
    this.#known = plan.instances.map(instance =>
      Array.from({ length: instance.workers }, (_, worker) => {
        const threads = threadsOf(instance, plan.steps[instance.step]!.kind, settings)
        return steps.find(plan, instance, engineOf(instance, worker), threads)
      }),
    )
    this.#videos = drawVideos(first + requests, profile.videos, settings.seed)
  }

  #of({ id }: Instance, worker: number): KnownStep {
    return this.#known[id]![worker]!
  }

  ms(call: Call): number {
    return this.msWith(this.#of(call.instance, call.worker), call)
  }

  /** The same, if so much were known of the step. */
  msWith({ times }: Pick<KnownStep, 'times'>, { instance, request, clips }: Call): number {
    const { seed } = this.options.settings
    const id = this.#first + request
    const video = instance.step === 0 ? this.#videos[id] : undefined
    return times.ms(clips, drawOf(seed, instance.step, id), video)
  }

  clips({ options }: Instance, request: number): number {
    const id = this.#first + request
    const drawn = clipsDrawn(
      options as unknown as Parameters<typeof clipsDrawn>[0],
      this.options.settings.seed,
      id,
    )
    return Math.min(drawn, this.profile.videos[this.#videos[id]!]?.most ?? drawn)
  }

  transferMs(_from: Device, _to: Device, bytes: number): number {
    return (1000 * bytes) / LINK_BYTES_PER_S
  }

  ahead(instance: Instance): number {
    return this.#of(instance, 0).ahead
  }

  /** How many times longer a call takes, as its step has so many threads on the device. */
  #cold({ instance: { step, device }, clips }: Call, { spread }: KnownStep): Cold {
    if (!spread) return { threads: 1, longer: 1 }
    const threads = this.options.plan.instances
      .filter(other => other.step === step && other.device === device)
      .reduce((sum, { workers }) => sum + workers, 0)
    return { threads, longer: longerOver(spread, threads, clips) }
  }

  stretches(call: Call): Stretch[] {
    const known = this.#of(call.instance, call.worker)
    const { part, by } = call
    const whole = this.ms(call)
    const beginMs = Math.min(whole, this.profile.sharing?.beginMs ?? 0)
    const hostMs = by === 'helper' ? Math.min(beginMs, this.profile.sharing?.extraMs ?? 0) : 0
    const ms = part === undefined ? whole : (whole - beginMs) * part + (by === 'owner' ? 0 : beginMs - hostMs)
    const own = stretchesOf(known, ms, call.instance.device, this.profile, this.#cold(call, known))
    return hostMs > 0 ? [{ ms: hostMs, resource: resourceOf('cores', CPU) }, ...own] : own
  }

  pieces({ step }: Instance, request: number, clips: number): readonly number[] {
    const examples = nearestPieces(this.profile, clips)
    const { seed } = this.options.settings
    return examples[Math.floor(drawOf(seed + PIECES, step, this.#first + request) * examples.length)] ?? []
  }
}

/** Tells what is drawn of pieces from what is drawn of times. */
const PIECES = 1 << 20

/** Examples of how so many clips divide into pieces; none for a single clip. */
function nearestPieces({ sharing }: Profile, clips: number): readonly (readonly number[])[] {
  if (clips < 2 || !sharing) return []
  const off = (known: { clips: number }) => Math.abs(Math.log(known.clips / clips))
  return sharing.pieces.toSorted((a, b) => off(a) - off(b))[0]?.shares ?? []
}

/** The least share of a call that its largest piece has, however many clips it is of: 1 for a single clip. */
export function leastLargest(profile: Profile, clips: number): number {
  const examples = nearestPieces(profile, clips)
  return Math.min(1, ...examples.map(shares => shares[0] ?? 1))
}

/**
 * How many times longer than on one thread a call takes that goes to any of so many: caches, of processors and of engines, hold
 * what other threads needed. Between one thread and as many as were measured, and beyond, it grows with the number's logarithm.
 */
export function longerOver({ threads: measured, calls }: Spread, threads: number, clips: number): number {
  const off = (known: { clips: number }) => Math.abs(Math.log((known.clips || 1) / (clips || 1)))
  const nearest = calls.toSorted((a, b) => off(a) - off(b))[0]
  return nearest ? 1 + ((nearest.longer - 1) * Math.log(threads)) / Math.log(measured) : 1
}

/**
 * How a call that takes `ms` by itself divides its time.
 * @param cold of a step with many threads
 */
export function stretchesOf(
  {
    shares,
    width,
    hostWidth = 0,
    yields = false,
    ahead,
  }: Pick<ProfiledStep, 'shares' | 'width' | 'hostWidth' | 'yields' | 'ahead'>,
  ms: number,
  device: number,
  { capacities, straggling }: Pick<Profile, 'capacities' | 'straggling'>,
  cold?: Cold,
): Stretch[] {
  const later = ahead > 0
  const longer = cold?.longer ?? 1
  const shared = Object.entries(shares).map(([name, share]): Stretch => {
    if (name === 'nvdec')
      return {
        ms: ms * share,
        resource: resourceOf(name, device),
        ...(cold && { cold }),
        ...(hostWidth > 0 && { beside: { resource: resourceOf('cores', CPU), width: hostWidth } }),
      }
    // By itself, a call of many threads shared what there is with itself.
    const alone =
      name === 'cores' ? slownessOf(capacities.cores ?? width, width, width > 1 ? 1 : 0, straggling) : 1
    return {
      ms: (ms * share * longer) / alone,
      resource: resourceOf(name, device),
      ...(name === 'cores' && { width, ...(yields && { yields }) }),
      ...(later && { later }),
    }
  })
  const rest = Math.max(0, ms * (1 - Object.values(shares).reduce((sum, share) => sum + share, 0)))
  return [...(rest > 0 ? [{ ms: rest * longer, ...(later && { later }) }] : []), ...shared]
}
