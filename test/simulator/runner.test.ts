import { afterAll, expect, test } from 'bun:test'
import { drawSchedule } from '../../src/client/schedule.ts'
import { syntheticService } from '../../src/simulator/service.ts'
import { simulate } from '../../src/simulator/simulate.ts'
import { execute, planOf } from '../pipeline/random/execute.ts'
import type { RandomRun } from '../pipeline/random/pipelines.ts'
import { Pool } from '../pipeline/random/pool.ts'

const pool = new Pool()
afterAll(() => pool.close())

const loader = (more: object): Record<string, unknown> => ({
  model: 'synthetic-loader',
  num_clips_population: [1],
  num_clips_weights: [1],
  num_shared_tensors: 40,
  queue_groups: [{ gpus: [-1], out_queues: [0] }],
  ...more,
})
const network = (more: object = {}): Record<string, unknown> => ({
  model: 'synthetic-network',
  num_classes: 7,
  queue_groups: [{ gpus: [-1], in_queue: 0 }],
  ...more,
})
const twoQueues = [
  { gpus: [-1], in_queue: 0 },
  { gpus: [-1], in_queue: 1 },
]

/** Of each request in the second step: which instance served it, and in how large a batch. */
type Served = { replica: number; batch: number }[]

async function really(run: RandomRun): Promise<Served> {
  const { ending, ledger } = await execute(run, pool)
  expect(ending.kind).toBe('finished')
  return Array.from({ length: run.requests }, (_, request) => ({
    replica: ledger.replica(request, 0, 1),
    batch: ledger.batch(request, 0, 1),
  }))
}

function simulated(run: RandomRun): Served {
  const { plan, settings } = planOf(run)
  const served: Served = []
  simulate({
    plan,
    settings,
    overload: { onFull: run.onFull, timeoutNs: Number.POSITIVE_INFINITY },
    schedule: drawSchedule({ kind: 'bulk' }, { videos: run.requests, seed: run.seed }),
    service: syntheticService(run.seed),
    served({ instance, requests }) {
      const { step, replica } = plan.instances[instance]!
      if (step === 1) for (const request of requests) served[request] = { replica, batch: requests.length }
    },
  })
  return served
}

const cases: { name: string; pipeline: Record<string, unknown>[]; batch?: number; delayMs?: number }[] = [
  {
    name: 'queues in turn',
    pipeline: [
      loader({ queue_groups: [{ gpus: [-1], out_queues: [0, 1] }] }),
      network({ queue_groups: twoQueues }),
    ],
  },
  {
    name: 'the same draws of clips, large and small apart',
    pipeline: [
      loader({
        num_clips_population: [1, 15],
        num_clips_weights: [2, 1],
        queue_groups: [{ gpus: [-1], out_queues: [0, 1], queue_selector: 'large-small' }],
      }),
      network({ queue_groups: twoQueues }),
    ],
  },
  // Far longer than the rest takes: only the last batch is not full.
  { name: 'batches that fill', pipeline: [loader({}), network()], batch: 3, delayMs: 10_000 },
]

test.each(cases)(
  'who serves whom is as in the program: $name',
  async ({ pipeline, batch = 1, delayMs = 0 }) => {
    const run: RandomRun = {
      pipeline,
      classes: 7,
      requests: 32,
      intervalMs: 0,
      concurrency: undefined,
      perGpuQueue: false,
      queueSize: 64,
      batch,
      delayMs,
      onFull: 'abort',
      timeoutMs: Number.POSITIVE_INFINITY,
      seed: 3,
    }
    expect(simulated(run)).toEqual(await really(run))
  },
  30_000,
)
