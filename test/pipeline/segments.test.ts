import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { keepShares, segmentSizes, splitItem } from '../../src/pipeline/segments.ts'
import type { Item } from '../../src/queue/item.ts'

const item = fc
  .array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 4 })
  .chain(clips => fc.record({ clips: fc.constant(clips), row: fc.integer({ min: 0, max: 5 }) }))
  .map(({ clips, row }): Item => {
    const rows = clips.reduce((a, b) => a + b, 0)
    return {
      shares: clips.map((count, request) => ({ request, part: 0, parts: 1, clips: count })),
      tensors: [{ pool: 3, slot: 7, row, shape: [rows, 3, 8] }],
      values: [1.5],
    }
  })

test('parts are nearly equal, the larger first, and none is empty', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 20 }), (clips, segments) => {
      const sizes = segmentSizes(clips, segments)
      expect(sizes.reduce((a, b) => a + b, 0)).toBe(clips)
      expect(sizes).toEqual([...sizes].sort((a, b) => b - a))
      expect(sizes[0]! - sizes.at(-1)!).toBeLessThanOrEqual(1)
      expect(sizes.at(-1)).toBeGreaterThan(0)
      expect(sizes.length).toBe(Math.min(clips, segments))
    }),
  )
})

test('what has no rows goes on in one part', () => expect(segmentSizes(0, 3)).toEqual([0]))

test('parts of an item cover its rows once, in order, each request by itself', () => {
  fc.assert(
    fc.property(item, fc.integer({ min: 2, max: 6 }), (whole, segments) => {
      const parts = splitItem(whole, segments)
      let row = whole.tensors[0]!.row
      for (const part of parts) {
        const [share, ...others] = part.shares
        expect(others).toEqual([])
        expect(part.tensors[0]).toEqual({ pool: 3, slot: 7, row, shape: [share!.clips, 3, 8] })
        row += share!.clips
      }
      expect(row).toBe(whole.tensors[0]!.row + whole.tensors[0]!.shape[0]!)
      for (const { request, clips } of whole.shares) {
        const mine = parts.flatMap(part => part.shares).filter(share => share.request === request)
        expect(mine.map(share => share.part)).toEqual(mine.map((_, i) => i))
        expect(mine.every(share => share.parts === mine.length)).toBe(true)
        expect(mine.reduce((sum, share) => sum + share.clips, 0)).toBe(clips)
      }
    }),
  )
})

test('without some requests, an item keeps the rows of the others, in order, in as few items as can be', () => {
  fc.assert(
    fc.property(item, fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }), (whole, stays) => {
      const kept = keepShares(whole, ({ request }) => stays[request]!)
      const rowsOf = (items: Item[]) =>
        items.flatMap(({ shares, tensors: [ref] }) => {
          let row = ref!.row
          return shares.flatMap(({ request, clips }) =>
            Array.from({ length: clips }, () => ({ request, row: row++ })),
          )
        })
      expect(rowsOf(kept)).toEqual(rowsOf([whole]).filter(({ request }) => stays[request]))
      for (const { shares, tensors } of kept)
        expect(tensors[0]!.shape).toEqual([shares.reduce((sum, { clips }) => sum + clips, 0), 3, 8])
      const gaps = whole.shares.filter(
        ({ request }) => stays[request] && (request === 0 || !stays[request - 1]),
      )
      expect(kept).toHaveLength(gaps.length)
      expect(kept.flatMap(({ values }) => values)).toEqual(kept.length > 0 ? [1.5] : [])
      if (kept[0]?.shares.length === whole.shares.length) expect(kept).toEqual([whole])
    }),
  )
})

test('groups that split into fewer parts number them as the others do', () => {
  const whole = (part: number): Item => ({
    shares: [{ request: 0, part, parts: 2, clips: 4 }],
    tensors: [{ pool: 0, slot: 0, row: 0, shape: [4, 3] }],
    values: [],
  })
  const places = (item: Item, segments: number) =>
    splitItem(item, segments, 3).map(({ shares }) => [shares[0]!.part, shares[0]!.parts])
  expect(places(whole(0), 3)).toEqual([
    [0, 6],
    [1, 6],
    [2, 6],
  ])
  expect(places(whole(1), 1)).toEqual([[3, 2]])
  expect(places(whole(1), 2)).toEqual([
    [3, 4],
    [4, 4],
  ])
})
