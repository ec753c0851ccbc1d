/** Raises a shared word to `value` if it is lower. */
export function atomicMax(words: Int32Array, index: number, value: number): void {
  let seen = Atomics.load(words, index)
  while (seen < value) {
    const before = Atomics.compareExchange(words, index, seen, value)
    if (before === seen) return
    seen = before
  }
}

/** Lowers a shared word to `value` if it is higher. */
export function atomicMin(words: Int32Array, index: number, value: number): void {
  let seen = Atomics.load(words, index)
  while (seen > value) {
    const before = Atomics.compareExchange(words, index, seen, value)
    if (before === seen) return
    seen = before
  }
}
