import { endOf, helps } from '../pipeline/helping.ts'
import type { Instance } from '../pipeline/plan.ts'
import { type Body, type Clock, Waiters } from './clock.ts'

/** What a thread offers the others of its instance: pieces of a call, by their shares of its work, the largest first. */
interface Offer {
  readonly request: number
  readonly clips: number
  readonly shares: readonly number[]
  /** Pieces that nobody has: from `first` up to `end`. */
  first: number
  end: number
  /** Pieces that others are at. */
  taken: number
  readonly over: Waiters
}

/** A piece that a thread has taken, of another's call. */
export interface TakenPiece {
  readonly owner: number
  readonly request: number
  readonly clips: number
  readonly share: number
}

/** Threads of an instance that do pieces of each other's calls, as `src/pipeline/team.ts` has it. */
export class SimulatedTeam {
  readonly #offers = new Map<number, Offer>()

  constructor(
    readonly clock: Clock,
    readonly instance: Pick<Instance, 'decoders'>,
    readonly handOverNs?: () => number,
  ) {}

  /** Whether another thread offers something to this one. */
  asked(worker: number): boolean {
    for (const [owner, { first, end }] of this.#offers)
      if (first < end && helps(this.instance, worker, owner)) return true
    return false
  }

  offer(worker: number, call: Pick<Offer, 'request' | 'clips' | 'shares'>): void {
    const over = new Waiters(this.clock, this.handOverNs)
    this.#offers.set(worker, { ...call, first: 0, end: call.shares.length, taken: 0, over })
  }

  /** The share of the next piece of a thread's own call; undefined if nothing is left of it. */
  own(worker: number): number | undefined {
    const offer = this.#offers.get(worker)!
    return this.#next(offer, worker)
  }

  #next(offer: Offer, worker: number): number | undefined {
    if (offer.first >= offer.end) return undefined
    return offer.shares[endOf(this.instance, worker) === 'last' ? --offer.end : offer.first++]
  }

  take(worker: number): TakenPiece | undefined {
    // The lowest thread's first, as on the board.
    const owners = [...this.#offers.keys()]
      .filter(owner => helps(this.instance, worker, owner))
      .sort((a, b) => a - b)
    for (const owner of owners) {
      const offer = this.#offers.get(owner)!
      const share = this.#next(offer, worker)
      if (share === undefined) continue
      offer.taken++
      return { owner, request: offer.request, clips: offer.clips, share }
    }
    return undefined
  }

  finish({ owner }: TakenPiece): void {
    const offer = this.#offers.get(owner)!
    offer.taken--
    if (offer.taken === 0) offer.over.wakeAll()
  }

  /** Waits until nobody is at a piece of the thread's call any more. */
  *settle(worker: number): Body {
    const offer = this.#offers.get(worker)!
    while (offer.taken > 0) {
      offer.over.join()
      yield
    }
    this.#offers.delete(worker)
  }
}
