import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { fnv1a64, Rng, seedOf, splitMix64 } from '../src/rng.ts'

const take = <T>(n: number, draw: () => T): T[] => Array.from({ length: n }, draw)
const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

describe('published vectors', () => {
  test('xoshiro128** 1.1 from state 1, 2, 3, 4', () => {
    const rng = new Rng([1, 2, 3, 4])
    expect(take(10, () => rng.uint32())).toEqual([
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
    ])
  })

  test('SplitMix64 from seed 1234567', () => {
    const draw = splitMix64(1234567n)
    expect(take(5, draw)).toEqual([
      6457827717110365317n,
      3203168211198807973n,
      9817491932198370423n,
      4593380528125082431n,
      16408922859458223821n,
    ])
  })

  test('FNV-1a of nothing, "a" and "foobar"', () => {
    expect(['', 'a', 'foobar'].map(fnv1a64)).toEqual([
      0xcbf29ce484222325n,
      0xaf63dc4c8601ec8cn,
      0x85944171f73967e8n,
    ])
  })
})

/** The algorithm in integers of any length, for comparison with the 32-bit arithmetic of Rng. */
function bigXoshiro(state: readonly number[]): () => number {
  const mask = 0xffffffffn
  const rotate = (x: bigint, k: bigint) => ((x << k) | (x >> (32n - k))) & mask
  const s = state.map(word => BigInt(word) & mask)
  return () => {
    const result = (rotate((s[1]! * 5n) & mask, 7n) * 9n) & mask
    const t = (s[1]! << 9n) & mask
    s[2]! ^= s[0]!
    s[3]! ^= s[1]!
    s[1]! ^= s[2]!
    s[0]! ^= s[3]!
    s[2]! ^= t
    s[3] = rotate(s[3]!, 11n)
    return Number(result)
  }
}

test('any state gives what the algorithm gives in big integers', () => {
  const word = fc.integer({ min: -0x80000000, max: 0x7fffffff })
  fc.assert(
    fc.property(fc.tuple(word, word, word, word), state => {
      fc.pre(state.some(part => part !== 0))
      const rng = new Rng(state)
      expect(take(50, () => rng.uint32())).toEqual(take(50, bigXoshiro(state)))
    }),
  )
})

describe('seeds', () => {
  test('the same parts give the same stream, any other parts another', () => {
    const part = fc.oneof(fc.integer(), fc.string({ maxLength: 6 }))
    const parts = fc.array(part, { maxLength: 4 })
    fc.assert(
      fc.property(parts, parts, (one, other) => {
        expect(seedOf(...one)).toEqual(seedOf(...one))
        if (JSON.stringify(one) !== JSON.stringify(other))
          expect(seedOf(...one)).not.toEqual(seedOf(...other))
      }),
    )
  })

  test('borders and types of parts count', () => {
    const seeds = [seedOf('ab', 'c'), seedOf('a', 'bc'), seedOf('abc'), seedOf(1), seedOf('1'), seedOf(1, '')]
    expect(new Set(seeds.map(String)).size).toBe(seeds.length)
  })

  test('streams of neighbouring requests are uncorrelated', () => {
    const n = 4000
    const first = take(n, () => 0).map((_, i) => Rng.of(7, 'clips', i).next())
    const products = first.slice(1).map((x, i) => (x - 0.5) * (first[i]! - 0.5))
    // Under independence the mean of products has deviation (1/12) / sqrt(n).
    expect(Math.abs(mean(products))).toBeLessThan((4 / 12) * n ** -0.5)
  })

  test('a zero state is refused', () => {
    expect(() => new Rng([0, 0, 0, 0])).toThrow(RangeError)
  })
})

describe('distributions', () => {
  const n = 200_000

  test('next is in [0, 1), uniform over 64 bins (chi-squared)', () => {
    const rng = Rng.of(1, 'uniform')
    const bins = new Array<number>(64).fill(0)
    for (let i = 0; i < n; i++) {
      const x = rng.next()
      expect(x >= 0 && x < 1).toBeTrue()
      bins[Math.floor(x * 64)]!++
    }
    const expected = n / 64
    const chi2 = bins.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)
    // 63 degrees of freedom: 0.999 quantile 103.4, 0.001 quantile 32.
    expect(chi2).toBeLessThan(103.4)
    expect(chi2).toBeGreaterThan(32)
  })

  test('next uses all 53 bits', () => {
    const rng = Rng.of(2)
    const odd = take(1000, () => (rng.next() * 2 ** 53) % 2).filter(bit => bit === 1).length
    expect(odd).toBeGreaterThan(400)
    expect(odd).toBeLessThan(600)
  })

  test('int reaches every value of its range and no other, equally often', () => {
    const rng = Rng.of(3)
    const counts = new Array<number>(7).fill(0)
    for (let i = 0; i < 70_000; i++) counts[rng.int(7)]!++
    const chi2 = counts.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0)
    expect(counts).toHaveLength(7)
    expect(chi2).toBeLessThan(22.5) // 0.999 quantile of 6 degrees of freedom
  })

  test('int has no bias where 2^53 is no multiple of n', () => {
    // With n = 3 * 2^51, a plain remainder would give values under 2^51 twice as often as the others.
    const rng = Rng.of(4)
    const third = take(30_000, () => Math.floor(rng.int(3 * 2 ** 51) / 2 ** 51))
    const share = third.filter(part => part === 0).length / third.length
    expect(Math.abs(share - 1 / 3)).toBeLessThan(0.011) // 4 deviations; the biased share is 1/2
  })

  test('int refuses what is no range', () => {
    for (const bad of [0, -1, 1.5, Number.NaN, 2 ** 54]) expect(() => Rng.of(0).int(bad)).toThrow(RangeError)
  })

  test('normal has moments 0, 1, 0, 3', () => {
    const rng = Rng.of(5)
    const values = take(n, () => rng.normal())
    const moment = (k: number) => mean(values.map(x => x ** k))
    // Deviations of the sample moments: sqrt(1, 2, 15, 96) / sqrt(n); within four of them.
    expect(Math.abs(moment(1))).toBeLessThan(4 * Math.sqrt(1 / n))
    expect(Math.abs(moment(2) - 1)).toBeLessThan(4 * Math.sqrt(2 / n))
    expect(Math.abs(moment(3))).toBeLessThan(4 * Math.sqrt(15 / n))
    expect(Math.abs(moment(4) - 3)).toBeLessThan(4 * Math.sqrt(96 / n))
  })

  test('exponential has mean and deviation as asked, and is never negative', () => {
    const rng = Rng.of(6)
    const values = take(n, () => rng.exponential(3))
    expect(Math.min(...values.slice(0, 1000))).toBeGreaterThanOrEqual(0)
    expect(Math.abs(mean(values) - 3)).toBeLessThan((4 * 3) / Math.sqrt(n))
    expect(Math.abs(mean(values.map(x => x * x)) - 18)).toBeLessThan((4 * Math.sqrt(20) * 9) / Math.sqrt(n))
  })

  test('weighted follows its weights and never draws a weight of 0', () => {
    const rng = Rng.of(8)
    const counts = [0, 0, 0]
    for (let i = 0; i < 11_000; i++) counts[rng.weighted([10, 0, 1])]!++
    expect(counts[1]).toBe(0)
    expect(Math.abs(counts[2]! - 1000)).toBeLessThan(4 * Math.sqrt(11_000 * (1 / 11) * (10 / 11)))
  })

  test('permutation holds every index once', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 200 }), fc.integer(), (size, seed) => {
        const order = Rng.of(seed).permutation(size)
        expect([...order].sort((a, b) => a - b)).toEqual(take(size, () => 0).map((_, i) => i))
      }),
    )
  })

  test('all six orders of three are equally likely', () => {
    const counts = new Map<string, number>()
    for (let i = 0; i < 6000; i++) {
      const key = Rng.of(9, i).permutation(3).join('')
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    expect(counts.size).toBe(6)
    const chi2 = [...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0)
    expect(chi2).toBeLessThan(20.5) // 0.999 quantile of 5 degrees of freedom
  })
})
