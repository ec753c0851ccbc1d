import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { decodeItem, encodeItem, itemWords } from '../../src/queue/codec.ts'
import type { Item } from '../../src/queue/item.ts'

const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
const item: fc.Arbitrary<Item> = fc.record({
  shares: fc.array(
    fc.record({ request: int32, part: int32, parts: int32, clips: int32 }, { noNullPrototype: true }),
    {
      maxLength: 6,
    },
  ),
  tensors: fc.array(
    fc.record(
      { pool: int32, slot: int32, row: int32, shape: fc.array(int32, { maxLength: 5 }) },
      { noNullPrototype: true },
    ),
    { maxLength: 4 },
  ),
  values: fc.array(fc.double(), { maxLength: 4 }),
})

test('what was written is read, within the bound', () => {
  const words = new Int32Array(itemWords(6, 4, 5, 4))
  fc.assert(
    fc.property(item, sent => {
      const length = encodeItem(sent, words)
      expect(decodeItem(words, length)).toEqual(sent)
      const { shares, tensors, values } = sent
      const rank = Math.max(0, ...tensors.map(tensor => tensor.shape.length))
      expect(length).toBeLessThanOrEqual(itemWords(shares.length, tensors.length, rank, values.length))
    }),
    { numRuns: 500 },
  )
})

test('the bound is reached', () => {
  const share = { request: 1, part: 0, parts: 1, clips: 15 }
  const tensor = { pool: 2, slot: 3, row: 4, shape: [15, 3, 8, 112, 112] }
  const sent = { shares: [share, share], tensors: [tensor, tensor, tensor], values: [Math.PI, -0] }
  const words = new Int32Array(itemWords(2, 3, 5, 2))
  expect(encodeItem(sent, words)).toBe(words.length)
  expect(decodeItem(words, words.length)).toEqual(sent)
  expect(() => encodeItem(sent, words.subarray(1))).toThrow(RangeError)
})

test('other words are refused', () => {
  const words = new Int32Array(itemWords(6, 4, 5, 4))
  fc.assert(
    fc.property(item, fc.integer({ min: -3, max: 3 }), (sent, off) => {
      const length = encodeItem(sent, words)
      fc.pre(off !== 0)
      expect(() => decodeItem(words.slice(0, Math.max(0, length + off)), length + off)).toThrow(RangeError)
    }),
  )
  fc.assert(
    fc.property(fc.array(int32, { maxLength: 30 }), noise => {
      const given = Int32Array.from(noise)
      try {
        const decoded = decodeItem(given, given.length)
        expect(encodeItem(decoded, new Int32Array(given.length))).toBe(given.length)
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError)
      }
    }),
  )
})
