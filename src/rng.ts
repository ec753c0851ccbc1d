const MASK_64 = (1n << 64n) - 1n
const FNV_OFFSET = { high: 0xcbf29ce4, low: 0x84222325 }
/** What is left of FNV's prime, 2^40 + 0x1b3, without its highest bit. */
const FNV_PRIME_LOW = 0x1b3

/** One draw of a run's randomness is named by parts: numbers and words. */
export type SeedPart = number | string

/** SplitMix64 (Steele, Lea, Flood 2014): spreads one 64-bit seed over as many words as are asked for. */
export function splitMix64(seed: bigint): () => bigint {
  let state = seed & MASK_64
  return () => {
    state = (state + 0x9e3779b97f4a7c15n) & MASK_64
    let z = state
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK_64
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK_64
    return z ^ (z >> 31n)
  }
}

const encoder = new TextEncoder()

/** FNV-1a, 64 bits, over UTF-8: in two halves, as integers of any length would take ten times as long. */
export function fnv1a64(text: string): bigint {
  let { high, low } = FNV_OFFSET
  for (const byte of encoder.encode(text)) {
    low = (low ^ byte) >>> 0
    const product = low * FNV_PRIME_LOW
    // The prime's highest bit moves the lower half up by 40 bits: 8 into the upper one.
    high = (high * FNV_PRIME_LOW + Math.floor(product / 2 ** 32) + ((low << 8) >>> 0)) % 2 ** 32
    low = product >>> 0
  }
  return (BigInt(high) << 32n) | BigInt(low)
}

/**
 * State of a generator for a purpose: four 32-bit words, not all zero. Parts keep their type and their
 * borders ('1' is not 1, and 'ab', 'c' is not 'a', 'bc'), so streams of different purposes are unrelated.
 */
export function seedOf(...parts: readonly SeedPart[]): [number, number, number, number] {
  const draw = splitMix64(fnv1a64(JSON.stringify(parts)))
  const [a, b] = [draw(), draw()]
  const words = [a, a >> 32n, b, b >> 32n].map(word => Number(word & 0xffffffffn))
  return [words[0]! | 0, words[1]! | 0, words[2]! | 0, words[3]! | 0]
}

/**
 * Seeded random numbers: xoshiro128** 1.1 (Blackman and Vigna 2018). The same seed gives the same numbers
 * on every machine; not for secrets.
 */
export class Rng {
  #a: number
  #b: number
  #c: number
  #d: number
  #spare: number | undefined

  /** @param state four 32-bit words, not all zero */
  constructor(state: readonly [number, number, number, number]) {
    if (state.every(word => (word | 0) === 0)) throw new RangeError('the state of a generator cannot be zero')
    ;[this.#a, this.#b, this.#c, this.#d] = state
  }

  /** An independent stream of a run's seed, such as `Rng.of(seed, 'clips', request)`. */
  static of(seed: number, ...keys: readonly SeedPart[]): Rng {
    return new Rng(seedOf(seed, ...keys))
  }

  /** 32 random bits, as 0..2^32-1. */
  uint32(): number {
    const scrambled = Math.imul(this.#b, 5)
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9)
    const shifted = this.#b << 9
    this.#c ^= this.#a
    this.#d ^= this.#b
    this.#b ^= this.#c
    this.#a ^= this.#d
    this.#c ^= shifted
    this.#d = (this.#d << 11) | (this.#d >>> 21)
    return result >>> 0
  }

  /** 53 random bits, as 0..2^53-1. */
  #uint53(): number {
    const high = this.uint32() >>> 5
    return high * 0x4000000 + (this.uint32() >>> 6)
  }

  /** Uniform in [0, 1), a multiple of 2^-53. */
  next(): number {
    return this.#uint53() * 2 ** -53
  }

  /** Uniform over 0..n-1 without bias, for n up to 2^53. */
  int(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 53) throw new RangeError(`no integer in 0..${n - 1}`)
    const limit = 2 ** 53 - (2 ** 53 % n)
    let draw = this.#uint53()
    // The last, incomplete run of n values would favour small results.
    while (draw >= limit) draw = this.#uint53()
    return draw % n
  }

  /** Exponentially distributed: waiting times of a Poisson process with that mean. */
  exponential(mean: number): number {
    return -mean * Math.log1p(-this.next())
  }

  /** Normally distributed with mean 0 and variance 1 (Marsaglia's polar method). */
  normal(): number {
    if (this.#spare !== undefined) {
      const spare = this.#spare
      this.#spare = undefined
      return spare
    }
    for (;;) {
      const x = 2 * this.next() - 1
      const y = 2 * this.next() - 1
      const square = x * x + y * y
      if (square === 0 || square >= 1) continue
      const scale = Math.sqrt((-2 * Math.log(square)) / square)
      this.#spare = y * scale
      return x * scale
    }
  }

  /** Index drawn with the given weights (not negative, one of them positive). */
  weighted(weights: readonly number[]): number {
    const total = weights.reduce((sum, weight) => sum + weight, 0)
    let rest = this.next() * total
    for (let i = 0; i < weights.length; i++) {
      rest -= weights[i]!
      if (rest < 0) return i
    }
    return weights.findLastIndex(weight => weight > 0)
  }

  /** Puts 0..n-1 in random order (Fisher and Yates). */
  permutation(n: number): Uint32Array {
    const order = Uint32Array.from({ length: n }, (_, i) => i)
    for (let i = n - 1; i > 0; i--) {
      const j = this.int(i + 1)
      const swap = order[i]!
      order[i] = order[j]!
      order[j] = swap
    }
    return order
  }
}
