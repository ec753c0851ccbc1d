import type { Plan } from '../../pipeline/plan.ts'
import { mean, meanInterval } from '../../results/statistics.ts'
import { CPU, type RunSettings } from '../../steps/step.ts'
import { type Engine, engineOf, stepKey, threadsOf } from './keys.ts'
import type { ObservedCall } from './read-run.ts'
import type { ProfiledCalls, ProfiledStep, Spread } from './schema.ts'
import { CallTimes } from './times.ts'

/** A pipeline as the program would run it. */
export interface Planned {
  plan: Plan
  settings: RunSettings
}

/** Sizes with a smaller share of a step's calls do not count for how well it is known. */
const RARE = 0.05
/** As in `src/steps/gpu-network.ts`: while one batch is computed, the one before is read back. */
const GPU_BATCHES_AHEAD = 2
/** Fewer calls say little of a mean. */
const LEAST_CALLS = 5
/** Times what well-seen sizes say: calls of a size that was hardly seen have waited for something if they took longer. */
const BEYOND = 3

/** Calls of a step, in the order in which they came. */
interface Gathered {
  key: string
  title: string
  kind: string
  width: number
  ahead: number
  engine: Engine
  /** False of a step that only takes time, as synthetic ones may. */
  busy: boolean
  /** Of calls whose processor time is known: all their time, and that. */
  withCpu: { ms: number; cpuMs: number }
  /** By clips, and by video for a first step. */
  calls: Map<string, { clips: number; video?: number; ms: number[] }>
}

/** Times of calls that went round so many threads, or of so many at once, by clips. */
interface Round {
  threads: number
  ms: Map<number, number[]>
}

/** What runs have told of steps. A step is known apart for each number of threads that a call of it keeps busy. */
export class Samples {
  readonly #steps = new Map<string, Gathered>()
  readonly #rounds = new Map<string, Round>()

  /** Where a step's samples are kept. */
  #at({ plan, settings }: Planned, { step, engine }: Pick<ObservedCall, 'step' | 'engine'>) {
    const instance = plan.instances.find(other => other.step === step)!
    const width = engine === 'cpu' ? threadsOf(instance, plan.steps[step]!.kind, settings) : 1
    const key = stepKey(plan, instance, engine)
    return { instance, width, key, at: `${key} ${width}` }
  }

  #gathered(planned: Planned, call: ObservedCall): Gathered {
    const { instance, width, key, at } = this.#at(planned, call)
    const known = this.#steps.get(at)
    if (known) return known
    const { kind, name = kind, last } = planned.plan.steps[call.step]!
    const leaves = kind === 'network' && last && instance.device !== CPU
    const gathered: Gathered = {
      key,
      title: `${name} on ${call.engine}`,
      kind,
      width,
      ahead: leaves ? GPU_BATCHES_AHEAD : 0,
      engine: call.engine,
      busy: instance.options.busy !== false,
      withCpu: { ms: 0, cpuMs: 0 },
      calls: new Map(),
    }
    this.#steps.set(at, gathered)
    return gathered
  }

  /** Takes a call that ran by itself. @param video which one it was, of a first step's calls */
  take(planned: Planned, call: ObservedCall, video: number | undefined): void {
    const { withCpu, calls } = this.#gathered(planned, call)
    const { clips, ms, cpuMs } = call
    if (cpuMs !== undefined) {
      withCpu.ms += ms
      withCpu.cpuMs += cpuMs
    }
    const size = `${clips}/${video}`
    const known = calls.get(size) ?? { clips, ...(video !== undefined && { video }), ms: [] }
    calls.set(size, known)
    known.ms.push(ms)
  }

  /** Takes a first step's call, of those that went round its threads. */
  takeRound(planned: Planned, call: ObservedCall): void {
    this.#round(planned, call, call.ms)
  }

  /** Takes a call of a decoder on the host, of many that were at work at once: of these only processor time tells of the call itself. */
  takeBeside(planned: Planned, call: ObservedCall): void {
    if (call.engine !== 'gpu-host' || call.cpuMs === undefined) return
    this.#round(planned, call, call.cpuMs)
  }

  #round(planned: Planned, call: ObservedCall, ms: number): void {
    const { instance, at } = this.#at(planned, call)
    const known = this.#rounds.get(at) ?? { threads: instance.workers, ms: new Map<number, number[]>() }
    this.#rounds.set(at, known)
    const times = known.ms.get(call.clips) ?? []
    known.ms.set(call.clips, times)
    times.push(ms)
  }

  /** Keys of steps of which there are calls. */
  get keys(): Set<string> {
    return new Set([...this.#steps.values()].map(({ key }) => key))
  }

  /** The widest interval of a mean that counts, relative to the mean; null where a size has too few calls for one. */
  get widestInterval(): number | null {
    let widest: number | null = 0
    for (const { calls } of this.#steps.values()) {
      const bySize = new Map<number, number[]>()
      for (const { clips, ms } of calls.values()) bySize.set(clips, [...(bySize.get(clips) ?? []), ...ms])
      const total = [...bySize.values()].reduce((sum, ms) => sum + ms.length, 0)
      for (const ms of bySize.values()) {
        if (ms.length < RARE * total) continue
        const interval = meanInterval(Float64Array.from(ms))
        const centre = mean(ms)
        if (!interval) return null
        if (centre > 0 && widest !== null)
          widest = Math.max(widest, (interval.high - interval.low) / 2 / centre)
      }
    }
    return widest
  }

  /** All steps, as a profile has them before anything is fitted. */
  get steps(): ProfiledStep[] {
    return [...this.#steps].map(([at, of]) => ({
      key: of.key,
      title: of.title,
      width: of.width,
      ...hostWidthOf(of),
      ...(of.engine === 'gpu-host' && { yields: true }),
      ahead: of.ahead,
      shares: sharesOf(of),
      calls: plausible(
        [...of.calls.values()].map(call => {
          const ms = call.ms.toSorted((a, b) => a - b)
          return { ...call, ms: of.engine === 'gpu-host' ? withoutCompiling(ms) : ms }
        }),
      ),
      ...spreadOf(of, this.#rounds.get(at)),
    }))
  }
}

/** Keys of the steps behind an instance's threads, and threads of each call: one entry for each thread. */
export const threadKeys = (
  { plan, settings }: Planned,
  instance: Plan['instances'][number],
): { key: string; threads: number; engine: Engine }[] =>
  Array.from({ length: instance.workers }, (_, worker) => {
    const engine = engineOf(instance, worker)
    const { kind } = plan.steps[instance.step]!
    return { key: stepKey(plan, instance, engine), threads: threadsOf(instance, kind, settings), engine }
  })

/** What a step's calls share with others, before that is fitted. */
function sharesOf({ engine, kind, busy }: Gathered): ProfiledStep['shares'] {
  if (!busy) return {}
  if (engine !== 'gpu') return { cores: 1 }
  return kind === 'loader' ? { nvdec: 1 } : { compute: 1 }
}

/**
 * Of a core of the host, what calls on a GPU keep busy: as was seen on an H100, the same share whether they wait for the engines
 * or not. Decoders on the host want the same cores.
 */
const hostWidthOf = ({ engine, kind, withCpu: { ms, cpuMs } }: Gathered): { hostWidth?: number } =>
  engine === 'gpu' && kind === 'loader' && cpuMs > 0 ? { hostWidth: Math.min(1, cpuMs / ms) } : {}

/** Of so many calls the ninth tenth says what is usual. */
const MANY_CALLS = 20
/** Times that: who takes longer has done something else. */
const UNUSUAL = 2

/**
 * Calls without those in which the runtime compiled, tens of milliseconds at a time: a decoder on the host has had some hundred calls
 * when its run ends, and one such among them would be a hundredth of all that are simulated. @param ms ascending
 */
function withoutCompiling(ms: readonly number[]): number[] {
  const usual = ms.length < MANY_CALLS ? Number.POSITIVE_INFINITY : ms[Math.floor(0.9 * (ms.length - 1))]!
  return ms.filter(value => value <= UNUSUAL * usual)
}

/** Calls without those of sizes that were hardly seen, and took far longer than others tell. */
function plausible(calls: ProfiledCalls[]): ProfiledCalls[] {
  const counts = new Map<number, number>()
  for (const { clips, ms } of calls) counts.set(clips, (counts.get(clips) ?? 0) + ms.length)
  const wellSeen = ({ clips }: ProfiledCalls) => counts.get(clips)! >= LEAST_CALLS
  const known = calls.filter(wellSeen)
  if (known.length === 0 || known.length === calls.length) return calls
  const times = new CallTimes(known)
  return calls.filter(call => wellSeen(call) || mean(call.ms) <= BEYOND * times.ms(call.clips, 0.5))
}

/** How much longer calls take that go round many threads than those of one thread. */
function spreadOf({ calls }: Gathered, round: Round | undefined): { spread?: Spread } {
  if (!round || round.threads < 2) return {}
  const found = [...round.ms].flatMap(([clips, ms]) => {
    const alone = [...calls.values()].filter(of => of.clips === clips).flatMap(of => of.ms)
    if (Math.min(ms.length, alone.length) < LEAST_CALLS) return []
    return [{ clips, longer: Math.max(1, mean(ms) / mean(alone)) }]
  })
  return found.length > 0 ? { spread: { threads: round.threads, calls: found } } : {}
}
