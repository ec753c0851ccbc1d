import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import type { Item } from '../../src/queue/item.ts'
import { type SelectorContext, selectorKinds, selectorOf } from '../../src/steps/selectors.ts'

const item = (...clips: number[]): Item => ({
  shares: clips.map((count, request) => ({ request, part: 0, parts: 1, clips: count })),
  tensors: [],
  values: [],
})

/** Queues of these depths and capacities, some of which instances on the same device take from. */
const context = (
  depths: number[],
  more: Partial<SelectorContext> & { capacity?: number } = {},
): SelectorContext => ({
  queues: depths.length,
  depth: index => depths[index]!,
  full: index => depths[index]! >= (more.capacity ?? 100),
  near: () => false,
  options: {},
  ...more,
})

/** Queues that a selector chooses for items one after the other. */
const choices = (name: string, from: SelectorContext, items: Item[]): number[] => {
  const select = selectorOf(name, from)
  return items.map(select)
}

test("RnB's class names mean selectors", () => {
  const known = selectorKinds.flatMap(({ names }) => names)
  for (const name of ['selector.RoundRobinSelector', 'models.r2p1d.model.LargeSmallSelector'])
    expect(known).toContain(name)
})

test('round-robin takes each queue in turn, the second one first', () => {
  const items = Array.from({ length: 7 }, () => item(1))
  expect(choices('round-robin', context([0, 0, 0]), items)).toEqual([1, 2, 0, 1, 2, 0, 1])
  expect(choices('round-robin', context([0]), items)).toEqual([0, 0, 0, 0, 0, 0, 0])
})

describe('large-small', () => {
  test('items of 15 clips go to the second queue, others to the first', () => {
    expect(choices('large-small', context([0, 0]), [item(1), item(14), item(15), item(16)])).toEqual([
      0, 0, 1, 1,
    ])
  })
  test('the threshold is a setting, and clips of joined videos count together', () => {
    const of = context([0, 0], { options: { clip_threshold: 4 } })
    expect(choices('large-small', of, [item(3), item(4), item(2, 2), item(1, 2)])).toEqual([0, 1, 1, 0])
  })
})

test('shortest takes a queue that none is shorter than', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 6 }), depths => {
      const [index] = choices('shortest', context(depths), [item(1)])
      expect(index).toBe(depths.indexOf(Math.min(...depths)))
    }),
  )
})

test('same-gpu stays on its device as long as there is room, in the shortest queue', () => {
  const queues = fc.array(fc.record({ depth: fc.nat(4), near: fc.boolean() }), { minLength: 1, maxLength: 6 })
  fc.assert(
    fc.property(queues, all => {
      const depths = all.map(({ depth }) => depth)
      const of = context(depths, { capacity: 4, near: index => all[index]!.near })
      const [index] = choices('same-gpu', of, [item(1)])
      const open = all.filter(({ depth, near }) => near && depth < 4)
      const among = open.length > 0 ? open : all
      expect(among).toContain(all[index!]!)
      expect(all[index!]!.depth).toBe(Math.min(...among.map(({ depth }) => depth)))
    }),
  )
})
