import { mean } from '../../results/statistics.ts'
import { type Comparison, comparePairs } from './paired.ts'

export interface RaceOptions {
  /** The best of them first, as far as that is known. */
  runners: number
  /** Runs one under the seed of a round, and says how good it was: more is better. Undefined if it gave no figure. */
  run(runner: number, round: number): Promise<number | undefined>
  rounds: number
  /** Differences below this share of the winner's mean are none that matter. */
  tolerance: number
  /** Whether to go on, asked before each run. */
  goOn?(): boolean
}

export interface RaceEnd {
  /** Undefined if none gave a figure. */
  winner?: number
  /** By runner: what it came to in each round that it took part in. */
  values: number[][]
  /** By runner: the round after which it was left out, and why. */
  left: ({ round: number; reason: 'failed' | 'worse half' | 'test' | 'time' } | undefined)[]
  /**
   * Why it ended: the winner is better than each that was left by the test; or no difference matters; or the rounds or
   * the time ran out.
   */
  verdict: 'better' | 'alike' | 'undecided' | 'stopped' | 'alone'
  /** The winner and the one that came nearest to it at the end. */
  nearest?: { runner: number; comparison: Comparison }
}

/** Chance of a wrong answer that all looks at all pairs may have together. */
export const RISK = 0.05
/** So many pairs before the test is asked. */
const LEAST_PAIRS = 3

/**
 * Lets runners race in rounds, each under one seed for all: what one round brings to all alike is no difference between
 * them. After each, the worse half goes (successive halving) while more than two are left, and whoever is
 * worse by a paired t test at any time; the last two go on until the test says which is better, or that it does not matter.
 */
export async function race(options: RaceOptions): Promise<RaceEnd> {
  return await new Race(options).run()
}

class Race {
  readonly #values: number[][]
  readonly #left: RaceEnd['left']

  constructor(readonly options: RaceOptions) {
    this.#values = Array.from({ length: options.runners }, () => [])
    this.#left = Array.from({ length: options.runners }, () => undefined)
  }

  async run(): Promise<RaceEnd> {
    for (let round = 0; round < this.options.rounds; round++) {
      if (!(await this.#round(round))) return this.#end('stopped')
      const verdict = this.#judge(round)
      if (verdict) return this.#end(verdict)
    }
    return this.#end('undecided')
  }

  get #staying(): number[] {
    return this.#left.flatMap((left, runner) => (left ? [] : [runner]))
  }

  /** @returns false if there is no more time */
  async #round(round: number): Promise<boolean> {
    const staying = this.#staying
    for (const [place, runner] of staying.entries()) {
      // The first of all runs whatever the time: else nothing would be known.
      if ((round > 0 || place > 0) && this.options.goOn?.() === false) {
        this.#breakOff(round, staying.slice(place))
        return false
      }
      const value = await this.options.run(runner, round)
      if (value === undefined) this.#left[runner] = { round, reason: 'failed' }
      else this.#values[runner]!.push(value)
    }
    return true
  }

  /** Values of a round count for all or for none, as they are compared in pairs; of the first, for those who ran. */
  #breakOff(round: number, missing: readonly number[]): void {
    if (round === 0) for (const runner of missing) this.#left[runner] = { round, reason: 'time' }
    else for (const values of this.#values) if (values.length > round) values.pop()
  }

  /** Runners by what they came to, the best first; of equals, who was thought better before. */
  #ranked(): number[] {
    return this.#staying.sort((a, b) => mean(this.#values[b]!) - mean(this.#values[a]!) || a - b)
  }

  #judge(round: number): RaceEnd['verdict'] | undefined {
    const ranked = this.#ranked()
    const [leader, ...others] = ranked
    if (leader === undefined || others.length === 0) return 'alone'
    const looks = Math.max(1, this.options.rounds - LEAST_PAIRS + 1) * (this.options.runners - 1)
    const worse = others.filter(other => {
      const { pairs, chance } = this.#compare(leader, other)
      return pairs >= LEAST_PAIRS && chance <= RISK / looks
    })
    for (const runner of worse) this.#left[runner] = { round, reason: 'test' }
    if (worse.length === others.length) return 'better'
    if (others.length > 1) {
      const kept = new Set(ranked.slice(0, Math.max(2, Math.ceil(ranked.length / 2))))
      for (const runner of this.#staying)
        if (!kept.has(runner)) this.#left[runner] = { round, reason: 'worse half' }
    }
    const matters = this.#staying.some(other => other !== leader && !this.#alike(leader, other))
    return matters ? undefined : 'alike'
  }

  #compare(leader: number, other: number): Comparison {
    return comparePairs(this.#values[leader]!, this.#values[other]!)
  }

  #alike(leader: number, other: number): boolean {
    const { pairs, interval } = this.#compare(leader, other)
    const small = this.options.tolerance * Math.abs(mean(this.#values[leader]!))
    return pairs >= LEAST_PAIRS && interval !== undefined && Math.max(-interval[0], interval[1]) <= small
  }

  #end(verdict: RaceEnd['verdict']): RaceEnd {
    const measured = this.#staying.filter(runner => this.#values[runner]!.length > 0)
    const winner = measured.sort((a, b) => mean(this.#values[b]!) - mean(this.#values[a]!) || a - b)[0]
    const base = { values: this.#values, left: this.#left, verdict }
    if (winner === undefined) return base
    // Who stayed longest came nearest.
    const rivals = this.#values
      .map((values, runner) => ({ runner, values }))
      .filter(({ runner, values }) => runner !== winner && values.length > 0)
      .sort((a, b) => b.values.length - a.values.length || mean(b.values) - mean(a.values))
    const nearest = rivals[0]?.runner
    return {
      ...base,
      winner,
      ...(nearest !== undefined && {
        nearest: { runner: nearest, comparison: this.#compare(winner, nearest) },
      }),
    }
  }
}
