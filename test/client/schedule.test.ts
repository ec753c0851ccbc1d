import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { drawSchedule } from '../../src/client/schedule.ts'

const MS = 1e6

const gaps = (times: Float64Array): number[] => Array.from(times, (time, i) => time - (times[i - 1] ?? 0))

/** Largest distance between the empirical distribution of values and a distribution function. */
function kolmogorovSmirnov(values: readonly number[], distribution: (x: number) => number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted.reduce((largest, x, i) => {
    const expected = distribution(x)
    return Math.max(largest, expected - i / sorted.length, (i + 1) / sorted.length - expected)
  }, 0)
}

/** Asymptotic critical value of sqrt(n) D at the level 0.001. */
const KS_LIMIT = 1.949

describe('Poisson', () => {
  const draw = (seed: number, videos = 5000, meanIntervalMs = 3) =>
    drawSchedule({ arrival: 'poisson', meanIntervalMs, videos, seed })

  test.each([1, 2, 3, 4, 5])(
    'gaps follow the exponential distribution (Kolmogorov-Smirnov), seed %d',
    seed => {
      const times = draw(seed)
      const d = kolmogorovSmirnov(gaps(times), x => 1 - Math.exp(-x / (3 * MS)))
      expect(Math.sqrt(times.length) * d).toBeLessThan(KS_LIMIT)
    },
  )

  test('the test would see a wrong mean, and even gaps', () => {
    const times = draw(1)
    const wrongMean = kolmogorovSmirnov(gaps(times), x => 1 - Math.exp(-x / (3.3 * MS)))
    expect(Math.sqrt(times.length) * wrongMean).toBeGreaterThan(KS_LIMIT)
    const even = drawSchedule({ arrival: 'constant', meanIntervalMs: 3, videos: 5000, seed: 1 })
    const d = kolmogorovSmirnov(gaps(even), x => 1 - Math.exp(-x / (3 * MS)))
    expect(Math.sqrt(even.length) * d).toBeGreaterThan(KS_LIMIT)
  })

  test('given their number, arrival times are uniform (Kolmogorov-Smirnov)', () => {
    const times = drawSchedule({
      arrival: 'poisson',
      meanIntervalMs: 2,
      videos: Number.POSITIVE_INFINITY,
      durationS: 10,
      seed: 6,
    })
    const d = kolmogorovSmirnov([...times], x => x / 10e9)
    expect(Math.sqrt(times.length) * d).toBeLessThan(KS_LIMIT)
    // 5000 expected, deviation sqrt(5000).
    expect(Math.abs(times.length - 5000)).toBeLessThan(4 * Math.sqrt(5000))
  })

  test('counts in windows have variance equal to their mean, gaps are uncorrelated', () => {
    const times = draw(7, 20_000, 1)
    const windows = new Array<number>(1500).fill(0)
    for (const time of times) {
      const window = Math.floor(time / (10 * MS))
      if (window < windows.length) windows[window]!++
    }
    const mean = windows.reduce((a, b) => a + b, 0) / windows.length
    const variance = windows.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (windows.length - 1)
    // The index of dispersion has deviation sqrt(2 / (n - 1)).
    expect(Math.abs(variance / mean - 1)).toBeLessThan(4 * Math.sqrt(2 / 1499))
    const between = gaps(times).map(gap => gap / MS - 1)
    const products = between.slice(1).map((gap, i) => gap * between[i]!)
    const correlation = products.reduce((a, b) => a + b, 0) / products.length
    expect(Math.abs(correlation)).toBeLessThan(4 / Math.sqrt(products.length))
  })

  test('a seed fixes it, another seed gives another, more requests begin the same', () => {
    expect(draw(11)).toEqual(draw(11))
    expect(draw(11)).not.toEqual(draw(12))
    expect(draw(11, 6000).slice(0, 5000)).toEqual(draw(11))
  })

  test('times ascend from 0, end before the duration, are as many as asked, for any setting', () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.double({ min: 1e-3, max: 1e4, noNaN: true }),
        fc.integer({ min: 0, max: 300 }),
        fc.option(fc.double({ min: 0, max: 100, noNaN: true }), { nil: undefined }),
        fc.constantFrom('poisson' as const, 'constant' as const),
        (seed, meanIntervalMs, videos, durationS, arrival) => {
          const times = drawSchedule({ arrival, meanIntervalMs, videos, durationS, seed })
          const whole = drawSchedule({ arrival, meanIntervalMs, videos, seed })
          expect(whole.length).toBe(videos)
          expect(gaps(times).every(gap => gap >= 0)).toBeTrue()
          const end = (durationS ?? Number.POSITIVE_INFINITY) * 1e9
          expect(times).toEqual(whole.filter(time => time < end))
        },
      ),
    )
  })
})

test('even arrivals stand at exact multiples, however many', () => {
  const times = drawSchedule({ arrival: 'constant', meanIntervalMs: 0.1, videos: 100_000, seed: 0 })
  expect(times[0]).toBe(0)
  expect(times.every((time, i) => time === i * 100_000)).toBeTrue()
})

test('in bulk, all arrive at the start', () => {
  const times = drawSchedule({ arrival: 'bulk', meanIntervalMs: 0, videos: 5, seed: 0 })
  expect([...times]).toEqual([0, 0, 0, 0, 0])
})

test('a schedule without end or pace is refused', () => {
  const videos = Number.POSITIVE_INFINITY
  expect(() => drawSchedule({ arrival: 'constant', meanIntervalMs: 1, videos, seed: 0 })).toThrow(RangeError)
  expect(() => drawSchedule({ arrival: 'bulk', meanIntervalMs: 1, videos, durationS: 1, seed: 0 })).toThrow(
    RangeError,
  )
  for (const meanIntervalMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
    expect(() => drawSchedule({ arrival: 'poisson', meanIntervalMs, videos: 1, seed: 0 })).toThrow(RangeError)
})
