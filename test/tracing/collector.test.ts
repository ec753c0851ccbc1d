import { expect, test } from 'bun:test'
import fc from 'fast-check'
import type { ActivityRecord, KernelRecord } from '../../ffi/cupti/records.ts'
import { createNames, Track } from '../../src/tracing/buffer.ts'
import { Collector } from '../../src/tracing/gpu/collector.ts'
import { callId, callOf, type GraphFacts } from '../../src/tracing/gpu/facts.ts'

const threads = [
  { name: 'loader', step: 0 },
  { name: 'network', step: 1 },
]
const shape = {
  grid: [1, 1, 1],
  block: [32, 1, 1],
  cluster: 1,
  registers: 32,
  localBytes: 0,
  sharedBytes: 0,
  sharedExecuted: 0,
} as const

const collector = (started = 1) =>
  new Collector({
    threads,
    names: createNames(),
    trackRecords: 10_000,
    started: () => started,
    monotonic: ns => ns + 1000,
  })

/** Three launches, the second of two kernels, and one that follows by itself. */
const graph: GraphFacts = {
  graph: 7,
  step: 1,
  clips: 2,
  launches: [
    { name: 'a', how: 'x', layer: 1, flops: 10, bytes: 100, nodes: 1 },
    { name: 'b', how: 'x', layer: 2, flops: 20, bytes: 200, nodes: 2 },
    { name: 'c', how: 'y', layer: 2, flops: 40, bytes: 400, nodes: 1 },
  ],
  last: { name: 'linear', how: 'linear', layer: 5, flops: 80, bytes: 800 },
}
/** What the four nodes, and the kernel after them, are parts of. */
const PARTS = ['a', 'b', 'b', 'c', 'linear']

const kernel = (correlation: number, startNs: number, more: Partial<KernelRecord> = {}): KernelRecord => ({
  kind: 'kernel',
  name: 'k',
  shape,
  startNs,
  endNs: startNs + 5,
  device: 0,
  stream: 3,
  correlation,
  graph: 0,
  node: 0,
  ...more,
})

/** All records of one call of the network for a request. */
function callRecords(request: number): ActivityRecord[] {
  const start = 1000 * (request + 1)
  const [copy, launch, last] = [3 * request + 1, 3 * request + 2, 3 * request + 3]
  const id = callId(1, request)
  return [
    ...[copy, launch, last].map(correlation => ({ kind: 'external' as const, correlation, id })),
    { ...kernel(copy, start), kind: 'copy', name: 'copy, device to device', bytes: 64 },
    ...Array.from({ length: 4 }, (_, i) =>
      kernel(launch, start + 10 * (i + 1), { name: `k${i}`, graph: 7, node: 90 - i }),
    ),
    kernel(last, start + 50, { name: 'linear' }),
  ]
}

test('an external id says the thread and the request, also that there is none', () => {
  fc.assert(
    fc.property(fc.nat(2 ** 16), fc.integer({ min: -1, max: 2 ** 24 }), (thread, request) => {
      const id = callId(thread, request)
      expect(Number.isSafeInteger(id)).toBe(true)
      expect(callOf(id)).toEqual({ thread, request })
    }),
  )
})

test('work finds its launch, step and request in whatever order and portions records come', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      fc.infiniteStream(fc.nat()),
      fc.nat(20),
      (requests, random, portions) => {
        const all = Array.from({ length: requests }, (_, request) => callRecords(request)).flat()
        const order = all
          .map(record => ({ record, at: random.next().value as number }))
          .sort((a, b) => a.at - b.at)
        const made = collector()
        made.graph(graph)
        const settles = new Set(order.slice(0, portions))
        for (const entry of order) {
          made.take(entry.record)
          if (settles.has(entry)) made.settle()
        }
        made.settle(true)
        const { handle, thread } = [...made.streams.values()][0]!
        expect([made.streams.size, thread, made.unattributed, made.early]).toEqual([1, 1, 0, 0])
        const records = [...new Track(handle).records()].sort((a, b) => a.beginNs - b.beginNs)
        expect(records.map(({ launch, request }) => [launch, request])).toEqual(
          Array.from({ length: requests }, (_, request) =>
            [undefined, ...PARTS].map(launch => [launch, request]),
          ).flat(),
        )
        expect(records[0]).toMatchObject({ beginNs: 2000, endNs: 2005, amount: 64 })
        const rows = [...made.rows.values()]
        const sum = (of: (row: (typeof rows)[number]) => number) =>
          rows.reduce((total, row) => total + of(row), 0)
        expect(sum(row => row.calls)).toBe(6 * requests)
        expect(sum(row => row.totalNs)).toBe(6 * 5 * requests)
        expect(sum(row => row.ownNs)).toBe(6 * 5 * requests)
        expect(made.graphs).toEqual([{ step: 1, clips: 2, launches: requests }])
        // Each launch once, however many kernels it has.
        expect(sum(row => row.flops)).toBe(150 * requests)
        expect(sum(row => row.bytes)).toBe((1500 + 64) * requests)
        expect(new Set(rows.map(row => row.step))).toEqual(new Set([1]))
      },
    ),
  )
})

test('work from before the run started, or from nobody, is told apart', () => {
  const made = collector(2500)
  made.graph(graph)
  // Times are moved by 1000: the first call comes before the start.
  for (const request of [0, 1]) for (const record of callRecords(request)) made.take(record)
  made.take(kernel(99, 5000))
  made.settle()
  expect([made.early, made.unattributed]).toEqual([6, 0])
  made.settle(true)
  expect(made.unattributed).toBe(1)
  expect([...made.rows.values()].reduce((sum, row) => sum + row.calls, 0)).toBe(7)
})

test('a graph of which a kernel is never recorded leaves its kernels without a launch', () => {
  const made = collector()
  made.graph(graph)
  for (const record of callRecords(0).filter(record => record.kind !== 'kernel' || record.name !== 'k2'))
    made.take(record)
  made.settle(true)
  const named = [...made.rows.values()].filter(row => row.launch !== undefined)
  expect(named.map(row => row.launch)).toEqual(['linear'])
  expect(made.unattributed).toBe(0)
})

test('of kernels that overlap on a stream, what the one before still took is not the next one’s own time', () => {
  const made = collector()
  const at = (correlation: number, startNs: number, endNs: number, stream = 3) => ({
    ...kernel(correlation, startNs, { stream }),
    endNs,
  })
  // The second begins before the first ends, the third lies within the second; another stream has nothing to do with it.
  for (const record of [at(3, 130, 140), at(2, 120, 160), at(4, 110, 130, 4), at(1, 100, 130)])
    made.take(record)
  made.settle(true)
  const [row] = made.rows.values()
  expect(row).toMatchObject({
    calls: 4,
    totalNs: 30 + 40 + 10 + 20,
    ownNs: 30 + 30 + 0 + 20,
    minNs: 10,
    maxNs: 40,
  })
})
