import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { judge, leastRequests } from '../../src/sweep/goal.ts'
import { findMax } from '../../src/sweep/search.ts'

/** P(X = k) of the binomial distribution, from its definition in logarithms. */
function pmf(n: number, p: number): number[] {
  const logFactorial = [0]
  for (let i = 1; i <= n; i++) logFactorial.push(logFactorial[i - 1]! + Math.log(i))
  return Array.from({ length: n + 1 }, (_, k) =>
    Math.exp(
      logFactorial[n]! - logFactorial[k]! - logFactorial[n - k]! + k * Math.log(p) + (n - k) * Math.log1p(-p),
    ),
  )
}

describe('a goal is judged', () => {
  /** Chance of a verdict, where a share of requests takes longer than the goal. */
  const chance = (verdict: string, requests: number, share: number, percentile: number): number =>
    pmf(requests, share).reduce(
      (sum, p, over) => sum + (judge(over, requests, percentile, 3) === verdict ? p : 0),
      0,
    )
  for (const requests of [100, 410, 2000])
    for (const percentile of [0.9, 0.99]) {
      test(`wrongly once in sixty times at most, p${percentile * 100} of ${requests}`, () => {
        expect(chance('met', requests, 1 - percentile, percentile)).toBeLessThanOrEqual(0.05 / 3 + 1e-9)
        expect(chance('missed', requests, 1 - percentile, percentile)).toBeLessThanOrEqual(0.05 / 3 + 1e-9)
      })
    }
  test('rightly where it is clear', () => {
    expect(judge(0, 2000, 0.99, 3)).toBe('met')
    expect(judge(60, 2000, 0.99, 3)).toBe('missed')
    expect(judge(20, 2000, 0.99, 3)).toBe('undecided')
  })
  test('with no fewer requests than can decide it', () => {
    for (const percentile of [0.9, 0.99, 0.999]) {
      const least = leastRequests(percentile, 3)
      expect(judge(0, least, percentile, 3)).toBe('met')
      expect(judge(0, least - 1, percentile, 3)).toBe('undecided')
    }
  })
})

describe('the highest rate', () => {
  const search = (limit: number, confirmationLimit = limit, capacity = 1000) => {
    const probes: number[] = []
    const found = findMax({
      capacity,
      tolerance: 0.05,
      looks: 3,
      probe: async (rate, scale, seed) => {
        if (scale === 1) probes.push(rate)
        const most = seed === 'search' ? limit : confirmationLimit
        // Near the limit it takes more requests to tell.
        if (Math.abs(rate / most - 1) < 0.01 && scale < 4) return 'undecided'
        return rate <= most ? 'met' : 'missed'
      },
    })
    return found.then(result => ({ ...result, probes }))
  }
  test('is the highest step that meets the goal', () =>
    fc.assert(
      fc.asyncProperty(fc.double({ min: 70, max: 999, noNaN: true }), async limit => {
        const { rate, confirmed, probes } = await search(limit)
        expect(confirmed).toBe(true)
        expect(rate!).toBeLessThanOrEqual(limit)
        expect(rate! * 1.05).toBeGreaterThan(limit)
        expect(probes.length).toBeLessThan(20)
      }),
    ))
  test('may be all that there is', async () => expect((await search(2000)).rate).toBe(1000))
  test('gives way to what a second seed meets', async () => {
    const { rate } = await search(500, 400)
    expect(rate!).toBeLessThanOrEqual(400)
    expect(rate! * 1.05).toBeGreaterThan(400)
  })
  test('is none where nothing meets the goal', async () => {
    expect(await search(1)).toMatchObject({ rate: null, confirmed: false })
  })
})
