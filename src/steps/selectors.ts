import type { Item } from '../queue/item.ts'

/** Chooses the output queue of each item of one instance; an index into its group's `out_queues`. */
export type Selector = (item: Item) => number

/** What a selector may look at. */
export interface SelectorContext {
  /** Number of output queues. */
  queues: number
  /** Items in output queue `index` now. */
  depth(index: number): number
  options: { clip_threshold?: number }
}

export interface SelectorKind {
  /** This project's name, then RnB's Python class names that mean it. */
  names: readonly [string, ...string[]]
  create(context: SelectorContext): Selector
}

/** RnB's: each queue in turn, the second one first. */
const roundRobin: SelectorKind = {
  names: ['round-robin', 'selector.RoundRobinSelector', 'RoundRobinSelector'],
  create({ queues }) {
    let turn = 0
    return () => {
      turn = (turn + 1) % queues
      return turn
    }
  },
}

/** RnB's rule for two queues: items of `clip_threshold` (15) clips or more to the second, others to the first. */
const largeSmall: SelectorKind = {
  names: ['large-small', 'models.r2p1d.model.LargeSmallSelector', 'LargeSmallSelector'],
  create({ queues, options }) {
    const threshold = options.clip_threshold ?? 15
    return item => {
      const clips = item.shares.reduce((sum, share) => sum + share.clips, 0)
      return clips >= threshold ? Math.min(1, queues - 1) : 0
    }
  },
}

/** The queue with the fewest items; the first of equals. */
const shortest: SelectorKind = {
  names: ['shortest'],
  create({ queues, depth }) {
    return () => {
      let best = 0
      for (let i = 1; i < queues; i++) if (depth(i) < depth(best)) best = i
      return best
    }
  },
}

export const selectorKinds: readonly SelectorKind[] = [roundRobin, largeSmall, shortest]

/** @param name this project's, as a checked configuration has it */
export function selectorOf(name: string, context: SelectorContext): Selector {
  const kind = selectorKinds.find(known => known.names[0] === name)
  if (!kind) throw new RangeError(`no selector is called ${name}`)
  return kind.create(context)
}
