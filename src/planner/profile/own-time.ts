import { readFileSync } from 'node:fs'
import * as v from 'valibot'

const eventSchema = v.object({
  traceEvents: v.array(
    v.object({
      name: v.string(),
      ph: v.string(),
      cat: v.optional(v.string()),
      dur: v.optional(v.number()),
      args: v.optional(v.looseObject({ request: v.optional(v.number()), amount: v.optional(v.number()) })),
    }),
  ),
})

/**
 * What a step's thread did for a call before it turned to the next, in ms: the median of a run's trace.
 * @param what the step's name, or its kind
 * @returns undefined if the trace has no call of it
 */
export function ownMsOf(tracePath: string, what: string): number | undefined {
  const { traceEvents } = v.parse(
    v.pipe(v.string(), v.parseJson(), eventSchema),
    readFileSync(tracePath, 'utf8'),
  )
  const times = traceEvents
    .filter(
      ({ ph, cat, name, args }) => ph === 'X' && cat === 'work' && name === what && (args?.amount ?? 0) >= 1,
    )
    .flatMap(({ dur }) => (dur === undefined ? [] : [dur / 1000]))
    .sort((a, b) => a - b)
  return times[times.length >> 1]
}
