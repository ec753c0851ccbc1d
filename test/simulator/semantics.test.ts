import { expect, test } from 'bun:test'
import type { Served } from '../../src/simulator/world.ts'
import { alone, loader, network, simulated } from './plans.ts'

/** Latencies in ms. */
const latencies = ({ endNs, intendedNs }: ReturnType<typeof simulated>): number[] =>
  Array.from(endNs, (end, request) => (end - intendedNs[request]!) / 1e6)

test('instances take turns, as far as they are free', () => {
  const calls: Served[] = []
  const run = simulated({
    pipeline: [alone(2, { of: [10] })],
    requests: 4,
    intervalMs: 0,
    served: call => calls.push(call),
  })
  expect(latencies(run)).toEqual([10, 10, 20, 20])
  expect(calls.map(({ instance, requests }) => [instance, requests])).toEqual([
    [0, [0]],
    [1, [1]],
    [0, [2]],
    [1, [3]],
  ])
})

test('a batch goes when it is full, when its delay is over, and at the end', () => {
  const pipeline = [loader(1, 10, 20), network(1, 1)]
  const asked = { pipeline, requests: 5, intervalMs: 0, batch: 2 }
  // One arrives each 10 ms: pairs within a delay of 15 ms, and the last one alone, since nothing follows it.
  expect(latencies(simulated({ ...asked, delayMs: 15 }))).toEqual([21, 21, 41, 41, 51])
  // 4 ms after it came each goes alone; the last one at once, when the loader has ended.
  expect(latencies(simulated({ ...asked, delayMs: 4 }))).toEqual([15, 25, 35, 45, 51])
})

test('a loader without a free slot waits until its reader is done', () => {
  const run = (slots: number) =>
    latencies(simulated({ pipeline: [loader(1, 1, slots), network(1, 10)], requests: 3, intervalMs: 0 }))
  // With one slot they take turns; with two the next is ready when the network is.
  expect(run(1)).toEqual([11, 22, 33])
  expect(run(2)).toEqual([11, 21, 31])
})

test('a queue that is full aborts, drops, or has its producer wait', () => {
  // Loading takes nothing: of six at once, one is computed and one waits in the queue when the third comes.
  const pipeline = [loader(1, 0, 6), network(1, 10)]
  const run = (onFull: 'abort' | 'drop' | 'wait') => {
    const asked = { pipeline, requests: 6, intervalMs: 0, overload: { onFull } }
    return simulated({ ...asked, queueSize: 1 })
  }
  expect(run('abort').ending.kind).toBe('full')
  const waited = run('wait')
  expect(latencies(waited)).toEqual([10, 20, 30, 40, 50, 60])
  // All at once, and the client is faster than whoever takes from it.
  const dropped = run('drop')
  expect(dropped.failures).toEqual(new Map([['queue_full', 5]]))
  expect(Array.from(dropped.succeeded)).toEqual([1, 0, 0, 0, 0, 0])
})

test('a request of which one part finds no room is dropped with all its parts', () => {
  const run = (queueSize: number) =>
    simulated({
      pipeline: [
        loader(1, 0, 4, { num_clips_population: [4], num_segments: 4 }),
        network(1, 1, { queue_groups: [{ gpus: [-1], in_queue: 0, out_queues: [0] }] }),
        { model: 'aggregator', aggregate: 4, queue_groups: [{ gpus: [-1], in_queue: 0 }] },
      ],
      requests: 1,
      intervalMs: 0,
      queueSize,
      overload: { onFull: 'drop' },
    })
  expect(run(3).failures).toEqual(new Map([['queue_full', 1]]))
  expect(run(3).highWater[1]).toBe(3)
  expect(run(3).slotsHeld).toEqual([0, 0, 0])
  expect(run(4).succeeded[0]).toBe(1)
})

test('what a step would begin too late is dropped', () => {
  const run = simulated({
    pipeline: [alone(1, 10)],
    requests: 5,
    intervalMs: 0,
    overload: { timeoutNs: 25e6 },
  })
  expect(run.failures).toEqual(new Map([['timeout', 2]]))
  expect(Array.from(run.succeeded)).toEqual([1, 1, 1, 0, 0])
})

test('the parts of a request go to one queue and meet again', () => {
  const run = simulated({
    pipeline: [
      loader(1, 0, 10, { num_clips_population: [4], num_segments: 3 }),
      network(3, 0, {
        service_ms_per_clip: 10,
        queue_groups: [{ gpus: [-1, -1, -1], in_queue: 0, out_queues: [0] }],
      }),
      { model: 'aggregator', aggregate: 3, queue_groups: [{ gpus: [-1], in_queue: 0 }] },
    ],
    requests: 1,
    intervalMs: 0,
    queueSize: 3,
  })
  // Of four clips, two in the largest part.
  expect(latencies(run)).toEqual([20])
  expect(Array.from(run.calls)).toEqual([1, 1, 1, 1, 3])
})

test('a closed loop sends the next when one is done', () => {
  const run = simulated({ pipeline: [alone(4, 10)], requests: 6, intervalMs: 0, concurrency: 2 })
  expect(Array.from(run.intendedNs, ns => ns / 1e6)).toEqual([0, 0, 10, 10, 20, 20])
})

test('calls that share servers evenly slow each other down', () => {
  const run = (sharing: 'fifo' | 'even') =>
    latencies(
      simulated({
        pipeline: [alone(3, 10, { busy: true })],
        requests: 3,
        intervalMs: 0,
        resources: { host: { servers: 1, sharing } },
      }),
    )
  expect(run('fifo')).toEqual([10, 20, 30])
  expect(run('even')).toEqual([30, 30, 30])
})
