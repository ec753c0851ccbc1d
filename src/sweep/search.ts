import type { Verdict } from './goal.ts'

/** How a search for the highest rate ended. */
export interface Found {
  /** Requests per second; null if no rate that was tried meets the goal. */
  readonly rate: number | null
  /** Whether another seed agreed. */
  readonly confirmed: boolean
}

export interface SearchOptions {
  /** A rate that the pipeline cannot exceed, in requests per second. */
  readonly capacity: number
  /** Steps between rates, as a share of a rate: how exactly the highest one is found. */
  readonly tolerance: number
  /** Looks at one rate, with twice as many requests each time. */
  readonly looks: number
  /** Runs at a rate. @param scale - how many times the least number of requests */
  readonly probe: (rate: number, scale: number, seed: 'search' | 'confirmation') => Promise<Verdict>
}

/** Rates below the capacity's share of one in this many are not tried. */
const LOWEST = 16

/**
 * Looks for the highest rate that meets a goal, among the capacity and its steps downward: first in strides that double,
 * then by halving what is between a rate that misses and one that meets. It takes for granted that a lower rate does not miss what a
 * higher one meets. The winner has to meet the goal with another seed too, else the next lower rate is asked.
 */
export async function findMax({ capacity, tolerance, looks, probe }: SearchOptions): Promise<Found> {
  const rateOf = (step: number): number => capacity / (1 + tolerance) ** step
  const last = Math.ceil(Math.log(LOWEST) / Math.log(1 + tolerance))
  const meets = async (step: number, seed: 'search' | 'confirmation'): Promise<boolean> => {
    for (let look = 0; look < looks; look++) {
      const verdict = await probe(rateOf(step), 2 ** look, seed)
      if (verdict !== 'undecided') return verdict === 'met'
    }
    // Still in between after the last look: not shown to meet it.
    return false
  }
  let missing = -1
  let meeting = 0
  for (let stride = 1; !(await meets(meeting, 'search')); stride *= 2) {
    if (meeting === last) return { rate: null, confirmed: false }
    missing = meeting
    meeting = Math.min(last, meeting + stride)
  }
  while (meeting - missing > 1) {
    const middle = Math.floor((missing + meeting) / 2)
    if (await meets(middle, 'search')) meeting = middle
    else missing = middle
  }
  for (; meeting <= last; meeting++)
    if (await meets(meeting, 'confirmation')) return { rate: rateOf(meeting), confirmed: true }
  return { rate: null, confirmed: false }
}
