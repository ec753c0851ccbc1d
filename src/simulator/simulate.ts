import type { Overload } from '../client/overload.ts'
import type { VideoErrorCode } from '../errors.ts'
import type { Plan } from '../pipeline/plan.ts'
import { Rng } from '../rng.ts'
import type { RunSettings } from '../steps/step.ts'
import { client, Permits } from './client.ts'
import { Clock } from './clock.ts'
import { Outcomes } from './outcome.ts'
import { SimulatedQueue } from './queue.ts'
import { FifoServers, type SharedOptions, SharedServers } from './resources.ts'
import type { ServiceModel } from './service.ts'
import { SimulatedSlots } from './slots.ts'
import { SimulatedTeam } from './team.ts'
import { SimulatedWorker } from './worker.ts'
import type { Served, ThreadTimes, World } from './world.ts'

/** Servers that calls share, and how. */
export interface ResourceOptions extends SharedOptions {
  /** One after the other, to which none but the number of servers matters, or all at once. */
  sharing: 'fifo' | 'even'
}

export interface SimulationOptions {
  plan: Plan
  settings: Pick<RunSettings, 'maxBatchDelayMs'>
  overload: Overload
  /** Intended arrivals, ns after the start, ascending (`drawSchedule`); of a closed loop only their number counts. */
  schedule: Float64Array
  /** So many requests in flight, in place of arrivals at their times. */
  concurrency?: number
  service: ServiceModel
  /** By the names that the service model has for them. */
  resources?: Readonly<Record<string, ResourceOptions>>
  /**
   * Times in ms from the moment at which there is something for a waiting thread until it runs, one of which is drawn for each
   * such moment; without, it runs at once.
   */
  handOver?: { ms: readonly number[]; seed: number }
  /** Hears of each call of a step that has ended. */
  served?(call: Served): void
}

/** What a simulated run comes to. Times are simulated, in ns from the start. */
export interface Simulated {
  ending: { kind: 'done' } | { kind: 'full'; queue: number; request: number }
  /** Of each request, when it was to arrive, and when all of it was over: NaN if it never was. */
  intendedNs: Float64Array
  endNs: Float64Array
  /** Of each request, 1 if all last steps have a result. */
  succeeded: Uint8Array
  failures: ReadonlyMap<VideoErrorCode, number>
  /** When the last thing happened. */
  lastNs: number
  /** By queue: the most items that it held. */
  highWater: number[]
  /** By instance: calls of its step, time in them (ns, of all its threads), and slots that are not free. */
  calls: Float64Array
  busyNs: Float64Array
  slotsHeld: number[]
  /** By instance. */
  threads: readonly ThreadTimes[]
  /** Threads that still wait; none after a run that was not aborted. */
  waiting: number
}

function handOverOf({ ms, seed }: NonNullable<SimulationOptions['handOver']>): () => number {
  const rng = Rng.of(seed, 'hand-over')
  return () => 1e6 * ms[rng.int(ms.length)]!
}

/**
 * Runs a plan in simulated time: the same arrivals, selectors, segments, batches, slots and queues as a real run, with service
 * times from a model. Equal arguments give equal results. What it leaves out unless the model or the options say it: the time
 * that the program itself takes to hand items on, and copies between devices. What it leaves out: steps that fail.
 */
export function simulate(options: SimulationOptions): Simulated {
  const { plan, settings, overload, service, schedule, concurrency, served } = options
  const clock = new Clock()
  const handOverNs = options.handOver && handOverOf(options.handOver)
  const permits = concurrency === undefined ? undefined : new Permits({ clock }, concurrency, handOverNs)
  const outcomes = new Outcomes(clock, schedule.length, plan.steps, permits)
  let ending: Simulated['ending'] = { kind: 'done' }
  const resources = Object.entries(options.resources ?? {}).map(
    ([name, options]) =>
      [
        name,
        options.sharing === 'fifo'
          ? new FifoServers(clock, options.servers)
          : new SharedServers(clock, options),
      ] as const,
  )
  const world: World = {
    plan,
    settings,
    overload,
    clock,
    queues: plan.queues.map(
      ({ capacity, producers }) => new SimulatedQueue(clock, capacity, producers, handOverNs),
    ),
    slots: plan.instances.map(({ slots }) => new SimulatedSlots(clock, slots, handOverNs)),
    teams: plan.instances.map(instance =>
      instance.team ? new SimulatedTeam(clock, instance, handOverNs) : undefined,
    ),
    outcomes,
    intended: schedule.slice(),
    service,
    resources: new Map(resources),
    calls: new Float64Array(plan.instances.length),
    busyNs: new Float64Array(plan.instances.length),
    threads: plan.instances.map(({ workers }) => Array.from({ length: workers }, () => new Map())),
    ...(served && { served }),
    full(queue, request) {
      // The first is what aborted it.
      if (ending.kind === 'done') ending = { kind: 'full', queue, request }
      clock.stop()
    },
  }
  for (const instance of plan.instances)
    for (let worker = 0; worker < instance.workers; worker++)
      clock.start(new SimulatedWorker(world, instance, worker).run())
  clock.start(client(world, permits))
  const waiting = clock.run()
  return {
    ending,
    intendedNs: world.intended,
    endNs: outcomes.endNs,
    succeeded: Uint8Array.from({ length: schedule.length }, (_, r) => (outcomes.succeeded(r) ? 1 : 0)),
    failures: outcomes.failures,
    lastNs: clock.now,
    highWater: world.queues.map(({ highWater }) => highWater),
    calls: world.calls,
    busyNs: world.busyNs,
    threads: world.threads,
    slotsHeld: world.slots.map(({ held }) => held),
    waiting,
  }
}
