import type { Overload } from '../../../src/client/overload.ts'
import { drawSchedule } from '../../../src/client/schedule.ts'
import { builtin } from '../../../src/pipeline/builtin.ts'
import { checkConfig } from '../../../src/pipeline/config.ts'
import { type Ending, Launch } from '../../../src/pipeline/launch.ts'
import { makePlan, type Plan } from '../../../src/pipeline/plan.ts'
import type { SharedRun } from '../../../src/pipeline/shared.ts'
import { SlotPool } from '../../../src/queue/slots.ts'
import { Ledger } from '../../../src/results/ledger.ts'
import type { RunSettings } from '../../../src/steps/step.ts'
import type { Fault } from './fault.ts'
import type { RandomRun } from './pipelines.ts'
import type { Pool } from './pool.ts'

/** What came of a run. */
export interface Executed {
  plan: Plan
  ending: Ending
  ledger: Ledger
  /** How often each request was said to be done, and to have failed. */
  done: Uint8Array
  failed: Uint8Array
  highWater: number[]
  /** Slots that are not free, of all instances. */
  slotsHeld: number
}

/** No call of these steps takes so long, unless it hangs. */
export const STALL_MS = 1000

/** A run that has not ended by then never will. */
const STUCK_MS = 20_000

/** The plan of a run, as `rnb run` would make it. @throws {UsageError} if there can be none */
export function planOf(run: RandomRun): { plan: Plan; settings: RunSettings } {
  const config = checkConfig({ pipeline: run.pipeline }, builtin, { name: 'random.json', folder: '/' })
  const settings: RunSettings = {
    seed: run.seed,
    batch: run.batch,
    maxBatchDelayMs: run.delayMs,
    top: 1,
    threads: 1,
    clip: { frames: 8, size: 112 },
  }
  const options = {
    settings,
    queueSize: run.queueSize,
    videos: run.requests,
    bulk: run.intervalMs === 0 && run.concurrency === undefined,
    perGpuQueue: run.perGpuQueue,
    device: 'cpu' as const,
  }
  return { plan: makePlan(config, options, { driver: false, gpus: 0 }), settings }
}

/**
 * Runs it with the program's own queues, client and runners, to its end.
 * @param watched whether a call may take no longer than STALL_MS
 */
export async function execute(run: RandomRun, pool: Pool, fault?: Fault, watched = false): Promise<Executed> {
  const { plan, settings } = planOf(run)
  const handle = Ledger.create({
    requests: run.requests,
    parts: plan.steps.map(step => step.parts),
    top: 1,
    values: plan.steps.map(step => step.values),
    leaves: plan.steps.filter(({ last }) => last).length,
  })
  const overload: Overload = { onFull: run.onFull, timeoutNs: run.timeoutMs * 1e6 }
  const done = new Uint8Array(run.requests)
  const failed = new Uint8Array(run.requests)
  const count = (of: Uint8Array, request: number) => {
    of[request] = of[request]! + 1
  }
  let shared: SharedRun | undefined
  const arrival =
    run.intervalMs === 0
      ? { kind: 'bulk' as const }
      : { kind: 'poisson' as const, meanIntervalMs: run.intervalMs }
  const launch = new Launch(
    {
      plan,
      settings,
      networks: [],
      overload,
      ledger: handle,
      schedule: drawSchedule(arrival, { videos: run.requests, seed: run.seed }),
      ...(run.concurrency !== undefined && { closedLoop: { concurrency: run.concurrency } }),
      requestVideo: new Uint32Array(run.requests),
      videos: ['none'],
      ...((watched || fault?.kind === 'hang') && {
        limits: { stallMs: STALL_MS, startMs: STALL_MS },
      }),
      startWorker(data) {
        shared = data.shared
        return pool.start(data, fault)
      },
    },
    {
      started() {},
      completed: request => count(done, request),
      failed: request => count(failed, request),
      note() {},
      warn() {},
    },
  )
  const stuck = setTimeout(() => launch.stop({ kind: 'aborted', message: 'stuck' }), STUCK_MS)
  const ending = await launch.run()
  clearTimeout(stuck)
  return {
    plan,
    ending,
    ledger: new Ledger(handle),
    done,
    failed,
    highWater: launch.highWater(),
    slotsHeld: shared!.pools.reduce(
      (held, { slots, instance }) => held + plan.instances[instance]!.slots - new SlotPool(slots).free,
      0,
    ),
  }
}
