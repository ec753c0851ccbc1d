import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loader, network, type Outcome, oneClip, pipeline, Running, root, run, scratch } from './rnb.ts'

const program = [join(root, 'node_modules/.bin/bun'), join(root, 'test/e2e/faulty-main.ts')]

/** A step takes at least that long for each of its calls. */
const slow = (step: number, ms: number) => ({
  program,
  env: { FAULT_IN: String(step), FAULT: 'slow', FAULT_MS: String(ms) },
})

/** One clip or four, in parts of their own, over queues and slots that hold hardly anything. */
const parts = (batch = 1): string =>
  pipeline([
    loader({
      num_clips_population: [1, 4],
      num_clips_weights: [1, 1],
      num_segments: 4,
      num_shared_tensors: 2,
    }),
    {
      model: 'batcher',
      batch,
      queue_groups: [{ gpus: [-1], in_queue: 0, out_queues: [0] }],
      num_shared_tensors: 1,
    },
    network({ queue_groups: [{ gpus: [-1], in_queue: 0, out_queues: [0] }], num_shared_tensors: 1 }),
    { model: 'aggregator', queue_groups: [{ gpus: [-1], in_queue: 0 }], aggregate: 4 },
  ])

const topOf = (outcome: Outcome) => new Map(outcome.results.map(({ id, top }) => [id, top[0]!.label]))

/** Every request is told of once; counts and lines agree. */
function expectAccounted(outcome: Outcome, asked: number): void {
  const { requests, failures } = outcome.summary
  const ids = [...outcome.results, ...outcome.errors].map(({ id }) => id)
  expect(ids.sort((a, b) => a - b)).toEqual(Array.from({ length: asked }, (_, id) => id))
  expect(requests).toMatchObject({
    asked,
    arrived: asked,
    completed: outcome.results.length,
    failed: outcome.errors.length,
    unfinished: 0,
  })
  const coded = (code: string) => outcome.errors.filter(error => error.code === code).length
  expect([requests.dropped, requests.timed_out]).toEqual([coded('queue_full'), coded('timeout')])
  for (const [code, count] of Object.entries(failures)) expect(count).toBe(coded(code))
}

test('drop: what finds the filename queue full is told so, the rest has its results, and the run is a success', async () => {
  const logs = scratch()
  const flags = ['-v', '100', '-mi', '0.01', '-qs', '2', '--on-full', 'drop', '--on-error', 'abort']
  const outcome = await run(oneClip(), [...flags, '--log-dir', logs], slow(1, 5))
  expect({ status: outcome.status, stderr: outcome.stderr }).toEqual({ status: 0, stderr: '' })
  expectAccounted(outcome, 100)
  expect(outcome.summary.requests.dropped).toBeGreaterThan(0)
  const messages = new Set(outcome.errors.map(({ step, kind, message }) => `${step} ${kind}: ${message}`))
  expect([...messages].filter(text => !text.startsWith('1 '))).toEqual([
    "0 loader: the queue 'filename' was full (2 items)",
  ])
  const [folder] = readdirSync(logs)
  expect(readFileSync(join(logs, folder!, 'log-meta.txt'), 'utf8')).toContain('Termination flag: 0')
})

test('drop: a queue between steps that is full costs a request all its parts, and no slots', async () => {
  const flags = ['-v', '24', '-mi', '0', '--seed', '5']
  const all = topOf(await run(parts(), flags))
  const outcome = await run(
    parts(),
    ['-v', '24', '-mi', '20', '--seed', '5', '-qs', '1', '--on-full', 'drop'],
    slow(1, 20),
  )
  expect(outcome.status).toBe(0)
  expectAccounted(outcome, 24)
  expect(outcome.errors.map(({ step }) => step)).toContain(1)
  for (const [id, label] of topOf(outcome)) expect(label).toBe(all.get(id)!)
  for (const { high_water } of outcome.summary.queues) expect(high_water).toBeLessThanOrEqual(1)
})

test('wait: everything comes to its result through queues of one, and the wait counts as latency', async () => {
  const all = topOf(await run(parts(3), ['-v', '24', '-mi', '0', '--seed', '5']))
  const outcome = await run(
    parts(3),
    ['-v', '24', '-mi', '0.01', '--seed', '5', '-qs', '1', '--on-full', 'wait', '--warmup', '0'],
    slow(2, 5),
  )
  expect({ status: outcome.status, stderr: outcome.stderr }).toEqual({ status: 0, stderr: '' })
  expectAccounted(outcome, 24)
  expect(topOf(outcome)).toEqual(all)
  for (const { high_water } of outcome.summary.queues) expect(high_water).toBeLessThanOrEqual(1)
  const late = outcome.results.filter(({ intended_ms, actual_ms }) => actual_ms > intended_ms)
  expect(late.length).toBeGreaterThan(12)
  for (const { intended_ms, actual_ms, latency_ms, latency_actual_ms } of outcome.results)
    expect(latency_ms - latency_actual_ms).toBeCloseTo(actual_ms - intended_ms, 3)
  // The last of them waited for all others: no shorter than what the network took for each of its calls.
  expect(outcome.results.at(-1)!.latency_ms).toBeGreaterThan((24 * 5) / 3)
})

test('wait: an interrupt ends the wait of the client, and what is in flight is finished', async () => {
  const running = new Running(
    [
      'run',
      '-c',
      oneClip(),
      '--device',
      'cpu',
      '--results',
      '-',
      '-v',
      '500',
      '-mi',
      '0.01',
      '-qs',
      '1',
    ].concat('--on-full', 'wait'),
    { ...slow(1, 20) },
  )
  await running.line()
  running.kill('SIGINT')
  const outcome = await running.ended()
  expect(outcome.status).toBe(130)
  const { arrived, completed, unfinished } = outcome.summary.requests
  expect(completed).toBe(outcome.results.length)
  expect(unfinished).toBeLessThanOrEqual(2)
  expect(arrived).toBe(completed + unfinished)
})

const TIMEOUT_MS = 2000

test.each([1, 3])('late requests are dropped before their next step, in batches of %d too', async batch => {
  const flags = ['-v', '20', '-mi', '0', '--seed', '5', '--warmup', '0']
  const all = topOf(await run(parts(batch), flags))
  // The network stalls once: what it has not begun by then is late.
  const stall = { FAULT_IN: '2', FAULT: 'stall', FAULT_AFTER: '5', FAULT_MS: String(1.2 * TIMEOUT_MS) }
  const outcome = await run(parts(batch), [...flags, '--timeout-ms', String(TIMEOUT_MS)], {
    program,
    env: stall,
  })
  expect({ status: outcome.status, stderr: outcome.stderr }).toEqual({ status: 0, stderr: '' })
  expectAccounted(outcome, 20)
  const inTime = 6 * batch
  expect(outcome.results.length).toBeLessThanOrEqual(inTime)
  expect(outcome.results.length).toBeGreaterThan(0)
  expect(outcome.summary.requests.timed_out).toBe(20 - outcome.results.length)
  for (const { message } of outcome.errors) expect(message).toContain(`within ${TIMEOUT_MS} ms`)
  for (const [id, label] of topOf(outcome)) expect(label).toBe(all.get(id)!)
  // No step began anything late: all but the last step's run is within the deadline.
  for (const { latency_ms, steps } of outcome.results)
    expect(latency_ms - steps.at(-1)!.run_ms).toBeLessThanOrEqual(TIMEOUT_MS + 0.01)
})

test('a deadline that nothing can keep: every request is told, and the status says that none has a result', async () => {
  const { status, errors, summary } = await run(oneClip(), ['-v', '9', '-mi', '0', '--timeout-ms', '1e-6'])
  expect(status).toBe(4)
  expect(errors).toHaveLength(9)
  expect(summary.requests).toMatchObject({ completed: 0, failed: 9, timed_out: 9, dropped: 0 })
})

test('where one branch drops a request, the other keeps its result', async () => {
  const fork = pipeline([loader(), network({ name: 'fast' }), network({ name: 'slow', inputs: ['loader'] })])
  const outcome = await run(fork, ['-v', '30', '-mi', '15', '-qs', '1', '--on-full', 'drop'], slow(2, 60))
  expect(outcome.status).toBe(0)
  const second = outcome.results.map(({ branches }) => branches![1]!)
  const dropped = second.filter(({ error }) => error?.code === 'queue_full')
  expect(dropped.length).toBeGreaterThan(0)
  expect(dropped.length).toBeLessThan(30)
  for (const { error } of dropped) expect(error!.step).toBe(2)
  expect(outcome.summary.requests.dropped).toBeGreaterThanOrEqual(dropped.length)
})
