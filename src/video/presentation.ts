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
    const order = new Int32Array(count)
    for (let position = 0; position < count; position++) order[position] = position
    order.sort((a, b) => times[a]! - times[b]! || a - b)
    this.rank = new Int32Array(count)
    this.index = new Int32Array(count)
    const visible: number[] = []
    const hidden: number[] = []
    for (let rank = 0; rank < count; rank++) {
      const position = order[rank]!
      this.rank[position] = rank
      ;(shown(position) ? visible : hidden).push(position)
    }
    this.position = Int32Array.from(visible)
    visible.forEach((position, index) => {
      this.index[position] = index
    })
    hidden.forEach((position, i) => {
      this.index[position] = i - hidden.length
    })
  }

  /** Number of frames that are shown. */
  get frames(): number {
    return this.position.length
  }
}
