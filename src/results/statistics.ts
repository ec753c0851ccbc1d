import { sampleVariance } from 'simple-statistics'
import type { DistributionValues } from './schema.ts'
import { binomialCdf, studentQuantile } from './special-functions.ts'

/** Of confidence intervals. */
const CONFIDENCE = 0.95
const TAIL = (1 - CONFIDENCE) / 2

/** Batches whose means give the interval of a mean: enough for t, long enough to outlast what correlates them. */
const BATCHES = 30
/** Fewer samples than this are taken one by one. */
const LEAST_FOR_BATCHES = 4 * BATCHES

/** Samples that must lie beyond a percentile before it means anything. */
export const LEAST_BEYOND = 10

/** Rounding of products such as 0.99 * 700 must not move a rank. */
const SLACK = 1e-9

export interface Interval {
  low: number
  high: number
}

/** Sum with Neumaier's compensation: a million latencies lose nothing. */
export function sum(values: ArrayLike<number>): number {
  let total = 0
  let lost = 0
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!
    const next = total + value
    lost += Math.abs(total) >= Math.abs(value) ? total - next + value : value - next + total
    total = next
  }
  return total + lost
}

export const mean = (values: ArrayLike<number>): number => sum(values) / values.length

/** Rank, from 1, of a percentile among n samples: the least with a share of at least p at or below it. */
export const percentileRank = (p: number, n: number): number =>
  Math.min(n, Math.max(1, Math.ceil(p * n - SLACK)))

/** The percentile p (0..1) of ascending samples: one of them (nearest rank). */
export const percentile = (sorted: ArrayLike<number>, p: number): number =>
  sorted[percentileRank(p, sorted.length) - 1]!

/** Means of nearly equal batches of consecutive samples. */
function batchMeans(values: Float64Array): number[] {
  const batches = values.length < LEAST_FOR_BATCHES ? values.length : BATCHES
  return Array.from({ length: batches }, (_, b) =>
    mean(
      values.subarray(
        Math.floor((b * values.length) / batches),
        Math.floor(((b + 1) * values.length) / batches),
      ),
    ),
  )
}

/**
 * 95% confidence interval of the mean of samples in order of time, by Student's t on the means of 30 batches:
 * latencies of neighbours are correlated (they wait in the same queue), and single samples would give
 * too narrow an interval. Fewer than 120 samples are taken one by one. Undefined for fewer than two.
 */
export function meanInterval(values: Float64Array): Interval | undefined {
  if (values.length < 2) return undefined
  const means = batchMeans(values)
  const centre = mean(values)
  const half = studentQuantile(1 - TAIL, means.length - 1) * Math.sqrt(sampleVariance(means) / means.length)
  return { low: centre - half, high: centre + half }
}

/**
 * How many times wider than independent samples the samples make the variance of their mean: 1 if they are
 * independent, about (1 + r) / (1 - r) for an autocorrelation of r. Undefined for too few samples.
 */
export function varianceInflation(values: Float64Array): number | undefined {
  if (values.length < LEAST_FOR_BATCHES) return undefined
  const centre = mean(values)
  const variance = sum(values.map(value => (value - centre) ** 2)) / (values.length - 1)
  if (variance === 0) return undefined
  return (sampleVariance(batchMeans(values)) * (values.length / BATCHES)) / variance
}

/** The least k with P(X <= k) >= probability, for X binomial. */
function binomialQuantile(probability: number, n: number, p: number): number {
  let low = 0
  let high = n
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (binomialCdf(middle, n, p) >= probability) high = middle
    else low = middle + 1
  }
  return low
}

/**
 * Ranks, from 1, of two of n samples between which the percentile p lies with at least 95% confidence, whatever
 * the distribution: the number of samples below it is binomial. A rank is undefined where n is too small.
 */
export function percentileIntervalRanks(p: number, n: number): { low?: number; high?: number } {
  // x(low) <= q unless fewer than `low` samples are at or below q; q < x(high) unless `high` or more are.
  const low = binomialQuantile(TAIL, n, p)
  const high = binomialQuantile(1 - TAIL, n, p) + 1
  return { ...(low >= 1 && { low }), ...(high <= n && { high }) }
}

/** Samples needed before a percentile has LEAST_BEYOND of them beyond it. */
export const samplesNeeded = (p: number): number => Math.ceil(LEAST_BEYOND / (1 - p) - SLACK)

/** Milliseconds, to the nanosecond. */
export const milliseconds = (ns: number): number => Math.round(ns) / 1e6

/**
 * The figures of a distribution; null without samples.
 * @param ns samples in ns, in order of arrival; sorted in place
 * @returns milliseconds
 */
export function distribution(ns: Float64Array): DistributionValues | null {
  if (ns.length === 0) return null
  const interval = meanInterval(ns)
  const centre = milliseconds(mean(ns))
  ns.sort()
  const ranks = percentileIntervalRanks(0.99, ns.length)
  const at = (p: number) => milliseconds(percentile(ns, p))
  const atRank = (rank?: number) => (rank === undefined ? null : milliseconds(ns[rank - 1]!))
  return {
    count: ns.length,
    mean: centre,
    mean_ci95: interval ? [milliseconds(interval.low), milliseconds(interval.high)] : null,
    p50: at(0.5),
    p90: at(0.9),
    p95: at(0.95),
    p99: at(0.99),
    p99_ci95: [atRank(ranks.low), atRank(ranks.high)],
    p99_9: at(0.999),
    max: milliseconds(ns[ns.length - 1]!),
  }
}

const REPORTED = [0.5, 0.9, 0.95, 0.99, 0.999]

/** What limits the use of percentiles of these samples, in sentences. */
export function percentileWarnings(count: number, inflation?: number): string[] {
  const short = REPORTED.filter(p => count < samplesNeeded(p))
  const list = short.map(p => `p${Number((p * 100).toFixed(1))} (${samplesNeeded(p)} needed)`).join(', ')
  const few = `${count} measured ${count === 1 ? 'video is' : 'videos are'} too few for ${list}`
  const warnings = short.length > 0 ? [few] : []
  // With 30 batches, independent samples exceed 2 once in a thousand runs.
  if (inflation !== undefined && inflation > 2)
    warnings.push(
      `latencies follow one another: ${count} of them tell as much of the mean as ${Math.round(count / inflation)} ` +
        'independent ones, and the interval of p99 is too narrow',
    )
  return warnings
}
