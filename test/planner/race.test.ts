import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { comparePairs } from '../../src/planner/proof/paired.ts'
import { race } from '../../src/planner/proof/race.ts'
import { Rng } from '../../src/rng.ts'

/** Roughly normal, with a deviation of 1. */
const noise = (rng: Rng): number =>
  Array.from({ length: 12 }, () => rng.next()).reduce((sum, x) => sum + x, -6)

describe('a comparison of pairs', () => {
  test('is the textbook one', () => {
    // Gosset's own example: hours of sleep gained by two drugs, t = 4.06 with 9 degrees of freedom.
    const laevo = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    const dextro = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2]
    const { mean, chance, interval } = comparePairs(laevo, dextro)
    expect(mean).toBeCloseTo(1.58, 10)
    expect(chance).toBeCloseTo(0.00142, 5)
    expect(interval![0]).toBeCloseTo(0.7001, 4)
    expect(interval![1]).toBeCloseTo(2.4599, 4)
  })

  test('says nothing of a single pair', () => {
    expect(comparePairs([3], [1])).toEqual({ pairs: 1, mean: 2, chance: 1 })
  })
})

describe('a race', () => {
  test('drops halves, and ends when the test is sure: though all rounds differ more than the runners do', async () => {
    const runs: string[] = []
    const { winner, verdict, values, left, nearest } = await race({
      runners: 6,
      rounds: 12,
      tolerance: 0,
      async run(runner, round) {
        runs.push(`${round}:${runner}`)
        const common = 20 * noise(Rng.of(1, 'round', round))
        return (
          100 +
          common +
          (runner === 3 ? 4 : runner === 5 ? 1 : -runner) +
          0.3 * noise(Rng.of(1, round, runner))
        )
      },
    })
    expect(winner).toBe(3)
    expect(verdict).toBe('better')
    expect(nearest?.runner).toBe(5)
    expect(values.map(own => own.length).sort()).toEqual(
      [1, 1, 1, 2, values[5]!.length, values[3]!.length].sort(),
    )
    expect(left[3]).toBeUndefined()
    expect(left[5]?.reason).toBe('test')
    expect(left.filter(gone => gone?.reason === 'worse half')).toHaveLength(4)
    expect(runs.slice(0, 6)).toEqual(['0:0', '0:1', '0:2', '0:3', '0:4', '0:5'])
  })

  test('stops where no difference matters', async () => {
    const end = await race({
      runners: 2,
      rounds: 20,
      tolerance: 0.02,
      run: async (runner, round) => 100 + 5 * noise(Rng.of(2, round)) + 0.2 * noise(Rng.of(2, round, runner)),
    })
    expect(end.verdict).toBe('alike')
    expect(end.values[0]!.length).toBeLessThan(20)
  })

  test('seldom says better of two that are the same', async () => {
    let wrong = 0
    const races = 400
    for (let seed = 0; seed < races; seed++) {
      const end = await race({
        runners: 2,
        rounds: 8,
        tolerance: 0,
        run: async (runner, round) => 100 + noise(Rng.of(seed, round, runner)),
      })
      if (end.verdict === 'better') wrong++
    }
    // Either may lead: twice the one-sided risk at most. Binomial: more than 60 of 400 at 0.1 is less likely than 1 in 1000.
    expect(wrong).toBeLessThan(60)
  })

  test('goes on without who fails, and ends with what it has when time is up', async () => {
    let calls = 0
    const end = await race({
      runners: 3,
      rounds: 9,
      tolerance: 0,
      goOn: () => calls < 6,
      async run(runner, round) {
        calls++
        return runner === 0 ? undefined : runner + noise(Rng.of(3, round))
      },
    })
    expect(end.left[0]).toEqual({ round: 0, reason: 'failed' })
    expect(end.verdict).toBe('stopped')
    expect(end.winner).toBe(2)
    // The sixth run began a round that was not finished.
    expect(end.values.map(own => own.length)).toEqual([0, 2, 2])
    const short = await race({ runners: 3, rounds: 3, tolerance: 0, goOn: () => false, run: async () => 7 })
    expect(short).toMatchObject({ winner: 0, verdict: 'stopped', values: [[7], [], []] })
    expect(short.left[1]).toEqual({ round: 0, reason: 'time' })
    const none = await race({ runners: 2, rounds: 3, tolerance: 0, run: async () => undefined })
    expect(none.winner).toBeUndefined()
    expect(none.verdict).toBe('alone')
  })

  test('always names one of those with the highest mean of who stayed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 5, maxLength: 5 }), {
          minLength: 1,
          maxLength: 6,
        }),
        async table => {
          const end = await race({
            runners: table.length,
            rounds: 5,
            tolerance: 0,
            run: async (runner, round) => table[runner]![round]!,
          })
          const means = end.values.map(own => own.reduce((sum, x) => sum + x, 0) / own.length)
          const staying = means.filter((_, runner) => !end.left[runner])
          expect(means[end.winner!]!).toBeCloseTo(Math.max(...staying), 12)
        },
      ),
    )
  })
})
