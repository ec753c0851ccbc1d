import { expect, test } from 'bun:test'
import { oneClip, run } from './rnb.ts'

const config = oneClip()
const intended = (outcome: Awaited<ReturnType<typeof run>>): number[] =>
  outcome.results.map(({ intended_ms }) => intended_ms)

/** To a nanosecond: a float64 of the system's clock holds no more. */
const DIGITS = 5

test('--arrival constant spaces requests evenly', async () => {
  const outcome = await run(config, ['-v', '5', '-mi', '12.5', '--arrival', 'constant', '--warmup', '0'])
  const times = intended(outcome)
  expect(times).toHaveLength(5)
  for (const [i, time] of times.entries()) expect(time).toBeCloseTo(i * 12.5, DIGITS)
  expect(outcome.summary.rate.offered_per_s).toBeCloseTo(80, 3)
})

test('an interval of 0 is bulk: all requests at the start, in queues that hold them', async () => {
  const [zero, bulk] = await Promise.all([
    run(config, ['-v', '6', '-mi', '0', '-qs', '2']),
    run(config, ['-v', '6', '-mi', '9', '-qs', '2', '--arrival', 'bulk']),
  ])
  for (const outcome of [zero, bulk]) {
    expect(outcome.status).toBe(0)
    expect(intended(outcome)).toEqual([0, 0, 0, 0, 0, 0])
    for (const { capacity } of outcome.summary.queues) expect(capacity).toBeGreaterThanOrEqual(6)
  }
})

test('arrivals are drawn from the seed, and --rate says the same as an interval', async () => {
  const [interval, rate, other] = await Promise.all([
    run(config, ['-v', '6', '-mi', '10', '--seed', '3']),
    run(config, ['-v', '6', '--rate', '100', '--seed', '3']),
    run(config, ['-v', '6', '-mi', '10', '--seed', '4']),
  ])
  const times = intended(interval)
  expect(times).toEqual(times.toSorted((a, b) => a - b))
  expect(new Set(times).size).toBe(6)
  for (const [i, time] of intended(rate).entries()) expect(time).toBeCloseTo(times[i]!, DIGITS)
  expect(intended(other)).not.toEqual(times)
})

test('nobody arrives early', async () => {
  const { results } = await run(config, ['-v', '8', '-mi', '5'])
  for (const { intended_ms, actual_ms, latency_ms, latency_actual_ms } of results) {
    expect(actual_ms).toBeGreaterThanOrEqual(intended_ms)
    expect(latency_ms - latency_actual_ms).toBeCloseTo(actual_ms - intended_ms, DIGITS)
  }
})

test('--duration ends arrivals, alone or before --videos does', async () => {
  const even = ['-mi', '20', '--arrival', 'constant', '--duration', '0.1']
  const [alone, more, fewer] = await Promise.all([
    run(config, even),
    run(config, [...even, '-v', '100']),
    run(config, [...even, '-v', '3']),
  ])
  // At 0, 20, 40, 60 and 80 ms; 100 ms is over.
  expect(intended(alone)).toHaveLength(5)
  expect(intended(more)).toHaveLength(5)
  expect(intended(fewer)).toHaveLength(3)
})

test('a duration in which nobody arrives is a run all the same', async () => {
  const { status, summary } = await run(config, ['-mi', '1e6', '--duration', '0.001'])
  expect(status).toBe(0)
  expect(summary.requests).toMatchObject({ asked: 0, arrived: 0, completed: 0, failed: 0 })
  expect(summary.latency_ms).toBeNull()
})

test('--slo-ms counts who was in time', async () => {
  const [generous, strict] = await Promise.all([
    run(config, ['-v', '4', '--warmup', '1', '--slo-ms', '1e6']),
    run(config, ['-v', '4', '--warmup', '1', '--slo-ms', '1e-6']),
  ])
  expect(generous.summary.goodput).toMatchObject({ slo_ms: 1e6, within: 3, fraction: 1 })
  expect(strict.summary.goodput).toMatchObject({ slo_ms: 1e-6, within: 0, fraction: 0 })
})
