import type { TimeCards } from './time-card.ts'

const NS_PER_S = 1e9

/** Some results, and the time that they took. */
export interface Window {
  requests: Uint32Array
  seconds: number
}

/**
 * Results after the warm-up: it ends when as many requests as it has are done, whichever these are. That serves
 * open arrivals and all-at-once alike.
 * @param done completed requests
 */
export function measuringWindow(
  cards: TimeCards,
  done: Uint32Array,
  warmup: number,
  startNs: number,
): Window {
  const finishes = Float64Array.from(done, request => cards.finish(request)).sort()
  const skipped = Math.min(warmup, finishes.length)
  const from = skipped > 0 ? finishes[skipped - 1]! : startNs
  const requests = done.filter(request => cards.finish(request) > from)
  return { requests, seconds: requests.length === 0 ? 0 : (finishes.at(-1)! - from) / NS_PER_S }
}

/** Events per second over the gaps between them; null for fewer than two, and for all at once. */
export function ratePerSecond(timesNs: Float64Array): number | null {
  const span = timesNs.length < 2 ? 0 : timesNs[timesNs.length - 1]! - timesNs[0]!
  return span > 0 ? ((timesNs.length - 1) / span) * NS_PER_S : null
}
