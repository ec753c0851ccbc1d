import { decodingOf } from '../describe.ts'
import type { Arrangement } from '../types.ts'

/**
 * Places of the plans that run for real, in the order in which they do: the best of each way to decode, as predictions of one way err alike; then others.
 * @param plans the best first
 */
export function entrantsOf(plans: readonly { arrangement: Arrangement }[], most: number): number[] {
  const seen = new Set<string>()
  const first: number[] = []
  const others: number[] = []
  for (const [place, { arrangement }] of plans.entries()) {
    const way = decodingOf(arrangement)
    ;(seen.has(way) ? others : first).push(place)
    seen.add(way)
  }
  return [...first, ...others].slice(0, most)
}
