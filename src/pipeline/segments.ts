import type { Item, Share } from '../queue/item.ts'

/** Sizes of at most `segments` nearly equal parts of `clips` rows, the larger ones first; none is empty. */
export function segmentSizes(clips: number, segments: number): number[] {
  const parts = Math.min(clips, segments)
  const size = Math.floor(clips / parts)
  return Array.from({ length: parts }, (_, part) => size + (part < clips % parts ? 1 : 0))
}

function partsOf(item: Item, share: Share, firstRow: number, segments: number): Item[] {
  const sizes = segmentSizes(share.clips, segments)
  let row = firstRow
  return sizes.map((clips, part) => {
    const tensors = item.tensors.map(ref => ({
      ...ref,
      row: ref.row + row,
      shape: [clips, ...ref.shape.slice(1)],
    }))
    row += clips
    const place = { part: share.part * segments + part, parts: share.parts * sizes.length }
    return { shares: [{ ...share, ...place, clips }], tensors, values: item.values }
  })
}

/**
 * Splits each request of an item into at most `segments` parts, each an item of its own over some of the rows
 * (`num_segments`). The parts share the item's slots; how much of its request each is travels with it.
 */
export function splitItem(item: Item, segments: number): Item[] {
  if (segments === 1) return [item]
  let row = 0
  return item.shares.flatMap(share => {
    const parts = partsOf(item, share, row, segments)
    row += share.clips
    return parts
  })
}
