import { type Body, type Clock, Waiters, type Wake } from './clock.ts'
import { EventHeap } from './events.ts'

/** How a call is served where servers are shared. */
export interface Share {
  /** Servers that it keeps busy at once, where there are as many: 1. */
  width?: number | undefined
  /** It has little of what others want too: decoders on the host, which are nicer than the rest (`giveWay` in ffi/libc.ts). */
  yields?: boolean | undefined
}

/** What calls of several instances share: a GPU's compute, its decoders, the host's cores. */
export interface Resource {
  /** Takes as long as `ns` take here that would, alone, keep its servers busy. Where servers are not shared, `share` has no meaning. */
  use(ns: number, share?: Share): Body
  /** Keeps so many servers busy, where they are shared, until what is returned is called: others have the less. */
  hold?(width: number): () => void
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
export function slownessOf(servers: number, wanted: number, wide: number, straggling = 1): number {
  if (wanted <= servers) return 1
  return (wanted / servers) * (wide > 0 ? straggling : 1)
}

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
}

/**
 * So many servers that all calls share evenly, but for those that yield: each gets its width at most (threads that it has, one), and
 * less where all widths come to more. There may be a fraction of a server: two threads of a core are more than one and less than two.
 */
export class SharedServers implements Resource {
  readonly #usual = new ServiceClass()
  readonly #yielding = new ServiceClass()
  readonly #classes = [this.#usual, this.#yielding]
  /** Servers that are held. */
  #held = 0
  #since = 0
  #minded = false
  readonly #changed: Waiters

  /**
   * @param processors logical ones, of which two may be less than two servers: while there is one for each call, none has to yield
   */
  constructor(
    readonly clock: Clock,
    readonly servers: number,
    readonly straggling?: number,
    readonly processors = servers,
  ) {
    this.#changed = new Waiters(clock)
  }

  *use(ns: number, { width = 1, yields = false }: Share = {}): Body {
    if (ns === 0) return
    this.#advance()
    const own = yields ? this.#yielding : this.#usual
    own.wanted += width
    if (width > 1) own.wide++
    own.ends.push(own.served + ns, { ...this.clock.suspension(), width })
    if (this.#minded) this.#changed.wakeOne()
    else this.clock.start(this.#mind())
    this.#minded = true
    yield
  }

  hold(width: number): () => void {
    this.#changeHeld(width)
    return () => this.#changeHeld(-width)
  }

  #changeHeld(by: number): void {
    this.#advance()
    this.#held += by
    if (this.#minded) this.#changed.wakeOne()
  }

  #advance(): void {
    const { now } = this.clock
    for (const own of this.#classes)
      if (own.ends.size > 0) own.served += (now - this.#since) / this.#slowness(own)
    this.#since = now
  }

  /** How much longer a call takes than alone. */
  #slowness(own: ServiceClass): number {
    const usual = this.#usual.wanted + this.#held
    const yielding = this.#yielding.wanted
    const wanted = usual + yielding
    const evenly = slownessOf(this.servers, wanted, own.wide, this.straggling)
    if (wanted <= this.processors) return evenly
    // Processors that those have who do not yield, as the others have little of each.
    const theirs = Math.min(usual, (this.processors * usual) / (usual + YIELDING * yielding))
    const each = own === this.#usual ? theirs / usual : (this.processors - theirs) / yielding
    return (evenly * this.processors) / wanted / each
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
      this.clock.wake(done)
    }
    this.#minded = false
  }

  /** The call that is done first as things are; undefined if there is none. */
  #next(): { own: ServiceClass; due: number } | undefined {
    let first: { own: ServiceClass; due: number } | undefined
    for (const own of this.#classes) {
      if (own.ends.size === 0) continue
      const due = this.clock.now + Math.max(0, own.ends.nextTime - own.served) * this.#slowness(own)
      if (!first || due < first.due) first = { own, due }
    }
    return first
  }
}
