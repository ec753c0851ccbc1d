import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { Clock } from '../../src/simulator/clock.ts'
import { SharedServers } from '../../src/simulator/resources.ts'
import { alone, loader, network, simulated } from './plans.ts'

const MS = 1e6
const ms = (ns: ArrayLike<number>): number[] => Array.from(ns, value => value / MS)

test('a call of two threads has twice the share of a call of one', () => {
  const clock = new Clock()
  const servers = new SharedServers(clock, 2)
  const ends: Record<string, number> = {}
  const use = function* (name: string, work: number, width: number) {
    yield* servers.use(work, { width })
    ends[name] = clock.now
  }
  clock.start(use('wide', 6, 2))
  clock.start(use('narrow', 4, 1))
  expect(clock.run()).toBe(0)
  // Three threads on two cores: all 1.5 times slower until the narrow one ends at 6, with 4 of 6 done of the wide one.
  expect(ends.narrow).toBeCloseTo(6, 9)
  expect(ends.wide).toBeCloseTo(8, 9)
})

test('a fraction of a server serves as much less', () => {
  const clock = new Clock()
  const servers = new SharedServers(clock, 1.25)
  const ends: number[] = []
  const use = function* () {
    yield* servers.use(10)
    ends.push(clock.now)
  }
  for (let call = 0; call < 2; call++) clock.start(use())
  expect(clock.run()).toBe(0)
  for (const end of ends) expect(end).toBeCloseTo(16, 9)
})

test('servers that are held are missed by calls, as long as they are held', () => {
  const clock = new Clock()
  const servers = new SharedServers(clock, 2)
  const ends: number[] = []
  const hold = function* (from: number, to: number, width: number) {
    yield* clock.sleepUntil(from)
    const letGo = servers.hold(width)
    yield* clock.sleepUntil(to)
    letGo()
  }
  const use = function* () {
    yield* servers.use(10)
    ends.push(clock.now)
  }
  // Half a server is there to spare: nobody misses it.
  clock.start(hold(0, 2, 0.5))
  clock.start(use())
  // Of 3 that are wanted there are 2: from 2 to 8 four of ten are done, after the two before.
  clock.start(hold(2, 8, 2))
  expect(clock.run()).toBe(0)
  expect(ends).toEqual([12])
})

test('a stretch slows others on what it keeps busy beside, and is not slowed there itself', () => {
  const { endNs } = simulated({
    pipeline: [alone(2, 0)],
    requests: 2,
    intervalMs: 0,
    resources: { core: { servers: 1, sharing: 'even' } },
    service: {
      stretches: ({ request }) =>
        request === 0 ? [{ ms: 3, beside: { resource: 'core', width: 0.5 } }] : [{ ms: 4, resource: 'core' }],
    },
  })
  // In 3 ms two are done, and the other two take two.
  const [first, second] = ms(endNs)
  expect(first).toBeCloseTo(3, 9)
  expect(second).toBeCloseTo(5, 9)
})

test('a call is as long as its stretches, each on its resource', () => {
  const { endNs } = simulated({
    pipeline: [alone(2, 0)],
    requests: 2,
    intervalMs: 0,
    resources: { core: { servers: 1, sharing: 'even' } },
    service: { stretches: () => [{ ms: 3 }, { ms: 4, resource: 'core' }] },
  })
  // Both wait 3 ms by themselves, then share the core.
  expect(ms(endNs)).toEqual([11, 11])
})

test('a step that runs ahead begins with the next batch while two are under way, and no earlier', () => {
  const { endNs, waiting, slotsHeld, busyNs, plan } = simulated({
    pipeline: [loader(1, 0, 8), network(1, 0)],
    requests: 4,
    intervalMs: 0,
    resources: { gpu: { servers: 1, sharing: 'even' } },
    service: {
      ahead: ({ step }) => (step === 1 ? 2 : 0),
      stretches: ({ instance: { step } }) =>
        step === 0
          ? [{ ms: 0 }]
          : [{ ms: 1 }, { ms: 4, resource: 'gpu', later: true }, { ms: 2, later: true }],
    },
  })
  // Launched at 0-1 and 1-2; the third once the first has been read back, at 7; computed at 1-5, 5-9, 9-13, 13-17.
  expect(ms(endNs)).toEqual([7, 11, 15, 19])
  expect(waiting).toBe(0)
  expect(slotsHeld).toEqual(plan.instances.map(() => 0))
  expect(busyNs[1]! / MS).toBeCloseTo(4 * (1 + 4), 6)
})

test('a thread that waited runs after the hand-over, in each step', () => {
  const { endNs, intendedNs } = simulated({
    pipeline: [loader(1, 2, 8), network(1, 3)],
    requests: 5,
    intervalMs: 1000,
    handOver: { ms: [0.25], seed: 1 },
  })
  const latencies = ms(endNs.map((end, request) => end - intendedNs[request]!))
  for (const latency of latencies) expect(latency).toBeCloseTo(0.25 + 2 + 0.25 + 3, 6)
})

test('no hand-over where the next is there already', () => {
  const { endNs } = simulated({
    pipeline: [alone(1, 2)],
    requests: 5,
    intervalMs: 0,
    handOver: { ms: [0.25], seed: 1 },
  })
  // The client puts all of them at once: the thread waits for the first alone.
  expect(ms(endNs).map(end => Number(end.toFixed(6)))).toEqual([2.25, 4.25, 6.25, 8.25, 10.25])
})

test('what the program does for a result disturbs those who share its resource', () => {
  const { endNs } = simulated({
    pipeline: [alone(1, 0)],
    requests: 3,
    intervalMs: 0,
    resources: { core: { servers: 1, sharing: 'even' } },
    service: { stretches: () => [{ ms: 2, resource: 'core' }], result: { ms: 1, resource: 'core' } },
  })
  // Each call but the first shares its first 2 ms with 1 ms of the result before.
  expect(ms(endNs)).toEqual([2, 5, 8])
})

test('threads that wait for each other cost all who share with them, where there are not enough servers', () => {
  const clock = new Clock()
  const servers = new SharedServers(clock, 2, 1.5)
  const ends: number[] = []
  const use = function* (work: number, width: number) {
    yield* servers.use(work, { width })
    ends.push(clock.now)
  }
  clock.start(use(4, 2))
  clock.start(use(2, 1))
  expect(clock.run()).toBe(0)
  // Three wanted of two, and 1.5 times slower yet: 2 ms of work take 4.5. The wide one is alone for its other 2.
  expect(ends[0]).toBeCloseTo(4.5, 9)
  expect(ends[1]).toBeCloseTo(6.5, 9)
})

/** When calls end that want servers from the beginning on: work, width, and whether they yield. */
function endsOf(
  servers: number,
  calls: readonly [work: number, width: number, yields: boolean][],
  { held = 0, processors = servers }: { held?: number; processors?: number } = {},
): number[] {
  const clock = new Clock()
  const shared = new SharedServers(clock, servers, 1, processors)
  const ends: number[] = new Array(calls.length)
  const use = function* (at: number, work: number, width: number, yields: boolean) {
    yield* shared.use(work, { width, yields })
    ends[at] = clock.now
  }
  if (held > 0) shared.hold(held)
  for (const [at, [work, width, yields]] of calls.entries()) clock.start(use(at, work, width, yields))
  expect(clock.run()).toBe(0)
  return ends
}

test('calls that yield have little of what others want, and all of what these leave', () => {
  // Weights of 1024 and 110 on one server; the rest of the second call is done alone.
  const [first, second] = endsOf(1, [
    [9, 1, false],
    [9, 1, true],
  ])
  expect(first).toBeCloseTo((9 * (1024 + 110)) / 1024, 9)
  expect(second).toBeCloseTo(18, 9)
  // What is held is served like those that do not yield.
  const [beside] = endsOf(1, [[9, 1, true]], { held: 1 })
  expect(beside).toBeCloseTo((9 * (1024 + 110)) / 110, 9)
})

test('calls that yield among themselves, and where there is enough for all, are served as any', () => {
  expect(
    endsOf(1, [
      [4, 1, true],
      [4, 1, true],
    ]),
  ).toEqual([8, 8])
  expect(
    endsOf(2, [
      [4, 1, false],
      [6, 1, true],
    ]),
  ).toEqual([4, 6])
  // One thread can't use more than one of two servers: the other is for those that yield.
  expect(
    endsOf(2, [
      [4, 1, false],
      [1, 1, true],
      [1, 1, true],
    ]),
  ).toEqual([4, 2, 2])
})

test('while two threads of a core are free, nobody yields: all are slower alike', () => {
  const two = endsOf(
    1,
    [
      [4, 1, false],
      [4, 1, true],
    ],
    { processors: 2 },
  )
  expect(two).toEqual([8, 8])
  // Where they are taken, one thread is left for two that yield.
  const [first, ...others] = endsOf(
    1,
    [
      [4, 1, false],
      [4, 1, true],
      [4, 1, true],
    ],
    { processors: 2 },
  )
  expect(first).toBeCloseTo(8, 9)
  for (const end of others) expect(end).toBeCloseTo(12, 9)
})

test('however calls yield, all of the work is done, and no server does more than it can', () => {
  const call = fc.record({
    work: fc.double({ min: 0.1, max: 10, noNaN: true }),
    width: fc.constantFrom(0.25, 1, 2),
    yields: fc.boolean(),
  })
  fc.assert(
    fc.property(
      fc.array(call, { minLength: 1, maxLength: 12 }),
      fc.double({ min: 0.5, max: 6, noNaN: true }),
      (calls, servers) => {
        const ends = endsOf(
          servers,
          calls.map(({ work, width, yields }) => [work, width, yields] as const),
        )
        const total = calls.reduce((sum, { work, width }) => sum + work * width, 0)
        const last = Math.max(...ends)
        expect(last).toBeGreaterThanOrEqual(total / servers - 1e-6)
        for (const [at, end] of ends.entries()) expect(end).toBeGreaterThanOrEqual(calls[at]!.work - 1e-6)
        // Whoever is last was not kept waiting with servers idle.
        expect(last).toBeLessThanOrEqual(total / servers + Math.max(...calls.map(({ work }) => work)) + 1e-6)
      },
    ),
  )
})
