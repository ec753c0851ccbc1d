import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import { UsageError } from '../../../src/errors.ts'
import { type Executed, execute, planOf, STALL_MS } from './execute.ts'
import type { Fault, Faulty } from './fault.ts'
import { type RandomRun, randomRun } from './pipelines.ts'
import { Pool } from './pool.ts'

setDefaultTimeout(300_000)

const RUNS = 1000
const FAULTS = 100

const pool = new Pool()
afterAll(() => pool.close())

/** Whether the program takes it; what it takes must end, and what it refuses it must refuse before anything starts. */
function accepted(run: RandomRun): boolean {
  try {
    planOf(run)
    return true
  } catch (error) {
    if (error instanceof UsageError) return false
    throw error
  }
}

function expectBounds({ plan, highWater }: Executed): void {
  plan.queues.forEach(({ capacity }, id) => {
    expect(highWater[id]).toBeLessThanOrEqual(capacity)
  })
}

/** Each request is done once in each last step, with its own class; or it has failed, if anything may. */
function expectOutcomes(run: RandomRun, { plan, ledger, done, failed }: Executed): void {
  const leaves = plan.steps.filter(({ last }) => last).length
  const mayFail = run.onFull === 'drop' || Number.isFinite(run.timeoutMs)
  for (let request = 0; request < run.requests; request++) {
    const tops = Array.from({ length: leaves }, (_, leaf) =>
      ledger.top(request, leaf).map(({ index }) => index),
    )
    const right = tops.filter(top => top.length > 0)
    expect(right).toEqual(right.map(() => [request % run.classes]))
    expect([request, right.length]).toEqual([request, done[request]!])
    if (!mayFail || failed[request] === 0) expect([request, done[request]!]).toEqual([request, leaves])
    else expect(done[request]! + failed[request]!).toBeLessThanOrEqual(leaves)
  }
  if (!mayFail) expect(failed).toEqual(new Uint8Array(run.requests))
}

let taken = 0
let aborted = 0

test(`${RUNS} random pipelines: no loss, no duplicate, no deadlock, all slots back, depths within bounds`, async () => {
  let drawn = 0
  await fc.assert(
    fc.asyncProperty(randomRun, async run => {
      drawn++
      fc.pre(accepted(run))
      taken++
      const executed = await execute(run, pool)
      expectBounds(executed)
      const { ending, slotsHeld } = executed
      if (ending.kind === 'full') {
        aborted++
        expect(run.onFull).toBe('abort')
        expect(executed.highWater[ending.queue]).toBe(executed.plan.queues[ending.queue]!.capacity)
        return
      }
      expect(ending).toEqual({ kind: 'finished' })
      expectOutcomes(run, executed)
      expect(slotsHeld).toBe(0)
    }),
    { numRuns: RUNS },
  )
  // What the program refuses, and runs that end early, must not be what this tests.
  expect(taken).toBeGreaterThan(0.9 * drawn)
  expect(aborted).toBeLessThan(0.3 * taken)
})

const faultIn = (call: Faulty, after: number, kind: Fault['kind'], steps: number): fc.Arbitrary<Fault> =>
  fc.nat(steps - 1).map(step => ({ step, kind, call, after }))
const CALLS: readonly Faulty[] = ['create', 'warm-up', 'run', 'settle', 'flush', 'close']

const fault = (steps: number): fc.Arbitrary<Fault> =>
  fc.oneof(
    ...CALLS.map(call => faultIn(call, 0, 'throw', steps)),
    ...[1, 2, 3].flatMap(after => [
      faultIn('run', after, 'throw', steps),
      faultIn('run', after, 'exit', steps),
    ]),
  )

test(`${FAULTS} random pipelines with a fault in one step: the run ends with its name`, async () => {
  let crashed = 0
  await fc.assert(
    fc.asyncProperty(
      randomRun.chain(run => fc.tuple(fc.constant(run), fault(run.pipeline.length))),
      async ([drawn, injected]) => {
        const run: RandomRun = { ...drawn, onFull: 'wait', timeoutMs: Number.POSITIVE_INFINITY }
        fc.pre(accepted(run))
        const executed = await execute(run, pool, injected)
        const { ending } = executed
        expectBounds(executed)
        if (ending.kind === 'finished') {
          // It had fewer calls than the fault waited for.
          expect(injected.after).toBeGreaterThan(0)
          expectOutcomes(run, executed)
          return
        }
        crashed++
        expect(ending.kind).toBe('crashed')
        if (ending.kind !== 'crashed') return
        expect(ending.worker).toStartWith(`step ${injected.step} (`)
        expect(ending.message).toBe(
          injected.kind === 'exit' ? 'the worker ended early, with status 7' : 'put here by a test',
        )
        const leaves = executed.plan.steps.filter(({ last }) => last).length
        for (const count of executed.done) expect(count).toBeLessThanOrEqual(leaves)
      },
    ),
    { numRuns: FAULTS },
  )
  expect(crashed).toBeGreaterThan(FAULTS / 2)
})

test('what a step has under way does not wait for a batch that may never fill', async () => {
  const run: RandomRun = {
    pipeline: [
      {
        model: 'synthetic-loader',
        num_clips_population: [1],
        num_clips_weights: [1],
        queue_groups: [{ gpus: [-1], out_queues: [0] }],
      },
      { model: 'synthetic-network', num_classes: 7, queue_groups: [{ gpus: [-1], in_queue: 0 }] },
    ],
    classes: 7,
    requests: 9,
    intervalMs: 0,
    // The third is the first of a batch whose second comes when the first two are done.
    concurrency: 3,
    perGpuQueue: false,
    queueSize: 9,
    batch: 2,
    delayMs: 3_600_000,
    onFull: 'wait',
    timeoutMs: Number.POSITIVE_INFINITY,
    seed: 1,
  }
  const executed = await execute(run, pool, { step: 1, kind: 'hold', call: 'run', after: 0 })
  expect(executed.ending).toEqual({ kind: 'finished' })
  expectOutcomes(run, executed)
})

/** What is said of a thread that hangs in a call. */
const HANGING: Record<Faulty, RegExp> = {
  create: /^it hangs: being created for 1\.\d s, and 1 s is the most \(--stall-ms\)$/,
  'warm-up': /^it hangs: in its warm-up for/,
  run: /^it hangs: at (request \d+|a batch of \d+ requests, \d+ the first of them) for 1\.\d s, and/,
  settle: /^it hangs: finishing what was under way for/,
  flush: /^it hangs: emitting what it held back for/,
  close: /^it hangs: closing for/,
}

test('random pipelines with a step that hangs: the run ends with its name, without it', async () => {
  const hung = new Set<Faulty>()
  const first = CALLS.map(call => [call, 0] as const)
  const later = [1, 2, 3].map(after => ['run', after] as const)
  // Each call in turn: chance would leave one out.
  for (const [call, after] of [...first, ...later])
    await fc.assert(
      fc.asyncProperty(
        randomRun.chain(run => fc.tuple(fc.constant(run), faultIn(call, after, 'hang', run.pipeline.length))),
        async ([drawn, fault]) => {
          const run: RandomRun = { ...drawn, onFull: 'wait', timeoutMs: Number.POSITIVE_INFINITY }
          fc.pre(accepted(run))
          const gate = new SharedArrayBuffer(4)
          const executed = await execute(run, pool, { ...fault, gate })
          const words = new Int32Array(gate)
          Atomics.store(words, 0, 1)
          Atomics.notify(words, 0)
          const { ending } = executed
          expectBounds(executed)
          if (ending.kind === 'finished') {
            // It had fewer calls than the fault waited for.
            expect(after).toBeGreaterThan(0)
            expectOutcomes(run, executed)
            return
          }
          hung.add(call)
          expect(ending.kind).toBe('crashed')
          if (ending.kind !== 'crashed') return
          expect(ending.worker).toStartWith(`step ${fault.step} (`)
          expect(ending.message).toMatch(HANGING[call])
          // Results were there before it closed.
          if (call === 'close') expectOutcomes(run, executed)
        },
      ),
      { numRuns: 1 },
    )
  expect([...hung]).toEqual([...CALLS])
})

test('who waits for a slot or for room is not taken for one that hangs', async () => {
  // Twelve threads share one slot, and each call of the network holds it for a quarter of what a call may take.
  const service_ms = STALL_MS / 4
  const run: RandomRun = {
    pipeline: [
      {
        model: 'synthetic-loader',
        queue_groups: [{ gpus: [-1], out_queues: [0], num_shared_tensors: 1 }],
        num_clips_population: [1],
        num_clips_weights: [1],
        in_flight: 12,
      },
      {
        model: 'synthetic-network',
        queue_groups: [{ gpus: [-1], in_queue: 0 }],
        num_classes: 7,
        service_ms,
      },
    ],
    classes: 7,
    requests: 16,
    intervalMs: 0,
    concurrency: undefined,
    perGpuQueue: false,
    queueSize: 16,
    batch: 1,
    delayMs: 0,
    onFull: 'wait',
    timeoutMs: Number.POSITIVE_INFINITY,
    seed: 1,
  }
  const executed = await execute(run, pool, undefined, true)
  expect(executed.ending).toEqual({ kind: 'finished' })
  expectOutcomes(run, executed)
})
