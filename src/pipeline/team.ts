import { Board, type BoardHandle, type Claim, type End, MOST_PIECES } from '../queue/board.ts'
import { decodeItem, encodeItem, itemWords } from '../queue/codec.ts'
import type { Control } from '../queue/control.ts'
import type { Item } from '../queue/item.ts'
import type { Ring } from '../queue/ring.ts'
import { SharedNames, type SharedNamesHandle } from '../results/shared-names.ts'
import type { Piece, PieceFacts, Team } from '../steps/step.ts'
import { endOf, helps } from './helping.ts'
import type { Instance } from './plan.ts'

/** Names of decoders: their numbers are bits of a word. */
const MOST_NAMES = 30
/** Two words for each piece: its first row, and how many rows. */
const PIECE_WORDS = 2

/** Plain data to send to the threads of an instance. */
export interface TeamHandle {
  board: BoardHandle
  names: SharedNamesHandle
}

/** Words of an item that is being made: one request's, without values. */
const outWords = ({ outputs }: Instance): number =>
  itemWords(1, outputs.length, Math.max(0, ...outputs.map(({ shape }) => shape.length)), 0)

/** What the threads of an instance need to do each other's work. */
export const createTeam = (instance: Instance, control: Control): TeamHandle => ({
  board: Board.create(instance.workers, PIECE_WORDS * MOST_PIECES + outWords(instance), control),
  names: SharedNames.create(MOST_NAMES),
})

/** A piece of another thread's output. */
export interface Taken {
  claim: Claim
  out: Item
  piece: Piece
}

/** Neighbours joined until there are few enough. */
function fewEnough(pieces: readonly Piece[]): readonly Piece[] {
  if (pieces.length <= MOST_PIECES) return pieces
  const inOrder = pieces.toSorted((a, b) => a.first - b.first)
  const each = Math.ceil(pieces.length / MOST_PIECES)
  return Array.from({ length: Math.ceil(pieces.length / each) }, (_, i) => {
    const joined = inOrder.slice(i * each, (i + 1) * each)
    return { first: joined[0]!.first, count: joined.reduce((sum, { count }) => sum + count, 0) }
  })
}

export interface TeamOptions {
  instance: Instance
  worker: number
  /** Where its threads wait while they have nothing to do. */
  input: Ring
  /** Does what waits for other threads. */
  waiting<T>(wait: () => T): T
  /** What is thrown where the run was stopped. */
  stopped(): Error
}

/** One thread's place among those of an instance that do pieces of each other's work. */
export class TeamMember implements Team {
  readonly #board: Board
  readonly #names: SharedNames
  readonly #message: Int32Array
  readonly #end: End

  constructor(
    handle: TeamHandle,
    readonly options: TeamOptions,
  ) {
    this.#board = new Board(handle.board)
    this.#names = new SharedNames(handle.names)
    this.#message = new Int32Array(handle.board.messageWords)
    this.#end = endOf(options.instance, options.worker)
  }

  readonly #helps = (owner: number): boolean => helps(this.options.instance, this.options.worker, owner)

  /** Whether another thread offers something to this one. */
  readonly asked = (): boolean => this.#board.open(this.#helps)

  async share(
    out: Item,
    given: readonly Piece[],
    work: (piece: Piece) => Promise<PieceFacts>,
  ): Promise<PieceFacts & { othersUs: number }> {
    const pieces = fewEnough(given)
    if (pieces.length < 2) return { ...(await work(pieces[0]!)), othersUs: 0 }
    const { worker, input } = this.options
    this.#board.offer(worker, pieces.length, this.#end, this.#message, this.#write(out, pieces))
    input.callTakers()
    const own: PieceFacts[] = []
    let failure: { error: unknown } | undefined
    let next: number | undefined = this.#end === 'first' ? 0 : pieces.length - 1
    let mine = 0
    for (; next !== undefined; next = this.#board.take(worker, this.#end)) {
      mine++
      if (failure) continue
      try {
        own.push(await work(pieces[next]!))
      } catch (error) {
        failure = { error }
      }
    }
    const helped = this.options.waiting(() => this.#board.await(worker, pieces.length - mine))
    if (failure) throw failure.error
    if (!helped) throw this.options.stopped()
    for (const piece of helped.failed) own.push(await work(pieces[piece]!))
    const [framesNeeded, framesDecoded, othersUs] = helped.sums as [number, number, number]
    return {
      framesNeeded: own.reduce((sum, facts) => sum + facts.framesNeeded, framesNeeded),
      framesDecoded: own.reduce((sum, facts) => sum + facts.framesDecoded, framesDecoded),
      decoder: this.#decoders(own, helped.marks),
      othersUs,
    }
  }

  /** Takes a piece of another's output, if one is offered that this thread would help with. */
  take(): Taken | undefined {
    const claim = this.#board.claim(this.#helps, this.#end)
    if (!claim) return undefined
    const length = this.#board.read(claim.owner, this.#message)
    const at = PIECE_WORDS * claim.piece
    const piece = { first: this.#message[at]!, count: this.#message[at + 1]! }
    const item = this.#message.subarray(PIECE_WORDS * MOST_PIECES)
    return { claim, out: decodeItem(item, length - PIECE_WORDS * MOST_PIECES), piece }
  }

  /** The piece is filled. @param cpuUs processor time that it took */
  finish({ claim }: Taken, { framesNeeded, framesDecoded, decoder }: PieceFacts, cpuUs: number): void {
    this.#board.finish(claim, 1 << this.#names.number(decoder), [framesNeeded, framesDecoded, cpuUs])
  }

  /** The piece is left to the thread whose output it is. */
  fail({ claim }: Taken): void {
    this.#board.fail(claim)
  }

  #write(out: Item, pieces: readonly Piece[]): number {
    for (const [i, { first, count }] of pieces.entries()) {
      this.#message[PIECE_WORDS * i] = first
      this.#message[PIECE_WORDS * i + 1] = count
    }
    const from = PIECE_WORDS * MOST_PIECES
    return from + encodeItem(out, this.#message.subarray(from))
  }

  /** All that were at work, the own first. @param marks bits of names' numbers */
  #decoders(own: readonly PieceFacts[], marks: number): string {
    const names = new Set(own.map(({ decoder }) => decoder))
    for (let number = 1; number <= MOST_NAMES; number++) {
      const name = marks & (1 << number) ? this.#names.name(number) : undefined
      if (name !== undefined) names.add(name)
    }
    return [...names].join(' and ')
  }
}

/** What came of it, in words; undefined where nothing was offered. */
export function teamNote({ board }: TeamHandle, { name }: Instance): string | undefined {
  const { offered, helped } = new Board(board).counts
  if (offered === 0) return undefined
  return `${name}: of ${offered} pieces of videos that were to be shared, threads took ${helped} off others`
}
