import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { type PacerHost, pace } from '../../src/client/pacer.ts'
import { Rng } from '../../src/rng.ts'

interface Offered {
  request: number
  intended: number
  actual: number
}

/** A clock that only waiting and working move, on a host that wakes up early, late, or in time. */
class FakeHost implements PacerHost {
  time: number
  readonly offered: Offered[] = []
  readonly #rng: Rng

  constructor(
    startNs: number,
    seed: number,
    readonly oversleepNs: number,
    readonly workNs: (request: number) => number,
    readonly stopAt = Number.POSITIVE_INFINITY,
  ) {
    this.time = startNs
    this.#rng = Rng.of(seed)
  }

  now(): number {
    this.time += 1
    return this.time
  }

  wait(untilNs: number): boolean {
    if (this.time >= this.stopAt) return false
    const early = this.#rng.int(3) === 0
    this.time += early
      ? this.#rng.int(Math.ceil(untilNs - this.time) + 1)
      : untilNs - this.time + this.#rng.int(this.oversleepNs + 1)
    return true
  }

  offer(request: number, intended: number, actual: number): boolean {
    if (this.time >= this.stopAt) return false
    this.offered.push({ request, intended, actual })
    this.time += this.workNs(request)
    return true
  }
}

const schedules = fc
  .array(fc.integer({ min: 0, max: 5000 }), { maxLength: 60 })
  .map(gaps => Float64Array.from(gaps, (_, i) => gaps.slice(0, i + 1).reduce((a, b) => a + b, 0)))

test('every request once, in order, never early, whatever the host does', () => {
  fc.assert(
    fc.property(
      schedules,
      fc.integer({ min: 0, max: 1e9 }),
      fc.integer(),
      fc.integer({ min: 0, max: 3000 }),
      fc.integer({ min: 0, max: 9000 }),
      (schedule, start, seed, oversleep, work) => {
        const rng = Rng.of(seed, 'work')
        const host = new FakeHost(start, seed, oversleep, () => rng.int(work + 1))
        expect(pace(schedule, start, host)).toBe(schedule.length)
        expect(host.offered.map(({ request }) => request)).toEqual([...schedule.keys()])
        for (const { request, intended, actual } of host.offered) {
          expect(intended).toBe(start + schedule[request]!)
          expect(actual).toBeGreaterThanOrEqual(intended)
        }
      },
    ),
  )
})

test('lateness does not add up: with work shorter than the gaps, each request is late by its own waking alone', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 0, max: 400 }), (seed, oversleep) => {
      const schedule = Float64Array.from({ length: 500 }, (_, i) => i * 1000)
      const host = new FakeHost(0, seed, oversleep, () => 500)
      pace(schedule, 0, host)
      const late = host.offered.map(({ intended, actual }) => actual - intended)
      // A few ticks of the clock itself come on top.
      expect(Math.max(...late)).toBeLessThanOrEqual(oversleep + 20)
    }),
  )
})

test('after a stall the overdue requests go at once and the rest are on time again', () => {
  const schedule = Float64Array.from({ length: 100 }, (_, i) => i * 1000)
  const host = new FakeHost(0, 1, 0, request => (request === 10 ? 20_500 : 10))
  pace(schedule, 0, host)
  const late = host.offered.map(({ intended, actual }) => actual - intended)
  expect(late[10]).toBeLessThan(30)
  expect(late[11]).toBeGreaterThan(19_000)
  const burst = host.offered.slice(11, 31).map(({ actual }) => actual)
  expect(burst.at(-1)! - burst[0]!).toBeLessThan(20 * 20)
  expect(late.slice(32).every(ns => ns < 30)).toBeTrue()
})

test('the end of a run is seen while waiting and while late, and later requests are not offered', () => {
  const schedule = Float64Array.from({ length: 100 }, (_, i) => i * 1000)
  const waiting = new FakeHost(0, 2, 0, () => 1, 50_000)
  expect(pace(schedule, 0, waiting)).toBe(waiting.offered.length)
  expect(Math.abs(waiting.offered.length - 50)).toBeLessThanOrEqual(1)
  const late = new FakeHost(0, 2, 0, () => 10_000, 50_000)
  expect(pace(schedule, 0, late)).toBe(late.offered.length)
  expect(late.offered.length).toBe(5)
})

test('a full queue ends it: the request that was refused is not counted', () => {
  let offers = 0
  const taken = pace(new Float64Array(10), 0, { now: () => 0, wait: () => true, offer: () => offers++ < 4 })
  expect(taken).toBe(4)
  expect(offers).toBe(5)
})
