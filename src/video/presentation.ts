/** Moves that sorting by insertion may take for each packet: reordering goes over a few pictures. */
const MOVES = 16

/** Positions in the order of their times, equal ones as they come. */
function orderOf(times: ArrayLike<number>): Int32Array {
  const count = times.length
  const order = new Int32Array(count)
  let moves = MOVES * count
  for (let position = 0; position < count; position++) {
    const time = times[position]!
    let at = position
    for (; at > 0 && times[order[at - 1]!]! > time; at--) order[at] = order[at - 1]!
    order[at] = position
    moves -= position - at
    if (moves < 0) return sorted(times)
  }
  return order
}

function sorted(times: ArrayLike<number>): Int32Array {
  const order = new Int32Array(times.length)
  for (let position = 0; position < order.length; position++) order[position] = position
  return order.sort((a, b) => times[a]! - times[b]! || a - b)
}

/**
 * The order in which a stream's packets are presented, from their timestamps.
 *
 * Positions count packets in decode order from 0, ranks count all packets in presentation order, and presentation
 * indices count only those that are shown. Equal timestamps keep their decode order.
 */
export class Presentation {
  /** Rank of the packet at each position. */
  readonly rank: Int32Array
  /** Presentation index of the packet at each position; a negative one of its own, ascending, if it is never shown. */
  readonly index: Int32Array
  /** Position of the packet of each presentation index. */
  readonly position: Int32Array

  /**
   * @param times timestamps in decode order, in any unit.
   * @param shown whether the packet at a position is shown at all.
   */
  constructor(times: ArrayLike<number>, shown: (position: number) => boolean = () => true) {
    const count = times.length
    const order = orderOf(times)
    this.rank = new Int32Array(count)
    this.index = new Int32Array(count)
    const visible = new Int32Array(count)
    const hidden: number[] = []
    let frames = 0
    for (let rank = 0; rank < count; rank++) {
      const position = order[rank]!
      this.rank[position] = rank
      if (shown(position)) {
        this.index[position] = frames
        visible[frames++] = position
      } else hidden.push(position)
    }
    this.position = visible.subarray(0, frames)
    for (let i = 0; i < hidden.length; i++) this.index[hidden[i]!] = i - hidden.length
  }

  /** Number of frames that are shown. */
  get frames(): number {
    return this.position.length
  }
}
