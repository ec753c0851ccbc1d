import type { RunPlan } from '../results/facts.ts'
import { RECORD, Track } from '../tracing/buffer.ts'
import type { RunTrack } from '../tracing/events.ts'
import type { ProfiledStep } from './schema.ts'

interface Sum {
  calls: number
  ns: number
}

const round = (value: number): number => Number(value.toPrecision(6))

/** What the threads of each step did, from their tracks. */
export function profileSteps(
  plan: Pick<RunPlan, 'steps'>,
  tracks: readonly RunTrack[],
  seconds: number,
): ProfiledStep[] {
  return plan.steps.map(({ kind, name }, step) => {
    const own = tracks.filter(track => track.step === step)
    const sums = new Map<string, Sum>()
    for (const { handle } of own)
      for (const { kind, name, amount, beginNs, endNs } of new Track(handle).records()) {
        // A batch is a span of its own, and each of its requests a visit.
        if (kind !== RECORD.span && !(kind === RECORD.visit && amount <= 1)) continue
        const known = sums.get(name) ?? { calls: 0, ns: 0 }
        sums.set(name, { calls: known.calls + 1, ns: known.ns + endNs - beginNs })
      }
    const what = name ?? kind
    const { calls, ns } = sums.get(what) ?? { calls: 0, ns: 0 }
    sums.delete(what)
    return {
      step,
      kind,
      ...(name !== undefined && { name }),
      threads: own.length,
      calls,
      busy_ms: round(ns / 1e6),
      mean_ms: calls === 0 ? 0 : round(ns / 1e6 / calls),
      share: own.length === 0 ? 0 : round(ns / 1e9 / seconds / own.length),
      parts: [...sums]
        .map(([part, sum]) => ({
          name: part,
          calls: sum.calls,
          total_ms: round(sum.ns / 1e6),
          mean_ms: round(sum.ns / 1e6 / sum.calls),
        }))
        .sort((a, b) => b.total_ms - a.total_ms),
    }
  })
}
