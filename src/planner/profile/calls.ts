import type { Engine } from './keys.ts'

/** Calls of a step on an engine, by their clips. */
export type Calls = ReadonlyMap<number, { calls: number; ms: number }>

/** Adds up calls. */
export class CallTotals {
  readonly all = new Map<string, Map<number, { calls: number; ms: number }>>()

  /** @param name nothing is added without one */
  add(name: string | undefined, clips: number, ms: number, calls = 1): void {
    if (name === undefined) return
    const sizes = this.all.get(name) ?? new Map<number, { calls: number; ms: number }>()
    this.all.set(name, sizes)
    const known = sizes.get(clips) ?? { calls: 0, ms: 0 }
    sizes.set(clips, { calls: known.calls + calls, ms: known.ms + ms })
  }
}

/** How many times longer calls took in one run than in another, if both had as many of each size: which thread gets a large one is chance. */
export function longerThan(calls: Calls, others: Calls): number {
  let [own, theirs] = [0, 0]
  for (const [clips, { calls: count, ms }] of others) {
    const same = calls.get(clips)
    if (!same) continue
    own += (count * same.ms) / same.calls
    theirs += ms
  }
  return theirs > 0 ? own / theirs : 1
}

/** How many times more work some requests are than others, by their clips and what calls of such took; 1 where that is not known. */
export function largerThan(
  own: readonly number[],
  others: readonly number[],
  calls: Calls = new Map(),
): number {
  const meanMs = (sizes: readonly number[]) => {
    const known = sizes.flatMap(clips => calls.get(clips) ?? [])
    return known.reduce((sum, { calls: count, ms }) => sum + ms / count, 0) / known.length
  }
  const larger = meanMs(own) / meanMs(others)
  return Number.isFinite(larger) ? larger : 1
}

/**
 * A name for a step's calls on an engine; none for those of a network on a GPU, which works at several batches at once: a call is
 * longer than its work.
 */
export const callsOf = (step: number, engine: Engine): string | undefined =>
  step === 0 || engine === 'cpu' ? `step ${step} on ${engine}` : undefined

/** The mean of calls of all sizes, in ms, by their names. */
export const meanCallMs = (calls: ReadonlyMap<string, Calls>): Record<string, number> =>
  Object.fromEntries(
    [...calls].map(([name, sizes]) => {
      const all = [...sizes.values()]
      const count = all.reduce((sum, { calls }) => sum + calls, 0)
      return [name, all.reduce((sum, { ms }) => sum + ms, 0) / count]
    }),
  )
