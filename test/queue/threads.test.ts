import { afterAll, expect, test } from 'bun:test'
import fc from 'fast-check'
import { Barrier } from '../../src/queue/barrier.ts'
import { Board } from '../../src/queue/board.ts'
import { Control } from '../../src/queue/control.ts'
import { Ring, type RingHandle } from '../../src/queue/ring.ts'
import { Semaphore } from '../../src/queue/semaphore.ts'
import { SlotPool } from '../../src/queue/slots.ts'
import { CLOSED, STOPPED } from '../../src/queue/status.ts'
import { Crew, type Task, until } from './crew.ts'
import { type JobResult, SLOT_WITNESS_WORDS, WITNESS } from './jobs.ts'
import { isMessage, writeMessage } from './messages.ts'

const crew = new Crew()
afterAll(() => crew.end())

/** Interleavings don't repeat, so a failing case can't be shrunk. */
const runs = (numRuns: number) => ({ numRuns, endOnFailure: true })

/** Counters that wrap soon, or don't. */
const nearWrap = fc.oneof(fc.constant(0), fc.integer({ min: 2 ** 31 - 2000, max: 2 ** 31 - 1 }))
const seed = fc.nat(1e6)

const violations = (results: readonly JobResult[]): string[] => results.flatMap(result => result.violations)

/** By producer, the numbers that one consumer got, in its order. */
function byProducer(messages: Int32Array, producers: number): number[][] {
  const numbers: number[][] = Array.from({ length: producers }, () => [])
  for (let i = 0; i < messages.length; i += 2) numbers[messages[i]!]!.push(messages[i + 1]!)
  return numbers
}

const isAscending = (numbers: number[]): boolean => numbers.every((n, i) => i === 0 || n > numbers[i - 1]!)
const count = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

test('many producers, many consumers: nothing lost, nothing twice, order per producer, bound kept', async () => {
  const setting = fc.record({
    producers: fc.integer({ min: 1, max: 4 }),
    consumers: fc.integer({ min: 1, max: 4 }),
    capacity: fc.oneof(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 7, max: 500 })),
    words: fc.integer({ min: 3, max: 40 }),
    messages: fc.integer({ min: 0, max: 1500 }),
    waits: fc.boolean(),
    start: nearWrap,
    epoch: nearWrap,
    seed,
  })
  const property = fc.asyncProperty(setting, async s => {
    const control = new Control(Control.create(8, s.epoch))
    const handle = Ring.create(s.capacity, s.words, s.producers, control, s.start)
    const tasks: Task[] = [
      ...count(s.producers).map(producer => ({
        kind: 'produce' as const,
        ring: handle,
        producer,
        count: s.messages,
        waits: s.waits,
      })),
      ...count(s.consumers).map(() => ({ kind: 'consume' as const, ring: handle })),
    ]
    const results = await Promise.all(crew.work(tasks, s.seed))
    expect(violations(results)).toEqual([])
    const consumed = results.slice(s.producers)
    expect(consumed.map(({ status }) => status)).toEqual(consumed.map(() => CLOSED))
    const got = consumed.map(({ messages }) => byProducer(messages, s.producers))
    for (const numbers of got.flat()) expect(isAscending(numbers)).toBe(true)
    for (let producer = 0; producer < s.producers; producer++) {
      const all = got.flatMap(numbers => numbers[producer]!).sort((a, b) => a - b)
      expect(all).toEqual(count(s.messages))
    }
    const ring = new Ring(handle)
    expect(ring.depth).toBe(0)
    expect(ring.highWater).toBeLessThanOrEqual(s.capacity)
    expect(ring.highWater > 0).toBe(s.messages > 0)
  })
  await fc.assert(property, runs(200))
}, 60_000)

test('producers that race fill a ring to its capacity exactly', async () => {
  const property = fc.asyncProperty(
    fc.integer({ min: 1, max: 700 }),
    nearWrap,
    seed,
    async (capacity, start, s) => {
      const control = new Control(Control.create())
      const handle = Ring.create(capacity, 5, 3, control, start)
      const filled = await Promise.all(
        crew.work(
          count(3).map(() => ({ kind: 'fill', ring: handle })),
          s,
        ),
      )
      expect(filled.reduce((sum, { status }) => sum + status, 0)).toBe(capacity)
      const ring = new Ring(handle)
      expect([ring.depth, ring.highWater]).toEqual([capacity, capacity])
      const drained = await Promise.all(crew.work([{ kind: 'consume', ring: handle }], s))
      expect(drained[0]!.messages.length).toBe(2 * capacity)
    },
  )
  await fc.assert(property, runs(60))
})

test('the main thread takes without blocking what workers put', async () => {
  const property = fc.asyncProperty(
    fc.integer({ min: 1, max: 20 }),
    nearWrap,
    seed,
    async (capacity, epoch, s) => {
      const control = new Control(Control.create(8, epoch))
      const handle = Ring.create(capacity, 6, 2, control)
      const ring = new Ring(handle)
      const work = crew.work(
        count(2).map(producer => ({ kind: 'produce', ring: handle, producer, count: 200, waits: true })),
        s,
      )
      const into = new Int32Array(6)
      const next = [0, 0]
      for (;;) {
        const length = await ring.takeAsync(into)
        if (length === CLOSED) break
        expect(isMessage(into, length)).toBe(true)
        expect(into[1]).toBe(next[into[0]!]!++)
      }
      expect(next).toEqual([200, 200])
      expect(violations(await Promise.all(work))).toEqual([])
    },
  )
  await fc.assert(property, runs(40))
})

test('a token goes round without a wake-up lost', async () => {
  const rounds = 10_000
  const control = new Control(Control.create(8, 2 ** 31 - 1500))
  const rings = count(4).map(() => Ring.create(1, 3, 1, control, 2 ** 31 - 1500))
  const work = crew.work(
    rings.map((from, i) => ({ kind: 'relay', from, to: rings[(i + 1) % rings.length]!, rounds })),
  )
  const token = new Int32Array(3)
  new Ring(rings[0]!).put(token, writeMessage(token, 1, 1))
  const results = await Promise.all(work)
  expect(violations(results)).toEqual([])
  expect(rings.map(handle => new Ring(handle).depth)).toEqual([1, 0, 0, 0])
})

test('slots: never two owners, counted holders, all come back', async () => {
  const setting = fc.record({
    slots: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 5, max: 70 })),
    senders: fc.integer({ min: 1, max: 3 }),
    receivers: fc.integer({ min: 1, max: 3 }),
    acquisitions: fc.integer({ min: 1, max: 1000 }),
    epoch: nearWrap,
    seed,
  })
  const property = fc.asyncProperty(setting, async s => {
    const control = new Control(Control.create(8, s.epoch))
    const pool = SlotPool.create(s.slots, control)
    const ring = Ring.create(s.slots * 3, 2, s.senders, control)
    const witness = new SharedArrayBuffer((WITNESS.slots + s.slots * SLOT_WITNESS_WORDS) * 4)
    const tasks: Task[] = [
      ...count(s.senders).map(sender => ({
        kind: 'acquire' as const,
        pool,
        ring,
        sender,
        count: s.acquisitions,
      })),
      ...count(s.receivers).map(() => ({ kind: 'release' as const, pool, ring })),
    ]
    expect(violations(await Promise.all(crew.work(tasks, s.seed, witness)))).toEqual([])
    const mine = new SlotPool(pool)
    expect(mine.free).toBe(s.slots)
    expect(mine.lowWater).toBeLessThan(s.slots)
    expect(mine.lowWater).toBeGreaterThanOrEqual(0)
    expect(count(s.slots).map(() => mine.acquire())).toEqual(count(s.slots))
    expect(mine.free).toBe(0)
  })
  await fc.assert(property, runs(150))
}, 60_000)

test('a barrier holds everybody until the main thread lets go, again and again', async () => {
  const [parties, rounds] = [4, 60]
  const control = new Control(Control.create(8, 2 ** 31 - 40))
  const handle = Barrier.create(parties, control)
  const witness = new SharedArrayBuffer(64)
  const work = crew.work(
    count(parties).map(() => ({ kind: 'arrive', barrier: handle, rounds })),
    1,
    witness,
  )
  const barrier = new Barrier(handle)
  for (let round = 1; round <= rounds; round++) {
    expect(await barrier.allArrived()).toBe(0)
    expect(barrier.arrived).toBe(parties)
    expect(Atomics.load(new Int32Array(witness), WITNESS.counter)).toBe(round * parties)
    barrier.release()
  }
  const results = await Promise.all(work)
  expect(violations(results)).toEqual([])
  expect(results.map(({ status }) => status)).toEqual([0, 0, 0, 0])
})

test('a semaphore lets as many in as it has permits, and all of them in the end', async () => {
  const setting = fc.record({
    threads: fc.integer({ min: 1, max: 4 }),
    permits: fc.integer({ min: 1, max: 3 }),
    rounds: fc.integer({ min: 1, max: 300 }),
    epoch: nearWrap,
    seed,
  })
  const property = fc.asyncProperty(setting, async ({ threads, permits, rounds, epoch, seed }) => {
    const handle = Semaphore.create(permits, new Control(Control.create(8, epoch)))
    const task = { kind: 'share', semaphore: handle, permits, rounds } as const
    const results = await Promise.all(
      crew.work(
        count(threads).map(() => task),
        seed,
      ),
    )
    expect(violations(results)).toEqual([])
    expect(results.map(({ status }) => status)).toEqual(results.map(() => 0))
    expect(new Semaphore(handle).free).toBe(permits)
  })
  await fc.assert(property, runs(100))
}, 60_000)

test('a team: each message is taken once, each piece done once, and all hear of the end', async () => {
  let helps = 0
  const setting = fc.record({
    threads: fc.integer({ min: 2, max: 5 }),
    capacity: fc.integer({ min: 1, max: 6 }),
    messages: fc.integer({ min: 0, max: 200 }),
    epoch: nearWrap,
    seed,
  })
  const property = fc.asyncProperty(setting, async s => {
    const control = new Control(Control.create(8, s.epoch))
    const ring = Ring.create(s.capacity, 40, 1, control)
    const board = Board.create(s.threads, 40, control)
    const done = new SharedArrayBuffer(4 * s.threads)
    const tasks: Task[] = [
      { kind: 'produce', ring, producer: 0, count: s.messages, waits: true },
      ...count(s.threads).map(worker => ({ kind: 'team' as const, ring, board, worker, done })),
    ]
    const results = await Promise.all(crew.work(tasks, s.seed))
    expect(violations(results)).toEqual([])
    const taken = results.slice(1).flatMap(({ messages }) => byProducer(messages, 1)[0]!)
    expect(taken.sort((a, b) => a - b)).toEqual(count(s.messages))
    const { offered, helped } = new Board(board).counts
    expect(helped).toBeLessThanOrEqual(offered - s.messages)
    helps += helped
    expect(results.slice(1).every(({ status }) => status === CLOSED)).toBe(true)
  })
  await fc.assert(property, runs(60))
  expect(helps).toBeGreaterThan(0)
}, 60_000)

test('a stop reaches a thread that waits for others to finish their pieces', async () => {
  const control = new Control(Control.create())
  const board = new Board(Board.create(2, 4, control))
  board.offer(0, 2, 'first', Int32Array.of(7), 1)
  expect(board.claim(owner => owner !== 1, 'first')).toEqual({ owner: 0, piece: 1 })
  control.stop(1)
  expect(board.await(0, 1)).toBeUndefined()
})

/** One of every place where a thread can wait; the ring and the pool are empty. */
function waitingPlaces(control: Control): { tasks: Task[]; ring: RingHandle; all: () => boolean } {
  const ring = Ring.create(2, 3, 1, control)
  const pool = SlotPool.create(1, control)
  new SlotPool(pool).acquire()
  const barrier = Barrier.create(2, control)
  const full = Ring.create(1, 1, 1, control)
  new Ring(full).put(new Int32Array(1), 1)
  const semaphore = Semaphore.create(1, control)
  new Semaphore(semaphore).acquire()
  const tasks: Task[] = [
    { kind: 'take', ring },
    { kind: 'slot', pool },
    { kind: 'arrive', barrier, rounds: 1 },
    { kind: 'room', ring: full, beforeDrain: false },
    { kind: 'sleep', control: control.handle },
    { kind: 'permit', semaphore },
  ]
  const events = [ring.event, pool.event, barrier.events[0], full.roomEvent, semaphore.event, 0].map(event =>
    control.event(event),
  )
  return { tasks, ring, all: () => events.every(event => event.awaited) }
}

test('a stop reaches every waiting thread, whichever thread stops', async () => {
  const property = fc.asyncProperty(
    fc.boolean(),
    fc.boolean(),
    nearWrap,
    async (allWait, byWorker, epoch) => {
      const control = new Control(Control.create(8, epoch))
      const { tasks, ring, all } = waitingPlaces(control)
      const work = crew.work(tasks)
      const mine = new Ring(ring).takeAsync(new Int32Array(3))
      if (allWait) await until(all)
      if (byWorker) {
        const stop: Task = { kind: 'stop', control: control.handle, reason: 5 }
        const [answer] = crew.work([stop], 1, undefined, tasks.length)
        expect((await answer!).status).toBe(1)
      } else control.stop(5)
      const results = await Promise.all(work)
      expect(results.map(({ status }) => status)).toEqual(tasks.map(() => STOPPED))
      expect(await mine).toBe(STOPPED)
      expect(control.stopped).toBe(5)
    },
  )
  await fc.assert(property, runs(150))
})

test('the last close wakes every consumer', async () => {
  const control = new Control(Control.create())
  const handle = Ring.create(4, 3, 2, control)
  const work = crew.work(count(4).map(() => ({ kind: 'consume', ring: handle })))
  await until(() => control.event(handle.event).awaited)
  new Ring(handle).close()
  new Ring(handle).close()
  expect((await Promise.all(work)).map(({ status }) => status)).toEqual(count(4).map(() => CLOSED))
})

test('a drain ends sleep and waiting for a permit, and room for new work; nothing else', async () => {
  const control = new Control(Control.create())
  const { tasks, ring, all } = waitingPlaces(control)
  const full = Ring.create(1, 1, 1, control)
  new Ring(full).put(new Int32Array(1), 1)
  const newWork: Task = { kind: 'room', ring: full, beforeDrain: true }
  const [take, slot, arrive, room, ...ended] = crew.work([...tasks, newWork])
  await until(() => all() && control.event(full.roomEvent).awaited)
  control.drain()
  expect((await Promise.all(ended)).map(({ status }) => status)).toEqual([STOPPED, STOPPED, STOPPED])
  const word = new Int32Array(3)
  expect(new Ring(ring).put(word, 3)).toBe(true)
  expect((await take!).status).toBe(3)
  control.stop(1)
  const others = await Promise.all([slot!, arrive!, room!])
  expect(others.map(({ status }) => status)).toEqual([STOPPED, STOPPED, STOPPED])
})

test('a consumer that is killed while it waits takes no wake-up with it', async () => {
  const control = new Control(Control.create())
  const handle = Ring.create(2, 3, 1, control)
  const [doomed] = crew.work([{ kind: 'take', ring: handle }])
  const end = doomed!.catch((error: Error) => error.message)
  await until(() => control.event(handle.event).awaited)
  await crew.kill(0)
  expect(await end).toContain('ended')
  const [heir] = crew.work([{ kind: 'take', ring: handle }])
  const word = new Int32Array(3)
  new Ring(handle).put(word, 3)
  expect((await heir!).status).toBe(3)
})

test('a worker that dies with a slot hangs nobody after the stop', async () => {
  const control = new Control(Control.create())
  const pool = SlotPool.create(1, control)
  const [dying] = crew.work([{ kind: 'die', pool }])
  expect(await dying!.catch((error: Error) => error.message)).toContain('code 7')
  await crew.kill(0)
  const waiting = crew.work([
    { kind: 'slot', pool },
    { kind: 'slot', pool },
  ])
  await until(() => control.event(pool.event).awaited)
  control.stop(2)
  expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual([STOPPED, STOPPED])
})
