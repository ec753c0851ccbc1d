import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { Clock } from '../../src/simulator/clock.ts'
import { type Share, type SharedOptions, SharedServers } from '../../src/simulator/resources.ts'
import { alone, loader, network, simulated } from './plans.ts'

const MS = 1e6
const ms = (ns: ArrayLike<number>): number[] => Array.from(ns, value => value / MS)

test('a call of two threads has twice the share of a call of one', () => {
  const clock = new Clock()
  const servers = new SharedServers(clock, { servers: 2 })
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
  const servers = new SharedServers(clock, { servers: 1.25 })
  const ends: number[] = []
  const use = function* () {
    yield* servers.use(10)
    ends.push(clock.now)
  }
  for (let call = 0; call < 2; call++) clock.start(use())
  expect(clock.run()).toBe(0)
  for (const end of ends) expect(end).toBeCloseTo(16, 9)
})

/** When calls end that begin together; of each its work and how it is served. */
function endsOf(options: SharedOptions, calls: readonly [work: number, share: Share][]): number[] {
  const clock = new Clock()
  const servers = new SharedServers(clock, options)
  const ends: number[] = []
  for (const [call, [work, share]] of calls.entries())
    clock.start(
      (function* () {
        yield* servers.use(work, share)
        ends[call] = clock.now
      })(),
    )
  expect(clock.run()).toBe(0)
  return ends
}

test('calls that are work of their threads too come to disturb each other step by step, and full servers serve what they can', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 1, max: 8, noNaN: true }),
      fc.integer({ min: 1, max: 40 }),
      fc.double({ min: 1, max: 20, noNaN: true }),
      fc.double({ min: 0, max: 0.1, noNaN: true }),
      (capacity, calls, sharpness, friction) => {
        const [end] = endsOf({ servers: capacity, sharpness, friction }, new Array(calls).fill([10, {}]))
        const alone = 1 + friction * (calls - 1)
        const full = calls / capacity
        // No norm is less than the larger, nor more than the sum.
        expect(end! / 10).toBeGreaterThanOrEqual(Math.max(alone, full) * (1 - 1e-9))
        expect(end! / 10).toBeLessThanOrEqual((alone + full) * (1 + 1e-9))
        expect((end! / 10) ** sharpness / (alone ** sharpness + full ** sharpness)).toBeCloseTo(1, 6)
      },
    ),
  )
})

test('a call of a thread that was cold is longer, and less so beside others of them', () => {
  const cold = { threads: 3, longer: 1.6 }
  const roomy = { servers: 10 }
  expect(endsOf(roomy, [[10, { cold }]])[0]).toBeCloseTo(16, 9)
  // Beside one of the two others by the logarithm: of three threads of which two are at work as of three halves that take turns.
  const beside = (longer: number) => 1 + ((longer - 1) * Math.log(3 / 2)) / Math.log(3)
  for (const end of endsOf(roomy, [
    [10, { cold }],
    [10, { cold }],
  ]))
    expect(end).toBeCloseTo(10 * beside(1.6), 9)
  // Each is as cold as its own step says: less beside the other, and all of it once that is gone.
  const apart = endsOf(roomy, [
    [10, { cold }],
    [10, { cold: { ...cold, longer: 2.2 } }],
  ])
  const soon = 10 * beside(1.6)
  expect(apart[0]).toBeCloseTo(soon, 9)
  expect(apart[1]).toBeCloseTo(soon + (10 - soon / beside(2.2)) * 2.2, 9)
  const fewer = endsOf(roomy, [
    [10, { cold }],
    [10, { cold: { ...cold, threads: 2 } }],
  ])
  expect(fewer[1]).toBeCloseTo(10, 9)
  expect(fewer[0]).toBeCloseTo(10 + (10 - 10 / beside(1.6)) * 1.6, 9)
  // Three, of which one ends at 2: two to be had then, of 8.
  const ends = endsOf(roomy, [
    [10, { cold }],
    [10, { cold }],
    [2, { cold }],
  ])
  expect(ends[2]).toBeCloseTo(2, 9)
  expect(ends[0]).toBeCloseTo(2 + 8 * beside(1.6), 9)
})

test('a call whose thread works elsewhere is as slow as that is, for its share there, from each change on', () => {
  const clock = new Clock()
  const cores = new SharedServers(clock, { servers: 1 })
  const engines = new SharedServers(clock, { servers: 4 })
  const ends: number[] = []
  clock.start(
    (function* () {
      const letGo = cores.hold(0.5)
      yield* engines.use(10, { on: { resource: cores, share: 0.5 } })
      ends.push(clock.now)
      letGo()
    })(),
  )
  clock.start(
    (function* () {
      yield* clock.sleepUntil(4)
      yield* cores.use(2)
      ends.push(clock.now)
    })(),
  )
  expect(clock.run()).toBe(0)
  // From 4 to 7 one core does what 1.5 are wanted for: two thirds of it of the one, and 3 / 1.25 of the other.
  expect(ends[0]).toBeCloseTo(7, 9)
  expect(ends[1]).toBeCloseTo(7 + 10 - 4 - 3 / 1.25, 9)
})

test('servers that are held are missed by calls, as long as they are held', () => {
  const clock = new Clock()
  const servers = new SharedServers(clock, { servers: 2 })
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
  const servers = new SharedServers(clock, { servers: 2, straggling: 1.5 })
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
function yieldingEnds(
  servers: number,
  calls: readonly [work: number, width: number, yields: boolean][],
  { held = 0, processors = servers }: { held?: number; processors?: number } = {},
): number[] {
  const clock = new Clock()
  const shared = new SharedServers(clock, { servers, processors })
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
  const [first, second] = yieldingEnds(1, [
    [9, 1, false],
    [9, 1, true],
  ])
  expect(first).toBeCloseTo((9 * (1024 + 110)) / 1024, 9)
  expect(second).toBeCloseTo(18, 9)
  // What is held is served like those that do not yield.
  const [beside] = yieldingEnds(1, [[9, 1, true]], { held: 1 })
  expect(beside).toBeCloseTo((9 * (1024 + 110)) / 110, 9)
})

test('calls that yield among themselves, and where there is enough for all, are served as any', () => {
  expect(
    yieldingEnds(1, [
      [4, 1, true],
      [4, 1, true],
    ]),
  ).toEqual([8, 8])
  expect(
    yieldingEnds(2, [
      [4, 1, false],
      [6, 1, true],
    ]),
  ).toEqual([4, 6])
  // One thread can't use more than one of two servers: the other is for those that yield.
  expect(
    yieldingEnds(2, [
      [4, 1, false],
      [1, 1, true],
      [1, 1, true],
    ]),
  ).toEqual([4, 2, 2])
})

test('while two threads of a core are free, nobody yields: all are slower alike', () => {
  const two = yieldingEnds(
    1,
    [
      [4, 1, false],
      [4, 1, true],
    ],
    { processors: 2 },
  )
  expect(two).toEqual([8, 8])
  // Where they are taken, one thread is left for two that yield.
  const [first, ...others] = yieldingEnds(
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
        const ends = yieldingEnds(
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
