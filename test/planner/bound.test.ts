import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { bottleneck, type Way } from '../../src/planner/bound/bottleneck.ts'
import { solve } from '../../src/planner/bound/simplex.ts'

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((sum, value, i) => sum + value * b[i]!, 0)

describe('the simplex method', () => {
  test('gives an answer that its own prices prove: feasible in both programs, and of one value', () => {
    const number = fc.integer({ min: -4, max: 9 })
    const program = fc.integer({ min: 1, max: 6 }).chain(width =>
      fc.record({
        gain: fc.array(number, { minLength: width, maxLength: width }),
        rows: fc.array(
          fc.tuple(
            fc.array(number, { minLength: width, maxLength: width }),
            // Zeros among the limits make it degenerate.
            fc.integer({ min: 0, max: 5 }),
          ),
          { minLength: 1, maxLength: 7 },
        ),
      }),
    )
    let limited = 0
    fc.assert(
      fc.property(program, ({ gain, rows: pairs }) => {
        const rows = pairs.map(([row]) => row)
        const limits = pairs.map(([, limit]) => limit)
        const { value, x, prices } = solve({ gain, rows, limits })
        if (value === Number.POSITIVE_INFINITY) return
        limited++
        for (const amount of x) expect(amount).toBeGreaterThanOrEqual(-1e-9)
        rows.forEach((row, r) => {
          expect(dot(row, x)).toBeLessThanOrEqual(limits[r]! + 1e-8)
        })
        gain.forEach((g, c) => {
          expect(
            dot(
              rows.map(row => row[c]!),
              prices,
            ),
          ).toBeGreaterThanOrEqual(g - 1e-8)
        })
        expect(dot(gain, x)).toBeCloseTo(value, 7)
        expect(dot(limits, prices)).toBeCloseTo(value, 7)
      }),
      { numRuns: 500 },
    )
    expect(limited).toBeGreaterThan(100)
  })

  test('says so where nothing limits the gain', () => {
    expect(solve({ gain: [1, 1], rows: [[1, 0]], limits: [5] }).value).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('a bottleneck', () => {
  const way = (costs: Way['costs']): Way => ({ name: 'x', costs })

  test('is the resource of which a request takes the longest', () => {
    const steps = [[way({ decoders: 10 })], [way({ compute: 4 })]]
    expect(bottleneck(steps, { decoders: 1, compute: 1 })).toEqual({ perS: 100, shares: { decoders: 1 } })
    expect(bottleneck(steps, { decoders: 7, compute: 1 })).toEqual({ perS: 250, shares: { compute: 1 } })
  })

  test('mixes ways: decoders on a GPU and cores beside them', () => {
    const steps = [[way({ decoders: 10 }), way({ cores: 40 })], [way({ compute: 1 })]]
    // 200/s through two decoders, and 4 cores of 1000 ms give another 100.
    const { perS, shares } = bottleneck(steps, { decoders: 2, cores: 4, compute: 1 })
    expect(perS).toBeCloseTo(300, 9)
    expect(shares.decoders).toBeCloseTo(2 / 3, 9)
    expect(shares.cores).toBeCloseTo(1 / 3, 9)
  })

  test('adds up what several steps take of one resource', () => {
    const steps = [[way({ gpu0: 2 })], [way({ gpu0: 3 }), way({ gpu1: 3 })]]
    // 5 ms of work a request for two GPUs.
    expect(bottleneck(steps, { gpu0: 1, gpu1: 1 }).perS).toBeCloseTo(400, 9)
  })

  test('is nowhere where nothing costs anything', () => {
    expect(bottleneck([[way({})], [way({ a: 0 })]], { a: 1 }).perS).toBe(Number.POSITIVE_INFINITY)
  })

  test('is as high as any mix of ways can reach, and no higher', () => {
    const cost = fc.integer({ min: 1, max: 9 })
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.record({ a: cost, b: cost, c: cost }), { minLength: 1, maxLength: 3 }), {
          minLength: 1,
          maxLength: 3,
        }),
        fc.record({ a: cost, b: cost, c: cost }),
        fc.nat(),
        (costs, servers, seed) => {
          const { perS } = bottleneck(
            costs.map(step => step.map(way)),
            servers,
          )
          // Any mix at all: shares of each step's ways by a counter.
          let turn = seed
          const load = { a: 0, b: 0, c: 0 }
          for (const step of costs) {
            const weights = step.map(() => {
              turn = (turn * 7 + 3) % 11
              return turn + 0.5
            })
            const all = weights.reduce((sum, weight) => sum + weight, 0)
            step.forEach((ways, w) => {
              for (const name of ['a', 'b', 'c'] as const) load[name] += (ways[name] * weights[w]!) / all
            })
          }
          const reached = Math.min(
            ...(['a', 'b', 'c'] as const).map(name => (1000 * servers[name]) / load[name]),
          )
          expect(reached).toBeLessThanOrEqual(perS * (1 + 1e-9))
        },
      ),
    )
  })
})
