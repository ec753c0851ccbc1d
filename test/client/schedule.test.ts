import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { type MmppState, meanIntervalOf, mmppRate, parseArrival } from '../../src/client/arrival.ts'
import { drawSchedule } from '../../src/client/schedule.ts'
import { UsageError } from '../../src/errors.ts'

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

/** On and off with that mean interval while on. */
const bursts = (meanIntervalMs: number): MmppState[] => [
  { ratePerS: 1000 / meanIntervalMs, dwellMs: 3 * meanIntervalMs },
  { ratePerS: 0, dwellMs: 5 * meanIntervalMs },
]

/** Asymptotic critical value of sqrt(n) D at the level 0.001. */
const KS_LIMIT = 1.949

describe('Poisson', () => {
  const draw = (seed: number, videos = 5000, meanIntervalMs = 3) =>
    drawSchedule({ kind: 'poisson', meanIntervalMs }, { videos, seed })

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
    const even = drawSchedule({ kind: 'constant', meanIntervalMs: 3 }, { videos: 5000, seed: 1 })
    const d = kolmogorovSmirnov(gaps(even), x => 1 - Math.exp(-x / (3 * MS)))
    expect(Math.sqrt(even.length) * d).toBeGreaterThan(KS_LIMIT)
  })

  test('given their number, arrival times are uniform (Kolmogorov-Smirnov)', () => {
    const end = { videos: Number.POSITIVE_INFINITY, durationS: 10 }
    const times = drawSchedule({ kind: 'poisson', meanIntervalMs: 2 }, { ...end, seed: 6 })
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
        fc.constantFrom('poisson' as const, 'constant' as const, 'mmpp' as const),
        (seed, meanIntervalMs, videos, durationS, kind) => {
          const arrival =
            kind === 'mmpp' ? { kind, states: bursts(meanIntervalMs) } : { kind, meanIntervalMs }
          const times = drawSchedule(arrival, { videos, durationS, seed })
          const whole = drawSchedule(arrival, { videos, seed })
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
  const times = drawSchedule({ kind: 'constant', meanIntervalMs: 0.1 }, { videos: 100_000, seed: 0 })
  expect(times[0]).toBe(0)
  expect(times.every((time, i) => time === i * 100_000)).toBeTrue()
})

test('in bulk, all arrive at the start', () => {
  const times = drawSchedule({ kind: 'bulk' }, { videos: 5, seed: 0 })
  expect([...times]).toEqual([0, 0, 0, 0, 0])
})

test('a schedule without end or pace is refused', () => {
  const videos = Number.POSITIVE_INFINITY
  expect(() => drawSchedule({ kind: 'constant', meanIntervalMs: 1 }, { videos, seed: 0 })).toThrow(RangeError)
  expect(() => drawSchedule({ kind: 'bulk' }, { videos, durationS: 1, seed: 0 })).toThrow(RangeError)
  for (const meanIntervalMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
    expect(() => drawSchedule({ kind: 'poisson', meanIntervalMs }, { videos: 1, seed: 0 })).toThrow(
      RangeError,
    )
})

/** Counts in windows of that length. */
function countsIn(times: Float64Array, windowMs: number, windows: number): number[] {
  const counts = new Array<number>(windows).fill(0)
  for (const time of times) {
    const window = Math.floor(time / (windowMs * MS))
    if (window < windows) counts[window]!++
  }
  return counts
}

const meanOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length

const dispersion = (counts: readonly number[]): number => {
  const mean = meanOf(counts)
  return meanOf(counts.map(count => (count - mean) ** 2)) / mean
}

/**
 * Variance over mean of the counts of a Markov-modulated Poisson process in windows of `t` ms, by integrating the
 * autocovariance of its rate: Var N(t) = m t + 2 integral over (t - s) Cov(rate(0), rate(s)) ds, where the rates' chain
 * goes round in turn. The chain is followed in small steps of time.
 */
function expectedDispersion(states: readonly MmppState[], t: number): number {
  const total = states.reduce((sum, { dwellMs }) => sum + dwellMs, 0)
  const share = states.map(({ dwellMs }) => dwellMs / total)
  const rate = states.map(({ ratePerS }) => ratePerS / 1000)
  const mean = share.reduce((sum, p, i) => sum + p * rate[i]!, 0)
  const step = Math.min(...states.map(({ dwellMs }) => dwellMs)) / 400
  // Row i: where the chain is, having begun in state i.
  let rows = states.map((_, i) => states.map((__, j) => Number(i === j)))
  let integral = 0
  for (let s = step / 2; s < t; s += step) {
    const covariance = share.reduce(
      (sum, p, i) => sum + p * rate[i]! * rows[i]!.reduce((inner, q, j) => inner + q * rate[j]!, 0),
      -mean * mean,
    )
    integral += (t - s) * covariance * step
    rows = rows.map(row =>
      row.map((q, j) => {
        const before = (j + states.length - 1) % states.length
        return q - (q * step) / states[j]!.dwellMs + (row[before]! * step) / states[before]!.dwellMs
      }),
    )
  }
  return 1 + (2 * integral) / (mean * t)
}

describe('Markov-modulated Poisson', () => {
  const two: MmppState[] = [
    { ratePerS: 100, dwellMs: 90 },
    { ratePerS: 2000, dwellMs: 10 },
  ]
  const three: MmppState[] = [
    { ratePerS: 500, dwellMs: 40 },
    { ratePerS: 0, dwellMs: 20 },
    { ratePerS: 3000, dwellMs: 5 },
  ]
  const windows = 2000

  test('for two states the integral is the closed formula', () => {
    // Fischer and Meier-Hellstern 1993, with rates of leaving 1 / dwell.
    const [a, b] = two as [MmppState, MmppState]
    const [r1, r2] = [1 / a.dwellMs, 1 / b.dwellMs]
    const [l1, l2] = [a.ratePerS / 1000, b.ratePerS / 1000]
    const closed = (t: number) =>
      1 +
      ((2 * (l1 - l2) ** 2 * r1 * r2) / ((r1 + r2) ** 2 * (l1 * r2 + l2 * r1))) *
        (1 - (1 - Math.exp(-(r1 + r2) * t)) / ((r1 + r2) * t))
    for (const t of [1, 10, 100, 1000]) expect(expectedDispersion(two, t)).toBeCloseTo(closed(t), 1)
  })

  test.each([
    ['two', two, 20],
    ['two', two, 200],
    ['three', three, 20],
    ['three', three, 300],
  ] as const)("%s states in windows: mean and dispersion are the formulas'", (_, states, windowMs) => {
    const runs = Array.from({ length: 8 }, (_, seed) => {
      const end = { videos: Number.POSITIVE_INFINITY, durationS: (windows * windowMs) / 1000 }
      return countsIn(drawSchedule({ kind: 'mmpp', states }, { ...end, seed }), windowMs, windows)
    })
    const expected = expectedDispersion(states, windowMs)
    const within = (figures: number[], value: number) => {
      const mean = meanOf(figures)
      const deviation = Math.sqrt(
        figures.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (figures.length - 1) / figures.length,
      )
      // Seven degrees of freedom: beyond five deviations with a probability of 0.0016.
      expect(Math.abs(mean - value)).toBeLessThan(5 * deviation)
      expect(deviation).toBeLessThan(0.05 * value)
    }
    within(runs.map(dispersion), expected)
    within(
      runs.map(counts => (meanOf(counts) / windowMs) * 1000),
      mmppRate(states),
    )
    expect(expected).toBeGreaterThan(2)
  })

  test('it begins anywhere in its states, not in the first', () => {
    const states = [
      { ratePerS: 0, dwellMs: 100 },
      { ratePerS: 1e5, dwellMs: 100 },
    ]
    const firsts = Array.from(
      { length: 400 },
      (_, seed) => drawSchedule({ kind: 'mmpp', states }, { videos: 1, seed })[0]!,
    )
    const inBurst = firsts.filter(time => time < 0.2 * MS).length
    expect(Math.abs(inBurst - 200)).toBeLessThan(4 * Math.sqrt(100))
  })
})

describe('--arrival', () => {
  test('says what it may be', () => {
    expect(parseArrival('poisson', 3)).toEqual({ kind: 'poisson', meanIntervalMs: 3 })
    expect(parseArrival('bulk', 3)).toEqual({ kind: 'bulk' })
    expect(parseArrival('trace:a:b.jsonl', 3)).toEqual({ kind: 'trace', file: 'a:b.jsonl' })
    expect(parseArrival('mmpp:10@900, 2e2@1e2', 3)).toEqual({
      kind: 'mmpp',
      states: [
        { ratePerS: 10, dwellMs: 900 },
        { ratePerS: 200, dwellMs: 100 },
      ],
    })
    const wrong = [
      'sometimes',
      'poisson:3',
      'trace:',
      'trace',
      'mmpp',
      'mmpp:',
      'mmpp:10@900',
      'mmpp:10@900,',
      'mmpp:10@900,20',
      'mmpp:10@900,-1@100',
      'mmpp:10@900,1@0',
      'mmpp:10@900,1@x',
      'mmpp:0@900,0@100',
      'mmpp:10@900,1@1e999',
    ]
    for (const text of wrong) expect(() => parseArrival(text, 3)).toThrow(UsageError)
    expect(() => parseArrival('mmpp:10@900', 3)).toThrow('mmpp:10@900,200@100')
  })

  test('a mean interval is that of the times', () => {
    expect(meanIntervalOf(parseArrival('mmpp:10@900,210@100', 3), new Float64Array())).toBeCloseTo(1000 / 30)
    expect(meanIntervalOf(parseArrival('trace:x', 3), Float64Array.of(5 * MS, 6 * MS, 9 * MS))).toBe(2)
    expect(meanIntervalOf(parseArrival('constant', 7), new Float64Array())).toBe(7)
    expect(meanIntervalOf(parseArrival('bulk', 7), new Float64Array())).toBe(0)
  })
})
