import { sampleStandardDeviation } from 'simple-statistics'
import { studentCdf, studentQuantile } from '../../results/special-functions.ts'
import { mean } from '../../results/statistics.ts'

/** How much more one has than another, of pairs measured under the same seed. */
export interface Comparison {
  pairs: number
  mean: number
  /** Chance of such a mean or a higher one if there were no difference; 1 for fewer than two pairs. */
  chance: number
  /** 95 % confidence interval of the mean; undefined for fewer than two pairs. */
  interval?: [number, number]
}

const TAIL = 0.025

/** Student's t test of paired differences, one-sided: whether `a` has more than `b`. */
export function comparePairs(a: readonly number[], b: readonly number[]): Comparison {
  const pairs = Math.min(a.length, b.length)
  const differences = Array.from({ length: pairs }, (_, i) => a[i]! - b[i]!)
  const centre = pairs === 0 ? 0 : mean(differences)
  if (pairs < 2) return { pairs, mean: centre, chance: 1 }
  const error = sampleStandardDeviation(differences) / Math.sqrt(pairs)
  const half = studentQuantile(1 - TAIL, pairs - 1) * error
  const chance = error > 0 ? 1 - studentCdf(centre / error, pairs - 1) : centre > 0 ? 0 : 1
  return { pairs, mean: centre, chance, interval: [centre - half, centre + half] }
}
