import type { SummaryLine } from '../results/schema.ts'
import { binomialCdf } from '../results/special-functions.ts'

/** Chance of a wrong answer that all looks at one rate may have together. */
const RISK = 0.05

/** What a run says of a latency goal. */
export type Verdict = 'met' | 'missed' | 'undecided'

/**
 * Whether a percentile is within a goal, from how many of a run's requests took longer. Their number is binomial if
 * latencies are independent; the answer is given once the chance that it is wrong is small, as MLPerf's LoadGen stops
 * early. Neighbouring latencies are correlated, which makes the chance larger than stated: hence a confirmation.
 * @param over - requests that took longer than the goal, or have no result
 * @param percentile - 0..1: at most a share of 1 - percentile may take longer
 * @param looks - how many times a rate may be judged, with more requests each time
 */
export function judge(over: number, requests: number, percentile: number, looks: number): Verdict {
  const share = 1 - percentile
  const risk = RISK / looks
  // So few would be rare if the share were just too large; so many, if it were just small enough.
  if (binomialCdf(over, requests, share) <= risk) return 'met'
  if (1 - binomialCdf(over - 1, requests, share) <= risk) return 'missed'
  return 'undecided'
}

/** The same for a run: one that could not carry its load has missed the goal. */
export function judgeRun({ exit, goodput }: SummaryLine, percentile: number, looks: number): Verdict {
  if (exit.status !== 0 || !goodput || !goodput.fraction) return 'missed'
  const requests = Math.round(goodput.within / goodput.fraction)
  return judge(requests - goodput.within, requests, percentile, looks)
}

/** Requests that a goal can be met with, if none takes longer. */
export function leastRequests(percentile: number, looks: number): number {
  return Math.ceil(Math.log(RISK / looks) / Math.log(percentile))
}
