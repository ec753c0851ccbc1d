import type { Item } from '../queue/item.ts'

/** Chooses the output queue of each item of one instance; an index into its group's `out_queues`. */
export type Selector = (item: Item) => number

/** What a selector may look at. */
export interface SelectorContext {
  /** Number of output queues. */
  queues: number
  /** Items in output queue `index` now. */
  depth(index: number): number
  /** Whether output queue `index` has no room now. */
  full(index: number): boolean
  /** Whether an instance on this one's device takes from output queue `index`. */
  near(index: number): boolean
  options: { clip_threshold?: number }
}

export interface SelectorKind {
  /** This project's name, then RnB's Python class names that mean it. */
  names: readonly [string, ...string[]]
  /** How many queues it chooses among, if that is fixed. */
  queues?: number
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
  queues: 2,
  create({ options }) {
    const threshold = options.clip_threshold ?? 15
    return item => {
      const clips = item.shares.reduce((sum, share) => sum + share.clips, 0)
      return clips >= threshold ? 1 : 0
    }
  },
}

/** Of some queues the one with the fewest items, the first of equals; there must be one. */
function shortestOf(among: readonly number[], depth: (index: number) => number): number {
  let best = among[0]!
  let least = depth(best)
  for (const index of among.slice(1)) {
    const items = depth(index)
    if (items < least) {
      best = index
      least = items
    }
  }
  return best
}

const all = (queues: number): number[] => Array.from({ length: queues }, (_, index) => index)

/** The queue with the fewest items; the first of equals. */
const shortest: SelectorKind = {
  names: ['shortest'],
  create({ queues, depth }) {
    const every = all(queues)
    return () => shortestOf(every, depth)
  },
}

/**
 * The shortest of the queues that instances on the same GPU take from, so that tensors stay there; the shortest of all
 * where there is none, or these are full.
 */
const sameGpu: SelectorKind = {
  names: ['same-gpu'],
  create({ queues, depth, full, near }) {
    const every = all(queues)
    const home = every.filter(near)
    return () => {
      const open = home.filter(index => !full(index))
      return shortestOf(open.length > 0 ? open : every, depth)
    }
  },
}

export const selectorKinds: readonly SelectorKind[] = [roundRobin, largeSmall, shortest, sameGpu]

/** @param name this project's, as a checked configuration has it */
export function selectorOf(name: string, context: SelectorContext): Selector {
  const kind = selectorKinds.find(known => known.names[0] === name)
  if (!kind) throw new RangeError(`no selector is called ${name}`)
  return kind.create(context)
}
