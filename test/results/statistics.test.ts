import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import {
  binomialCdf,
  incompleteBeta,
  studentCdf,
  studentQuantile,
} from '../../src/results/special-functions.ts'
import {
  distribution,
  mean,
  meanInterval,
  percentile,
  percentileIntervalRanks,
  percentileWarnings,
  samplesNeeded,
  sum,
  varianceInflation,
} from '../../src/results/statistics.ts'
import { Rng, seedOf } from '../../src/rng.ts'

const close = (value: number, expected: number, relative = 1e-9) =>
  expect(Math.abs(value - expected)).toBeLessThanOrEqual(relative * Math.abs(expected))

describe('special functions agree with SciPy', () => {
  test.each([
    [0.5, 2, 3, 0.6875],
    [0.1, 0.5, 0.5, 0.20483276469913345],
    [0.9, 20, 3, 0.6200409384119034],
    [0.01, 1e4, 1e6, 0.8425446061748842],
  ])('incomplete beta at %p, %p, %p', (x, a, b, expected) => close(incompleteBeta(x, a, b), expected, 1e-8))

  test.each([
    [1, 12.706204736174694],
    [2, 4.302652729749462],
    [5, 2.5705818356363146],
    [10, 2.228138851986274],
    [29, 2.045229642132703],
    [30, 2.0422724563012378],
    [100, 1.9839715185235518],
    [1000, 1.9623390808264083],
  ])('97.5% of t with %p degrees of freedom', (degrees, expected) =>
    close(studentQuantile(0.975, degrees), expected),
  )

  test.each([
    [0, 10, 0.3, 0.028247524900000005],
    [3, 10, 0.3, 0.6496107184000002],
    [980, 1000, 0.99, 0.003288359787727489],
    [990, 1000, 0.99, 0.5426994078251104],
    [9890, 10000, 0.99, 0.16939377362840238],
    [989800, 1000000, 0.99, 0.022742497360527417],
    [367, 368, 0.99, 0.9752399446099064],
  ])('binomial at %p of %p trials of %p', (k, n, p, expected) => close(binomialCdf(k, n, p), expected, 1e-7))

  // Ranks of binom.ppf(0.025) and binom.ppf(0.975) + 1, where these are ranks at all.
  test.each([
    [10, 9, undefined],
    [100, 97, undefined],
    [367, 359, undefined],
    [368, 360, 368],
    [1000, 983, 997],
    [5000, 4936, 4964],
    [100_000, 98938, 99062],
    [1_000_000, 989805, 990196],
  ])('ranks around p99 of %p samples', (n, low, high) => {
    const ranks = percentileIntervalRanks(0.99, n)
    expect(ranks.low).toBe(low!)
    expect(ranks.high).toBe(high as number)
  })

  test('the binomial is the sum of its terms', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.nat(60),
        fc.double({ min: 0.01, max: 0.99, noNaN: true }),
        (n, k, p) => {
          let term = (1 - p) ** n
          let total = 0
          for (let i = 0; i <= Math.min(k, n); i++) {
            total += term
            term *= ((n - i) / (i + 1)) * (p / (1 - p))
          }
          expect(binomialCdf(k, n, p)).toBeCloseTo(total, 9)
        },
      ),
    )
  })

  test('t is symmetric', () => {
    fc.assert(
      fc.property(
        fc.double({ min: -50, max: 50, noNaN: true }),
        fc.integer({ min: 1, max: 500 }),
        (t, degrees) => {
          expect(studentCdf(t, degrees) + studentCdf(-t, degrees)).toBeCloseTo(1, 12)
        },
      ),
    )
  })
})

describe('figures of samples', () => {
  // numpy: mean, quantile(method='inverted_cdf'), scipy.stats.t.interval.
  const values = Float64Array.of(15, 20, 35, 40, 50, 7, 3.5, 90, 12, 61, 33, 2)

  test('agree with NumPy', () => {
    expect(mean(values)).toBeCloseTo(30.708333333333332, 12)
    const sorted = values.slice().sort()
    expect([0.5, 0.9, 0.95, 0.99, 0.999].map(p => percentile(sorted, p))).toEqual([20, 61, 90, 90, 90])
    const { low, high } = meanInterval(values)!
    close(low, 13.840027781721137)
    close(high, 47.576638884945524)
  })

  test('come in milliseconds, whatever the order of the samples', () => {
    const figures = distribution(values.map(value => value * 1e6))!
    expect(figures).toMatchObject({ count: 12, p50: 20, p90: 61, p95: 90, p99: 90, p99_9: 90, max: 90 })
    expect(figures.mean).toBe(30.708333)
    expect(figures.mean_ci95).toEqual([13.840028, 47.576639])
    expect(figures.p99_ci95).toEqual([61, null])
  })

  test('need a sample, and two for an interval', () => {
    expect(distribution(new Float64Array(0))).toBeNull()
    expect(distribution(Float64Array.of(2e6))).toMatchObject({
      count: 1,
      mean: 2,
      mean_ci95: null,
      p50: 2,
      max: 2,
    })
  })

  test('a percentile is the least sample with its share at or below it', () => {
    const samples = fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 300 })
    fc.assert(
      fc.property(samples, fc.integer({ min: 1, max: 1000 }), (values, thousandths) => {
        const sorted = Float64Array.from(values).sort()
        const value = percentile(sorted, thousandths / 1000)
        const share = (limit: (v: number) => boolean) => values.filter(limit).length * 1000
        expect(share(v => v <= value)).toBeGreaterThanOrEqual(thousandths * values.length)
        expect(share(v => v < value)).toBeLessThan(thousandths * values.length)
      }),
    )
  })

  test('a sum loses nothing', () => {
    expect(sum([1, 1e100, 1, -1e100])).toBe(2)
    expect(sum(new Float64Array(1e5).fill(0.1))).toBeCloseTo(1e4, 12)
  })
})

describe('warnings', () => {
  test('name the percentiles that too few samples bear', () => {
    expect([0.5, 0.9, 0.95, 0.99, 0.999].map(samplesNeeded)).toEqual([20, 100, 200, 1000, 10_000])
    expect(percentileWarnings(10_000)).toEqual([])
    expect(percentileWarnings(999)).toEqual([
      '999 measured videos are too few for p99 (1000 needed), p99.9 (10000 needed)',
    ])
    expect(percentileWarnings(0)[0]).toStartWith('0 measured videos are too few for p50 (20 needed), p90')
  })

  test('say when samples are correlated', () => {
    expect(percentileWarnings(10_000, 1.5)).toEqual([])
    expect(percentileWarnings(10_000, 20)[0]).toContain('as 500 independent ones')
  })
})

/** Share of `runs` intervals that hold the truth. */
function coverage(
  runs: number,
  interval: (rng: Rng) => { low: number; high: number },
  truth: number,
): number {
  const rng = new Rng(seedOf('coverage', truth))
  let held = 0
  for (let run = 0; run < runs; run++) {
    const { low, high } = interval(rng)
    if (low <= truth && truth <= high) held++
  }
  return held / runs
}

// With 1500 runs a share of 0.95 has a standard error of 0.0056.
describe('intervals hold the truth as often as they say', () => {
  const exponential = (n: number, rng: Rng) => Float64Array.from({ length: n }, () => rng.exponential(1))

  test('the mean of independent samples', () => {
    for (const n of [100, 600]) {
      const share = coverage(1500, rng => meanInterval(exponential(n, rng))!, 1)
      expect(share).toBeGreaterThan(0.925)
      expect(share).toBeLessThan(0.97)
    }
  })

  /** Waiting times of an M/M/1 queue at 60% load (Lindley's recursion), from its steady state. */
  function waits(n: number, rng: Rng): Float64Array {
    let wait = rng.next() < 0.6 ? rng.exponential(1 / 0.4) : 0
    return Float64Array.from({ length: n }, () => {
      const now = wait
      wait = Math.max(0, wait + rng.exponential(1) - rng.exponential(1 / 0.6))
      return now
    })
  }

  test('the mean of correlated waiting times, where single samples would not', () => {
    const truth = 0.6 / 0.4
    const share = coverage(600, rng => meanInterval(waits(4000, rng))!, truth)
    expect(share).toBeGreaterThan(0.85)
    const naive = coverage(
      600,
      rng => {
        const values = waits(4000, rng)
        const centre = mean(values)
        const deviation = Math.sqrt(sum(values.map(v => (v - centre) ** 2)) / (values.length - 1))
        const half = (1.96 * deviation) / Math.sqrt(values.length)
        return { low: centre - half, high: centre + half }
      },
      truth,
    )
    expect(naive).toBeLessThan(0.6)
    expect(varianceInflation(waits(4000, new Rng(seedOf('one'))))!).toBeGreaterThan(2)
    expect(varianceInflation(exponential(4000, new Rng(seedOf('two'))))!).toBeLessThan(2)
  })

  test('p99, of any distribution', () => {
    // Of an exponential, p99 is -ln(0.01).
    for (const n of [400, 2000]) {
      const ranks = percentileIntervalRanks(0.99, n)
      const interval = (rng: Rng) => {
        const sorted = exponential(n, rng).sort()
        return { low: sorted[ranks.low! - 1]!, high: sorted[ranks.high! - 1]! }
      }
      const share = coverage(1500, interval, -Math.log(0.01))
      expect(share).toBeGreaterThan(0.935)
      expect(share).toBeLessThan(0.99)
    }
  })
})
