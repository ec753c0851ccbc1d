/** A piece of memory that is needed for some of a sequence of operations. */
export interface Lifetime {
  readonly name: string
  readonly bytes: number
  /** First and last operation that it is needed for. */
  readonly first: number
  readonly last: number
}

/** Where each piece is, and how much memory all of them take. */
export interface Arena {
  readonly offsets: ReadonlyMap<string, number>
  readonly bytes: number
}

const ALIGNMENT = 256
const aligned = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT

/**
 * Gives pieces places in one memory, so that no two overlap while both are needed: the largest first, each at the
 * lowest place that is free throughout its life.
 */
export function planArena(lifetimes: readonly Lifetime[]): Arena {
  const placed: (Lifetime & { offset: number })[] = []
  for (const piece of [...lifetimes].sort((a, b) => b.bytes - a.bytes)) {
    const beside = placed
      .filter(other => other.first <= piece.last && piece.first <= other.last)
      .sort((a, b) => a.offset - b.offset)
    let offset = 0
    for (const other of beside) {
      if (offset + piece.bytes <= other.offset) break
      offset = Math.max(offset, aligned(other.offset + other.bytes))
    }
    placed.push({ ...piece, offset })
  }
  return {
    offsets: new Map(placed.map(({ name, offset }) => [name, offset])),
    bytes: aligned(Math.max(0, ...placed.map(({ offset, bytes }) => offset + bytes))),
  }
}
