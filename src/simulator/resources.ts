import { type Body, type Clock, Waiters, type Wake } from './clock.ts'
import { EventHeap } from './events.ts'

/** What calls of several instances share: a GPU's compute, its decoders, the host's cores. */
export interface Resource {
  /**
   * Takes as long as `ns` take here that would, alone, keep `width` servers busy (1).
   * Where servers are not shared, width has no meaning.
   */
  use(ns: number, width?: number): Body
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

/**
 * So many servers that all calls share evenly: each gets its width at most (threads that it has, one), and less where all widths
 * come to more. There may be a fraction of a server: two threads of a core are more than one and less than two.
 */
export class SharedServers implements Resource {
  /** Widths of all calls. */
  #wanted = 0
  /** Servers that are held. */
  #held = 0
  /** Calls of more than one. */
  #wide = 0
  /** Work that each call has had since the start, in ns: a call is done when this has grown by its own work. */
  #served = 0
  #since = 0
  #minded = false
  readonly #ends = new EventHeap<Sharer>()
  readonly #changed: Waiters

  constructor(
    readonly clock: Clock,
    readonly servers: number,
    readonly straggling?: number,
  ) {
    this.#changed = new Waiters(clock)
  }

  *use(ns: number, width = 1): Body {
    if (ns === 0) return
    this.#advance()
    this.#wanted += width
    if (width > 1) this.#wide++
    this.#ends.push(this.#served + ns, { ...this.clock.suspension(), width })
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
    if (this.#ends.size > 0) this.#served += (now - this.#since) / this.#slowness
    this.#since = now
  }

  /** How much longer a call takes than alone. */
  get #slowness(): number {
    return slownessOf(this.servers, this.#wanted + this.#held, this.#wide, this.straggling)
  }

  /** While there are calls: wakes each when it is done, however often others come between. */
  *#mind(): Body {
    while (this.#ends.size > 0) {
      const end = this.#ends.nextTime
      const due = this.clock.now + Math.max(0, end - this.#served) * this.#slowness
      this.#changed.join(due)
      yield
      this.#advance()
      if (this.clock.now < due) continue
      // Rounding must not keep a call here whose time has come.
      this.#served = Math.max(this.#served, end)
      const done = this.#ends.pop()
      this.#wanted -= done.width
      if (done.width > 1) this.#wide--
      this.clock.wake(done)
    }
    // What rounding left of fractions.
    this.#wanted = 0
    this.#minded = false
  }
}
