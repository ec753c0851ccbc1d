const FIRST_CAPACITY = 64

/** What is to happen, by time; of equal times what was pushed first comes first. A binary heap. */
export class EventHeap<T> {
  #times = new Float64Array(FIRST_CAPACITY)
  #orders = new Float64Array(FIRST_CAPACITY)
  readonly #values: T[] = []
  #pushed = 0

  get size(): number {
    return this.#values.length
  }

  /** When the first is due; Infinity if there is none. */
  get nextTime(): number {
    return this.size === 0 ? Number.POSITIVE_INFINITY : this.#times[0]!
  }

  push(time: number, value: T): void {
    if (this.size === this.#times.length) this.#grow()
    const order = this.#pushed++
    let at = this.#values.length
    this.#values.push(value)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (this.#times[parent]! <= time) break
      this.#copy(parent, at)
      at = parent
    }
    this.#set(at, time, order, value)
  }

  /** Takes the first. @throws {RangeError} if there is none */
  pop(): T {
    if (this.size === 0) throw new RangeError('no event is left')
    const first = this.#values[0]!
    const last = this.size - 1
    const [time, order, value] = [this.#times[last]!, this.#orders[last]!, this.#values.pop()!]
    if (last > 0) this.#sink(time, order, value)
    return first
  }

  /** Finds the place of an event from the root on, and fills it. */
  #sink(time: number, order: number, value: T): void {
    const { size } = this
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= size) break
      if (child + 1 < size && this.#before(child + 1, this.#times[child]!, this.#orders[child]!)) child++
      if (!this.#before(child, time, order)) break
      this.#copy(child, at)
      at = child
    }
    this.#set(at, time, order, value)
  }

  #before(at: number, time: number, order: number): boolean {
    const own = this.#times[at]!
    return own < time || (own === time && this.#orders[at]! < order)
  }

  #copy(from: number, to: number): void {
    this.#set(to, this.#times[from]!, this.#orders[from]!, this.#values[from]!)
  }

  #set(at: number, time: number, order: number, value: T): void {
    this.#times[at] = time
    this.#orders[at] = order
    this.#values[at] = value
  }

  #grow(): void {
    const [times, orders] = [this.#times, this.#orders]
    this.#times = new Float64Array(2 * times.length)
    this.#orders = new Float64Array(2 * times.length)
    this.#times.set(times)
    this.#orders.set(orders)
  }
}
