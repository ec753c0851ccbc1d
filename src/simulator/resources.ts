import { type Body, type Clock, Waiters, type Wake } from './clock.ts'
import { EventHeap } from './events.ts'

/** How a call is served where servers are shared. */
export interface Share {
  /** Servers that it keeps busy at once, where there are as many: 1. */
  width?: number | undefined
  /** It has little of what others want too: decoders on the host, which are nicer than the rest (`giveWay` in ffi/libc.ts). */
  yields?: boolean | undefined
  cold?: Cold | undefined
  /** Where its thread works meanwhile: that share of the call is work there, and as slow as calls are there. */
  on?: { resource: Resource; share: number } | undefined
}

/** A call of one of so many threads takes so many times longer where none of the others is at work: caches hold what others needed. */
export interface Cold {
  threads: number
  longer: number
}

/** What calls of several instances share: a GPU's compute, its decoders, the host's cores. */
export interface Resource {
  /** Takes as long as `ns` take here that would, alone, keep its servers busy. Where servers are not shared, `share` has no meaning. */
  use(ns: number, share?: Share): Body
  /** Keeps so many servers busy, where they are shared, until what is returned is called: others have the less. */
  hold?(width: number): () => void
  /** How many times longer than alone a call takes as things are, where servers are shared; of one that does not yield. */
  readonly slowness?: number
  /** Who wants to hear of each change of that. */
  follow?(changed: () => void): void
}

/** So many servers, each of which finishes what it began; who comes first is served first. */
export class FifoServers implements Resource {
  #idle: number
  readonly #waiting: Waiters

  constructor(
    readonly clock: Clock,
    servers: number,
  ) {
    this.#idle = servers
    this.#waiting = new Waiters(clock)
  }

  *use(ns: number): Body {
    if (this.#idle > 0) this.#idle--
    else {
      // Whoever wakes it leaves it the server: nobody comes between.
      this.#waiting.join()
      yield
    }
    yield* this.clock.sleepUntil(this.clock.now + ns)
    if (!this.#waiting.wakeOne()) this.#idle++
  }
}

/** A call that is being served, by so many servers where there are enough. */
interface Sharer extends Wake {
  readonly width: number
}

/**
 * How many times longer calls take than if each had all the servers that it wants.
 * @param wanted widths of all calls, `wide` of them of more than one server
 * @param straggling times longer yet, where a wide call does not get what it wants: its threads wait for each other
 */
export const slownessOf = (servers: number, wanted: number, wide: number, straggling = 1): number =>
  Math.max(1, pressure(servers, wanted, wide, straggling))

/** The same, and less than 1 while there are servers to spare. */
const pressure = (servers: number, wanted: number, wide: number, straggling: number): number =>
  (wanted / servers) * (wide > 0 && wanted > servers ? straggling : 1)

/**
 * The larger of two numbers, and more than that where they are close: their norm of that order.
 * @param order of 1 their sum, of Infinity the larger
 */
export function softMax(a: number, b: number, order: number): number {
  const [less, more] = a < b ? [a, b] : [b, a]
  return order === Number.POSITIVE_INFINITY ? more : more * (1 + (less / more) ** order) ** (1 / order)
}

/**
 * How many times longer a call takes beside so many others. It is with the logarithm of how rarely a thread has its turn: of four threads of
 * which two are at work as of two that take turns.
 */
const coldOf = ({ threads, longer }: Cold, others: number): number =>
  others >= threads - 1 ? 1 : 1 + ((longer - 1) * Math.log(threads / (others + 1))) / Math.log(threads)

/** What a call that yields has of a server for each that one beside it has: 110 to 1024, Linux' weights of niceness 10 and 0 (sched_prio_to_weight, kernel/sched/core.c). */
const YIELDING = 110 / 1024

/** Calls that are served alike. */
class ServiceClass {
  /** Widths of all of them. */
  wanted = 0
  /** Calls of more than one server. */
  wide = 0
  /** Work that each call has had since the start, in ns: a call is done when this has grown by its own work. */
  served = 0
  readonly ends = new EventHeap<Sharer>()
  /** How much longer they take than alone, since the last change. */
  slowness = 1

  constructor(readonly share: Pick<Share, 'yields' | 'cold' | 'on'>) {}
}

/** Widths of calls that do not yield, with what is held, and of those that do. */
interface Wanted {
  usual: number
  yielding: number
}

export interface SharedOptions {
  servers: number
  /** How many times longer yet calls of several threads take where they do not get what they want (1). */
  straggling?: number | undefined
  /** Logical processors, of which two may be less than two servers: while there is one for each call, none has to yield (`servers`). */
  processors?: number | undefined
  /** What each call adds to the time of others, while there are servers to spare (0): they share caches, memory and clocks. */
  friction?: number | undefined
  /**
   * How suddenly calls disturb each other where they come to want all servers: a call takes the `softMax` of that order (Infinity)
   * of what it takes by itself and of what its part of the servers allows. One that is work of its thread and of the servers, piece by
   * piece, is as slow as the slower of both, and slower yet where these are alike.
   */
  sharpness?: number | undefined
}

/**
 * So many servers that all calls share evenly, but for those that yield: each gets its width at most (threads that it has, one), and
 * less where all widths come to more. There may be a fraction of a server: two threads of a core are more than one and less than two.
 */
export class SharedServers implements Resource {
  readonly #classes: ServiceClass[] = []
  /** Servers that are held. */
  #held = 0
  #since = 0
  #minded = false
  readonly #changed: Waiters
  readonly #followers: (() => void)[] = []
  /** Kept while anybody follows it. */
  slowness = 1

  constructor(
    readonly clock: Clock,
    readonly options: SharedOptions,
  ) {
    this.#changed = new Waiters(clock)
  }

  *use(ns: number, { width = 1, yields = false, cold, on }: Share = {}): Body {
    if (ns === 0) return
    this.#advance()
    const own = this.#classOf(yields, cold, on)
    own.wanted += width
    if (width > 1) own.wide++
    own.ends.push(own.served + ns, { ...this.clock.suspension(), width })
    this.#adapt()
    if (this.#minded) this.#changed.wakeOne()
    else this.clock.start(this.#mind())
    this.#minded = true
    yield
  }

  #classOf(yields: boolean, cold: Cold | undefined, on: Share['on']): ServiceClass {
    const known = this.#classes.find(
      ({ share }) =>
        share.yields === yields &&
        share.cold?.threads === cold?.threads &&
        share.cold?.longer === cold?.longer &&
        share.on?.resource === on?.resource &&
        share.on?.share === on?.share,
    )
    if (known) return known
    const own = new ServiceClass({ yields, cold, on })
    if (on && !this.#classes.some(({ share }) => share.on?.resource === on.resource))
      on.resource.follow?.(() => this.#change(0))
    this.#classes.push(own)
    return own
  }

  hold(width: number): () => void {
    this.#change(width)
    return () => this.#change(-width)
  }

  /** More is held than before, or its calls' threads are not as slow as before. */
  #change(held: number): void {
    this.#advance()
    this.#held += held
    this.#adapt()
    if (this.#minded) this.#changed.wakeOne()
  }

  /** Calls have had what they got since the last change. */
  #advance(): void {
    const { now } = this.clock
    for (const own of this.#classes) if (own.ends.size > 0) own.served += (now - this.#since) / own.slowness
    this.#since = now
  }

  /** Sees how slow calls are from now on. */
  #adapt(): void {
    const { sharpness = Number.POSITIVE_INFINITY, friction = 0 } = this.options
    const wanted = this.#wanted()
    const others = Math.max(0, wanted.usual - 1)
    for (const own of this.#classes) {
      if (own.ends.size === 0) continue
      const { yields = false, cold, on } = own.share
      const hindered = on ? 1 + on.share * ((on.resource.slowness ?? 1) - 1) : 1
      const alone = (cold ? coldOf(cold, others) : 1) * (1 + friction * others) * hindered
      own.slowness = softMax(alone, this.#slowed(wanted, yields, own.wide), sharpness)
    }
    if (this.#followers.length > 0) this.#tell(wanted)
  }

  #tell(wanted: Wanted): void {
    const before = this.slowness
    this.slowness = Math.max(1, this.#slowed(wanted, false, 0))
    if (this.slowness !== before) for (const changed of this.#followers) changed()
  }

  follow(changed: () => void): void {
    this.#followers.push(changed)
    this.#tell(this.#wanted())
  }

  #wanted(): Wanted {
    const all = { usual: this.#held, yielding: 0 }
    for (const { wanted, share } of this.#classes) all[share.yields ? 'yielding' : 'usual'] += wanted
    return all
  }

  /** How much longer calls take here than if they had all servers. @param wide calls of more than one server */
  #slowed({ usual, yielding }: Wanted, yields: boolean, wide: number): number {
    const { servers, straggling = 1, processors = servers } = this.options
    const wanted = usual + yielding
    const evenly = pressure(servers, wanted, wide, straggling)
    if (wanted <= processors || yielding === 0 || usual === 0) return evenly
    // Processors that those have who do not yield, as the others have little of each.
    const theirs = Math.min(usual, (processors * usual) / (usual + YIELDING * yielding))
    const each = yields ? (processors - theirs) / yielding : theirs / usual
    return (evenly * processors) / wanted / each
  }

  /** While there are calls: wakes each when it is done, however often others come between. */
  *#mind(): Body {
    for (;;) {
      const next = this.#next()
      if (!next) break
      const { own, due } = next
      const end = own.ends.nextTime
      this.#changed.join(due)
      yield
      this.#advance()
      if (this.clock.now < due) continue
      // Rounding must not keep a call here whose time has come.
      own.served = Math.max(own.served, end)
      const done = own.ends.pop()
      own.wanted -= done.width
      if (done.width > 1) own.wide--
      // What rounding left of fractions.
      if (own.ends.size === 0) own.wanted = 0
      this.#adapt()
      this.clock.wake(done)
    }
    this.#minded = false
  }

  /** The call that is done first as things are; undefined if there is none. */
  #next(): { own: ServiceClass; due: number } | undefined {
    let first: { own: ServiceClass; due: number } | undefined
    for (const own of this.#classes) {
      if (own.ends.size === 0) continue
      const due = this.clock.now + Math.max(0, own.ends.nextTime - own.served) * own.slowness
      if (!first || due < first.due) first = { own, due }
    }
    return first
  }
}
