import type { Item, Share } from '../queue/item.ts'

/**
 * Sizes of at most `segments` nearly equal parts of `clips` rows, the larger ones first; none is empty, but where there
 * are no rows at all: one part goes on then.
 */
export function segmentSizes(clips: number, segments: number): number[] {
  const parts = Math.max(1, Math.min(clips, segments))
  const size = Math.floor(clips / parts)
  return Array.from({ length: parts }, (_, part) => size + (part < clips % parts ? 1 : 0))
}

function partsOf(item: Item, share: Share, firstRow: number, segments: number, most: number): Item[] {
  const sizes = segmentSizes(share.clips, segments)
  let row = firstRow
  return sizes.map((clips, part) => {
    const tensors = item.tensors.map(ref => ({
      ...ref,
      row: ref.row + row,
      shape: [clips, ...ref.shape.slice(1)],
    }))
    row += clips
    const place = { part: share.part * most + part, parts: share.parts * sizes.length }
    return { shares: [{ ...share, ...place, clips }], tensors, values: item.values }
  })
}

/**
 * What is left of an item without some of its requests: an item for each run of neighbouring rows that stay. They
 * share the item's slots; its values stay with the first.
 */
export function keepShares(item: Item, keep: (share: Share) => boolean): Item[] {
  const runs: Item[] = []
  let row = 0
  /** Where the last run ends. */
  let end = -1
  for (const share of item.shares) {
    const first = row
    row += share.clips
    if (!keep(share)) continue
    const last = runs.at(-1)
    if (last && end === first) last.shares.push(share)
    else
      runs.push({
        shares: [share],
        tensors: item.tensors.map(ref => ({ ...ref, row: ref.row + first })),
        values: runs.length === 0 ? item.values : [],
      })
    end = row
  }
  // All of it: also where a share has no rows yet.
  if (runs[0]?.shares.length === item.shares.length) return [item]
  for (const { shares, tensors } of runs) {
    const rows = shares.reduce((sum, { clips }) => sum + clips, 0)
    for (const ref of tensors) ref.shape = [rows, ...ref.shape.slice(1)]
  }
  return runs
}

/**
 * Splits each request of an item into at most `segments` parts, each an item of its own over some of the rows
 * (`num_segments`). The parts share the item's slots; how much of its request each is travels with it.
 * @param most parts that any group of the step makes of an item: they have as many numbers each
 */
export function splitItem(item: Item, segments: number, most = segments): Item[] {
  if (most === 1) return [item]
  let row = 0
  return item.shares.flatMap(share => {
    const parts = partsOf(item, share, row, segments, most)
    row += share.clips
    return parts
  })
}
