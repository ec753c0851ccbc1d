import { type ConvolutionPlan, M64 } from './plan.ts'
import type { Text } from './text.ts'

/** Tile -> columns and rows; leaves `n_tile` and `m_tile`. */
export function splitTile(t: Text, plan: ConvolutionPlan): void {
  const [tile, n, m] = [t.r('tile'), t.r('n_tile'), t.r('m_tile')]
  t.do(`div.u32 ${m}, ${tile}, ${plan.columnTiles}`)
  t.do(`mul.lo.u32 ${n}, ${m}, ${plan.columnTiles}`, `sub.u32 ${n}, ${tile}, ${n}`)
}

/** Leaves the place that a tile of rows begins with, and its clip, where a tile is places of all frames. */
export function splitFrames(t: Text, places: number, total: number): void {
  const tiles = Math.ceil(total / places)
  t.do(`div.u32 ${t.r('clip')}, ${t.r('m_tile')}, ${tiles}`)
  t.do(`mul.lo.u32 ${t.r('place')}, ${t.r('clip')}, ${tiles}`)
  t.do(`sub.u32 ${t.r('place')}, ${t.r('m_tile')}, ${t.r('place')}`)
  t.do(`mul.lo.u32 ${t.r('place')}, ${t.r('place')}, ${places}`)
}

/** For each tile of this block; for the one of its cluster, where blocks share a tile. */
export function forTiles(t: Text, plan: ConvolutionPlan, body: () => void): void {
  if (plan.kernel.split > 1) {
    t.do(`mov.u32 ${t.r('tile')}, %ctaid.x`, `div.u32 ${t.r('tile')}, ${t.r('tile')}, ${plan.kernel.split}`)
    splitTile(t, plan)
    body()
    return
  }
  t.do(`mov.u32 ${t.r('tile')}, %ctaid.x`)
  t.while(
    'tile',
    () => {
      t.do(`setp.lt.u32 ${t.p('more')}, ${t.r('tile')}, ${t.r('tiles')}`)
      return t.p('more')
    },
    () => {
      splitTile(t, plan)
      body()
      t.do(`add.u32 ${t.r('tile')}, ${t.r('tile')}, ${t.r('grid')}`)
    },
  )
}

/** Leaves in `first_chunk` and `end_chunk` which chunks of channels this block sums over. */
export function chunksOfBlock(t: Text, plan: ConvolutionPlan): void {
  const { split } = plan.kernel
  const [first, end] = [t.r('first_chunk'), t.r('end_chunk')]
  if (split === 1) {
    t.do(`mov.u32 ${first}, 0`, `mov.u32 ${end}, ${plan.chunks}`)
    return
  }
  t.do(`mul.lo.u32 ${first}, ${t.r('rank')}, ${plan.chunks}`)
  t.do(`add.u32 ${end}, ${first}, ${plan.chunks}`)
  for (const bound of [first, end]) t.do(`div.u32 ${bound}, ${bound}, ${split}`)
}

/** Leaves the stem's frame in `frame`, and in the register that is returned the first row of the output. */
export function splitStem(t: Text, { kernel: { load }, rows }: ConvolutionPlan): string {
  if (load.mode !== 'stem') throw new Error(`hopper: ${load.mode} is not the stem`)
  const [frame, row] = [t.r('frame'), t.r('row')]
  const tiles = Math.ceil(load.height / (rows / M64))
  t.do(`div.u32 ${frame}, ${t.r('m_tile')}, ${tiles}`, `mul.lo.u32 ${row}, ${frame}, ${tiles}`)
  t.do(`sub.u32 ${row}, ${t.r('m_tile')}, ${row}`, `mul.lo.u32 ${row}, ${row}, ${rows / M64}`)
  return row
}
