import type { Item, Share, TensorRef } from './item.ts'

// shares, tensors, values; then a share: request, part, parts, clips; a tensor: pool, slot, row, rank,
// dimensions;
// a value: the two halves of its float64.
const HEADER = 3
const SHARE_WORDS = 4
const TENSOR_WORDS = 4
const VALUE_WORDS = 2

const float64 = new Float64Array(1)
const halves = new Int32Array(float64.buffer)

/** Words of the longest encoding of an item with at most so many shares, tensors of so many dimensions, and values. */
export const itemWords = (
  maxShares: number,
  maxTensors: number,
  maxRank: number,
  maxValues: number,
): number =>
  HEADER + maxShares * SHARE_WORDS + maxTensors * (TENSOR_WORDS + maxRank) + maxValues * VALUE_WORDS

/**
 * Writes an item as Int32 words, for a ring. All numbers but values must be 32-bit integers.
 * @returns the number of words.
 * @throws {RangeError} if `into` is too short.
 */
export function encodeItem(item: Item, into: Int32Array): number {
  const { shares, tensors, values } = item
  into[0] = shares.length
  into[1] = tensors.length
  into[2] = values.length
  let at = HEADER
  for (const share of shares) {
    into[at++] = share.request
    into[at++] = share.part
    into[at++] = share.parts
    into[at++] = share.clips
  }
  for (const { pool, slot, row, shape } of tensors) {
    into[at++] = pool
    into[at++] = slot
    into[at++] = row
    into[at++] = shape.length
    for (const size of shape) into[at++] = size
  }
  for (const value of values) {
    float64[0] = value
    into[at++] = halves[0]!
    into[at++] = halves[1]!
  }
  // Writes past the end of a typed array do nothing.
  if (at > into.length) throw new RangeError(`an item of ${at} words, where ${into.length} fit`)
  return at
}

/**
 * Reads what `encodeItem` wrote.
 * @throws {RangeError} if these are not the words of an item.
 */
export function decodeItem(words: Int32Array, length: number): Item {
  const shares: Share[] = []
  const tensors: TensorRef[] = []
  const values: number[] = []
  let at = HEADER
  for (let i = 0; i < words[0]! && at < length; i++) {
    shares.push({ request: words[at]!, part: words[at + 1]!, parts: words[at + 2]!, clips: words[at + 3]! })
    at += SHARE_WORDS
  }
  for (let i = 0; i < words[1]! && at < length; i++) {
    const shape: number[] = []
    const end = at + TENSOR_WORDS + Math.max(0, words[at + 3]!)
    for (let dim = at + TENSOR_WORDS; dim < end && dim < length; dim++) shape.push(words[dim]!)
    tensors.push({ pool: words[at]!, slot: words[at + 1]!, row: words[at + 2]!, shape })
    at = end
  }
  for (let i = 0; i < words[2]! && at < length; i++) {
    halves[0] = words[at]!
    halves[1] = words[at + 1]!
    values.push(float64[0]!)
    at += VALUE_WORDS
  }
  if (
    at !== length ||
    length > words.length ||
    shares.length !== words[0] ||
    tensors.length !== words[1] ||
    values.length !== words[2]
  )
    throw new RangeError(`${length} words that are not an encoded item`)
  return { shares, tensors, values }
}
