import { solve } from './simplex.ts'

/** A way in which a step's calls may be served. */
export interface Way {
  /** What it is called, for people. */
  name: string
  /** Milliseconds of one server of each resource, for each request. */
  costs: Readonly<Record<string, number>>
}

/** What the rate of a pipeline is limited by. */
export interface Bottleneck {
  /** Requests a second that nothing here can exceed. Infinity where nothing costs anything. */
  perS: number
  /**
   * By resource, for those that the limit is made of: by which share it would grow if there were a share more of
   * this one. They come to 1.
   */
  shares: Record<string, number>
}

/**
 * The highest rate at which the steps' ways, in the best mix, ask no resource for more than it has.
 * @param steps for each step, the ways that its calls may take
 * @param servers of each resource
 */
export function bottleneck(
  steps: readonly (readonly Way[])[],
  servers: Readonly<Record<string, number>>,
): Bottleneck {
  const names = Object.keys(servers)
  const ways = steps.flatMap((own, step) => own.map(({ costs }) => ({ step, costs })))
  // Requests a second: of all, then those that take each way.
  const perStep = steps.map((_, step) => [1, ...ways.map(way => (way.step === step ? -1 : 0))])
  const perResource = names.map(name => [0, ...ways.map(({ costs }) => costs[name] ?? 0)])
  const { prices } = solve({
    gain: [1, ...ways.map(() => 0)],
    rows: [...perStep, ...perResource],
    limits: [...steps.map(() => 0), ...names.map(name => 1000 * servers[name]!)],
  })
  return certified(steps, servers, names, prices.subarray(steps.length))
}

/**
 * The limit that any prices of the resources prove: a request pays at least the cheapest way of each step, and more
 * than all resources are worth cannot be paid. So a wrong price can make the limit too high, and never too low.
 */
function certified(
  steps: readonly (readonly Way[])[],
  servers: Readonly<Record<string, number>>,
  names: readonly string[],
  prices: Float64Array,
): Bottleneck {
  const worth = names.map((name, r) => 1000 * servers[name]! * prices[r]!)
  const all = worth.reduce((sum, value) => sum + value, 0)
  const paid = steps.reduce((sum, own) => {
    const cheapest = Math.min(
      ...own.map(({ costs }) => names.reduce((total, name, r) => total + (costs[name] ?? 0) * prices[r]!, 0)),
    )
    return sum + cheapest
  }, 0)
  if (!(paid > 0)) return { perS: Number.POSITIVE_INFINITY, shares: {} }
  const shares = names.flatMap((name, r) => (worth[r]! > 0 ? [[name, worth[r]! / all] as const] : []))
  return { perS: all / paid, shares: Object.fromEntries(shares) }
}
