import type { UsageError } from '../errors.ts'
import type { Config } from './config.ts'

/** The most parts of one request that come to a step, and that leave it to each of its readers. */
export interface Parts {
  arriving: number
  leaving: number
}

/**
 * Follows `num_segments` and `aggregate` through the steps: each request must leave in one part, and parts can meet in
 * one instance only.
 * @param fail makes the error of a message
 */
export function countParts(config: Config, fail: (message: string) => UsageError): Parts[] {
  const counts: Parts[] = []
  config.steps.forEach(({ groups, sources, readers }, s) => {
    const arriving = s === 0 ? 1 : sources.reduce((sum, source) => sum + counts[source]!.leaving, 0)
    const joins = groups.map(group => group.options.aggregate).filter(value => typeof value === 'number')
    const wrong = joins.find(value => value !== arriving)
    if (wrong !== undefined)
      throw fail(
        `pipeline[${s}].aggregate is ${wrong}: must be ${arriving}, the parts of a video that arrive there`,
      )
    const instances = groups.reduce((sum, { gpus }) => sum + gpus.length, 0)
    if (joins.length > 0 && arriving > 1 && instances > 1)
      throw fail(
        `pipeline[${s}] has ${instances} instances: the parts of a video must meet in one; give it one entry of gpus`,
      )
    const leaving = (joins.length > 0 ? 1 : arriving) * Math.max(...groups.map(group => group.segments))
    if (readers.length === 0 && leaving > 1)
      throw fail(
        `num_segments splits each video into ${leaving} parts and no step joins them; add an aggregator`,
      )
    counts.push({ arriving, leaving })
  })
  return counts
}
