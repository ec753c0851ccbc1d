import {
  ATOM_BYTES,
  accumulator,
  CHUNK,
  Cursor,
  descriptorBits,
  hex,
  initialise,
  multiply,
  pieces,
  plainDescriptorBits,
  type Ring,
  ROW_BYTES,
  release,
  STEP,
} from './parts.ts'
import { Text } from './text.ts'

/** Rows that one instruction multiplies. */
const M64 = 64

/** How places come into shared memory. */
export type Load =
  | {
      /** A run of rows of the input, which lies as the output does; taps are the same rows, shifted. */
      readonly mode: 'shift'
      /** Of a filter of so many rows and columns, 1 or 3. */
      readonly side: 1 | 3
      /** Places of a row with padding. */
      readonly pitch: number
    }
  | {
      /** `places` of all frames of a clip, with a frame of zeros before and after; taps are frames. */
      readonly mode: 'frames'
      readonly places: number
      readonly frames: number
      /** Places of a frame. */
      readonly total: number
    }
  | {
      /** Each tap's places on their own, by an im2col map. */
      readonly mode: 'im2col'
      /** Offsets along columns, rows and frames. */
      readonly taps: readonly (readonly [x: number, y: number, t: number])[]
      /** Of the output. */
      readonly size: readonly [frames: number, height: number, width: number]
      readonly stride: readonly [frames: number, height: number, width: number]
      readonly padding: readonly [frames: number, height: number, width: number]
    }
  | {
      /**
       * The stem's: 7 x 7 places two apart, of pixels of eight channels (16 bytes). Rows of pixels lie in shared memory
       * as those of odd and those of even columns, so that eight places' pixels of one tap are 128 bytes in a run; rows of
       * the matrix overlap in memory. A tile is 64 columns of a few rows. Taps are the 7 rows of the filter.
       */
      readonly mode: 'stem'
      /** Of the output, at most 64 wide. */
      readonly height: number
      readonly width: number
      /** Rows and columns of a frame of the output with padding. */
      readonly pitch: readonly [height: number, width: number]
    }

/** What a kernel computes, and in which tiles. */
export interface ConvolutionKernel {
  readonly name: string
  readonly load: Load
  /** Channels of the input with padding, a multiple of 16. */
  readonly channelsIn: number
  /** Channels of the output with padding; a multiple of `columns`. */
  readonly channelsOut: number
  /** Warpgroups that multiply, each so many times 64 rows. */
  readonly groups: number
  readonly blocks: number
  /** Channels out of a tile, a multiple of 8. */
  readonly columns: number
  readonly stagesA: number
  readonly stagesB: number
  readonly relu: boolean
  readonly residual: boolean
  /**
   * Blocks, of one cluster, that share a tile: each sums over some of the chunks, then over the others' sums of some of the
   * columns, always in the same order. More than one: a cluster makes one tile only.
   */
  readonly split: number
  /** Places of the output that are padding, to be written as zero: the last row and column of so many. */
  readonly pads?: { readonly height: number; readonly width: number }
  /** What lies without that padding, though it is counted in rows of tiles: the output, or what is added to it. */
  readonly dense?: { readonly output?: boolean; readonly residual?: boolean }
}

/** What follows from a kernel's description. */
export interface ConvolutionPlan {
  readonly kernel: ConvolutionKernel
  /** Rows of a tile. */
  readonly rows: number
  /** The box that one load brings, in rows, and how many boxes make a stage. */
  readonly boxRows: number
  readonly boxes: number
  readonly taps: number
  readonly chunks: number
  /** Instructions along the last chunk's channels. */
  readonly lastSteps: number
  readonly columnTiles: number
  readonly sharedBytes: number
  readonly threads: number
}

const round = (value: number, to: number): number => Math.ceil(value / to) * to

/** Pitch of a row of outputs in shared memory: rows of eight fall into different banks. */
const pitchOf = (columns: number): number => 2 * columns + ((columns / 8) % 2 === 0 ? 16 : 0)

/** Rows of the input between the first tap's and the output's. */
const reach = ({ side, pitch }: Load & { mode: 'shift' }): number => (side === 1 ? 0 : pitch + 1)

function tapsOf(load: Load): number {
  if (load.mode === 'shift') return load.side ** 2
  if (load.mode === 'im2col') return load.taps.length
  return load.mode === 'frames' ? 3 : 7
}

function boxOf(load: Load, rows: number): { boxRows: number; boxes: number } {
  if (load.mode === 'frames') return { boxRows: load.places * (load.frames + 2), boxes: 1 }
  if (load.mode === 'im2col') return { boxRows: rows, boxes: 1 }
  if (load.mode === 'stem') return { boxRows: stemRows(rows), boxes: 1 }
  const needed = rows + 2 * reach(load)
  const boxes = Math.ceil(needed / 256)
  return { boxRows: round(Math.ceil(needed / boxes), 8), boxes }
}

/** Pixels of a row of odd columns or even ones: those of 64 places, and four more that the filter reaches. */
export const STEM_PIXELS = 68
/** Bytes of one such row in shared memory; and of both. */
const STEM_HALF_ROW = STEM_PIXELS * 16
const STEM_ROW = 2 * STEM_HALF_ROW
/** Columns of the filter in the order in which the stem multiplies them, eight channels each; the last has weight zero. */
export const STEM_COLUMNS = [0, 2, 4, 6, 1, 3, 5, 7] as const
/** Where the pixels of each step of 16 begin in a row: odd columns are the second half. */
const STEM_STEPS = [STEM_HALF_ROW, STEM_HALF_ROW + 2 * 16, 16, 3 * 16] as const

/** Bytes of a stage of places. */
const loadBytes = ({ load }: ConvolutionKernel, rows: number, boxRows: number, boxes: number): number =>
  load.mode === 'stem' ? stemRows(rows) * STEM_ROW : boxRows * boxes * ROW_BYTES

/** Rows of pixels that a tile of the stem needs. */
export const stemRows = (rows: number): number => 2 * (rows / M64) + 5

interface Layout {
  readonly a: Ring
  readonly b: Ring
  readonly stagingAt: number
  readonly end: number
}

function layoutOf(kernel: ConvolutionKernel, rows: number, boxRows: number, boxes: number): Layout {
  const aBytes = round(loadBytes(kernel, rows, boxRows, boxes), ATOM_BYTES)
  const bBytes = kernel.columns * ROW_BYTES
  const bAt = kernel.stagesA * aBytes
  const stagingAt = bAt + kernel.stagesB * bBytes
  const barriersAt =
    stagingAt + (kernel.split > 1 ? 0 : kernel.groups * M64 * pitchOf(pieces(kernel.columns)[0]!))
  const blocks = tapsOf(kernel.load) * Math.ceil(kernel.channelsIn / CHUNK)
  const kept = kernel.split === 1 && kernel.stagesB >= blocks && kernel.columns === kernel.channelsOut
  const a = { name: 'a', stages: kernel.stagesA, stageBytes: aBytes, at: 0, barriersAt }
  const b = {
    name: 'b',
    stages: kept ? blocks : kernel.stagesB,
    stageBytes: bBytes,
    at: bAt,
    barriersAt: barriersAt + 16 * kernel.stagesA,
    kept,
  }
  return { a, b, stagingAt, end: b.barriersAt + 16 * b.stages }
}

export function planConvolution(kernel: ConvolutionKernel): ConvolutionPlan {
  const rows = kernel.groups * kernel.blocks * M64
  const { boxRows, boxes } = boxOf(kernel.load, rows)
  const chunks = Math.ceil(kernel.channelsIn / CHUNK)
  return {
    kernel,
    rows,
    boxRows,
    boxes,
    taps: tapsOf(kernel.load),
    chunks,
    lastSteps: Math.ceil((kernel.channelsIn - (chunks - 1) * CHUNK) / STEP),
    columnTiles: kernel.channelsOut / kernel.columns,
    // The start is rounded up to where the swizzle begins.
    sharedBytes: layoutOf(kernel, rows, boxRows, boxes).end + ATOM_BYTES,
    threads: 128 * (kernel.groups + 1),
  }
}

/** Tile -> columns and rows; leaves `n_tile` and `m_tile`. */
function splitTile(t: Text, plan: ConvolutionPlan): void {
  const [tile, n, m] = [t.r('tile'), t.r('n_tile'), t.r('m_tile')]
  t.do(`div.u32 ${m}, ${tile}, ${plan.columnTiles}`)
  t.do(`mul.lo.u32 ${n}, ${m}, ${plan.columnTiles}`, `sub.u32 ${n}, ${tile}, ${n}`)
}

/** Leaves the place that a tile of rows begins with, and its clip, where a tile is places of all frames. */
function splitFrames(t: Text, places: number, total: number): void {
  const tiles = Math.ceil(total / places)
  t.do(`div.u32 ${t.r('clip')}, ${t.r('m_tile')}, ${tiles}`)
  t.do(`mul.lo.u32 ${t.r('place')}, ${t.r('clip')}, ${tiles}`)
  t.do(`sub.u32 ${t.r('place')}, ${t.r('m_tile')}, ${t.r('place')}`)
  t.do(`mul.lo.u32 ${t.r('place')}, ${t.r('place')}, ${places}`)
}

/** For each tile of this block; for the one of its cluster, where blocks share a tile. */
function forTiles(t: Text, plan: ConvolutionPlan, body: () => void): void {
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
function chunksOfBlock(t: Text, plan: ConvolutionPlan): void {
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
function splitStem(t: Text, { kernel: { load }, rows }: ConvolutionPlan): string {
  if (load.mode !== 'stem') throw new Error(`hopper: ${load.mode} is not the stem`)
  const [frame, row] = [t.r('frame'), t.r('row')]
  const tiles = Math.ceil(load.height / (rows / M64))
  t.do(`div.u32 ${frame}, ${t.r('m_tile')}, ${tiles}`, `mul.lo.u32 ${row}, ${frame}, ${tiles}`)
  t.do(`sub.u32 ${row}, ${t.r('m_tile')}, ${row}`, `mul.lo.u32 ${row}, ${row}, ${rows / M64}`)
  return row
}

/** Where a tile's boxes begin in the input. */
function startOfLoads(t: Text, plan: ConvolutionPlan): void {
  const { load } = plan.kernel
  if (load.mode === 'shift') {
    t.do(`mad.lo.u32 ${t.r('row')}, ${t.r('m_tile')}, ${plan.rows}, ${-reach(load)}`)
    return
  }
  if (load.mode === 'frames') {
    splitFrames(t, load.places, load.total)
    return
  }
  if (load.mode === 'stem') {
    const y = splitStem(t, plan)
    t.do(`mul.lo.u32 ${t.r('y')}, ${y}, 2`, `sub.u32 ${t.r('y')}, ${t.r('y')}, 3`)
    return
  }
  const { size, stride, padding } = load
  const [x, y, f, n, q] = [t.r('x'), t.r('y'), t.r('frame'), t.r('clip'), t.r('quotient')]
  t.do(`mul.lo.u32 ${q}, ${t.r('m_tile')}, ${plan.rows}`)
  const split = (rest: string, quotient: string, from: string, by: number) =>
    t.do(
      `div.u32 ${quotient}, ${from}, ${by}`,
      `mul.lo.u32 ${rest}, ${quotient}, ${by}`,
      `sub.u32 ${rest}, ${from}, ${rest}`,
    )
  split(x, t.r('quotient2'), q, size[2])
  split(y, q, t.r('quotient2'), size[1])
  split(f, n, q, size[0])
  const scale = (at: string, axis: 0 | 1 | 2) =>
    t.do(`mul.lo.u32 ${at}, ${at}, ${stride[axis]}`, `sub.u32 ${at}, ${at}, ${padding[axis]}`)
  scale(x, 2)
  scale(y, 1)
  scale(f, 0)
}

/** Brings one stage of places: all boxes of a chunk, or one tap's. */
function loadPlaces(t: Text, plan: ConvolutionPlan, a: Cursor, tap: number): void {
  const { load } = plan.kernel
  const [to, channel] = [t.r('to'), t.r('channel')]
  a.locate()
  a.waitFree()
  a.expect(loadBytes(plan.kernel, plan.rows, plan.boxRows, plan.boxes))
  a.address(to)
  const copy = (dims: number, mode: string, coordinates: string[], offsets = '') =>
    t.do(
      `cp.async.bulk.tensor.${dims}d.shared::cluster.global.${mode}.mbarrier::complete_tx::bytes [${to}], [${t.d('map')}, {${[channel, ...coordinates].join(', ')}}], [${a.fullBarrier}]${offsets}`,
    )
  if (load.mode === 'stem') copy(5, 'tile', ['-2', '0', t.r('y'), t.r('frame')])
  else if (load.mode === 'frames') copy(4, 'tile', [t.r('place'), '-1', t.r('clip')])
  else if (load.mode === 'im2col') {
    const offsets = load.taps[tap]!
    copy(5, 'im2col', [t.r('x'), t.r('y'), t.r('frame'), t.r('clip')], `, {${offsets.join(', ')}}`)
  } else
    for (let box = 0; box < plan.boxes; box++) {
      if (box > 0) t.do(`add.u32 ${to}, ${to}, ${plan.boxRows * ROW_BYTES}`)
      t.do(`add.u32 ${t.r('box_row')}, ${t.r('row')}, ${box * plan.boxRows}`)
      copy(2, 'tile', [t.r('box_row')])
    }
  a.next()
}

/**
 * Waits for the kernels before, if this one was launched while they ran: before anything is read that they write, and
 * before anything is written that they read.
 */
const awaitEarlier = (t: Text): void => t.do('griddepcontrol.wait')

/** The warp that brings places. */
function placesProducer(t: Text, plan: ConvolutionPlan, a: Cursor): void {
  t.comment('Places: for each tile, each chunk of channels (and each tap, where a tap is a load).')
  a.start()
  t.do(`mov.b64 ${t.d('map')}, places`, `cvta.param.u64 ${t.d('map')}, ${t.d('map')}`)
  t.do(`prefetch.tensormap [${t.d('map')}]`)
  awaitEarlier(t)
  forTiles(t, plan, () => {
    startOfLoads(t, plan)
    const [channel, end] = [t.r('channel'), t.r('end_channel')]
    t.do(`mul.lo.u32 ${channel}, ${t.r('first_chunk')}, ${CHUNK}`)
    t.do(`mul.lo.u32 ${end}, ${t.r('end_chunk')}, ${CHUNK}`)
    t.while(
      'chunk',
      () => {
        t.do(`setp.lt.u32 ${t.p('more')}, ${channel}, ${end}`)
        return t.p('more')
      },
      () => {
        const loads = plan.kernel.load.mode === 'im2col' ? plan.taps : 1
        for (let tap = 0; tap < loads; tap++) loadPlaces(t, plan, a, tap)
        t.do(`add.u32 ${channel}, ${channel}, ${CHUNK}`)
      },
    )
  })
}

/** The warp that brings weights: blocks in the order in which they are packed. */
function weightsProducer(t: Text, plan: ConvolutionPlan, b: Cursor): void {
  const { ring } = b
  const blocks = plan.chunks * plan.taps
  const [from, left, to] = [t.d('from'), t.r('left'), t.r('to')]
  b.start()
  t.do(`ld.param.u64 ${t.d('weights')}, [weights]`)
  const one = () => {
    b.locate()
    if (!ring.kept) b.waitFree()
    b.expect(ring.stageBytes)
    b.address(to)
    t.do(
      `cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [${to}], [${from}], ${ring.stageBytes}, [${b.fullBarrier}]`,
    )
    b.next()
    t.do(`add.u64 ${from}, ${from}, ${ring.stageBytes}`, `sub.u32 ${left}, ${left}, 1`)
  }
  const all = () => {
    t.do(`sub.u32 ${left}, ${t.r('end_chunk')}, ${t.r('first_chunk')}`)
    t.do(`mul.lo.u32 ${left}, ${left}, ${plan.taps}`)
    t.while(
      'block',
      () => {
        t.do(`setp.ne.u32 ${t.p('more')}, ${left}, 0`)
        return t.p('more')
      },
      one,
    )
  }
  if (ring.kept) {
    t.comment('Weights: all of them once.')
    t.do(`mov.u64 ${from}, ${t.d('weights')}`)
    all()
    return
  }
  t.comment('Weights: for each tile, the blocks of its columns.')
  forTiles(t, plan, () => {
    t.do(`mul.wide.u32 ${from}, ${t.r('n_tile')}, ${blocks * ring.stageBytes}`)
    t.do(`add.u64 ${from}, ${from}, ${t.d('weights')}`)
    t.do(`mul.wide.u32 ${t.d('wide')}, ${t.r('first_chunk')}, ${plan.taps * ring.stageBytes}`)
    t.do(`add.u64 ${from}, ${from}, ${t.d('wide')}`)
    all()
  })
}

/** Bytes between two blocks of 64 rows of the tile in shared memory. */
const blockBytes = (load: Load): number => (load.mode === 'stem' ? 2 * STEM_ROW : M64 * ROW_BYTES)

/** Bytes from a tap's first places to those that a step of 16 channels multiplies. */
const stepBytes = (load: Load, step: number): number => (load.mode === 'stem' ? STEM_STEPS[step]! : 32 * step)

/** Moves the address of the places, in units of 16 bytes, on to the next tap of the same load. */
function nextTap(t: Text, load: Load, at: string): void {
  const units = (bytes: number) => bytes >> 4
  if (load.mode === 'stem') t.do(`add.u64 ${at}, ${at}, ${units(STEM_ROW)}`)
  if (load.mode === 'frames') t.do(`add.u64 ${at}, ${at}, ${units(load.places * ROW_BYTES)}`)
  if (load.mode !== 'shift' || load.side === 1) return
  const [column, wraps, by] = [t.r('tap_column'), t.p('tap_wraps'), t.d('tap_by')]
  t.do(`add.u32 ${column}, ${column}, 1`, `setp.eq.u32 ${wraps}, ${column}, ${load.side}`)
  t.do(`@${wraps} mov.u32 ${column}, 0`)
  const [one, row] = [units(ROW_BYTES), units((load.pitch - load.side + 1) * ROW_BYTES)]
  t.do(`selp.b64 ${by}, ${row}, ${one}, ${wraps}`, `add.u64 ${at}, ${at}, ${by}`)
}

/** One tap of a chunk: its products are begun, those of the step before are waited for and what they have read is freed. */
function multiplyTap(
  t: Text,
  plan: ConvolutionPlan,
  b: Cursor,
  sums: readonly (readonly string[])[][],
  steps: number,
  firstOfLoad: string | true,
): void {
  const { load, blocks, columns } = plan.kernel
  const width = pieces(columns)[0]!
  const [add, have, lane0, frees] = [t.p('add'), t.p('have'), t.p('lane0'), t.p('frees')]
  const [aStart, bStart, aAt, bAt] = [t.d('a_start'), t.d('b_start'), t.d('a_at'), t.d('b_at')]
  b.locate()
  b.waitFull()
  b.descriptor(bStart, descriptorBits())
  t.do('wgmma.fence.sync.aligned')
  for (let step = 0; step < steps; step++) {
    for (let block = 0; block < blocks; block++) {
      t.do(`add.u64 ${aAt}, ${aStart}, ${(stepBytes(load, step) + block * blockBytes(load)) >> 4}`)
      for (const [piece, sum] of sums[block]!.entries()) {
        t.do(`add.u64 ${bAt}, ${bStart}, ${(piece * width * ROW_BYTES + 32 * step) >> 4}`)
        multiply(t, sum, aAt, bAt, add)
      }
    }
    if (step === 0) t.do(`setp.eq.u32 ${add}, 0, 0`)
  }
  t.do('wgmma.commit_group.sync.aligned', 'wgmma.wait_group.sync.aligned 1')
  t.do(`and.pred ${frees}, ${lane0}, ${have}`)
  if (!b.ring.kept) release(t, t.r('b_used'), frees)
  if (firstOfLoad !== true) t.do(`and.pred ${frees}, ${frees}, ${firstOfLoad}`)
  release(t, t.r('a_used'), frees)
  t.do(`setp.eq.u32 ${have}, 0, 0`)
  if (!b.ring.kept) t.do(`add.u32 ${t.r('b_used')}, ${b.full}, ${b.ring.barriersAt + 8 * b.ring.stages}`)
  b.next()
}

/** One chunk of channels: all taps. `steps`: instructions along the chunk's channels. */
function multiplyChunk(
  t: Text,
  plan: ConvolutionPlan,
  a: Cursor,
  b: Cursor,
  sums: readonly (readonly string[])[][],
  steps: number,
): void {
  const { load } = plan.kernel
  const perTap = load.mode === 'im2col'
  const [aStart, left, first] = [t.d('a_start'), t.r('taps_left'), t.p('first_tap')]
  const begin = () => {
    a.locate()
    a.waitFull()
    a.descriptor(aStart, load.mode === 'stem' ? plainDescriptorBits() : descriptorBits(), t.r('group_at'))
  }
  const end = () => {
    t.do(`add.u32 ${t.r('a_used')}, ${a.full}, ${a.ring.barriersAt + 8 * a.ring.stages}`)
    a.next()
  }
  if (!perTap) begin()
  if (load.mode === 'shift' && load.side > 1) t.do(`mov.u32 ${t.r('tap_column')}, 0`)
  t.do(`mov.u32 ${left}, ${plan.taps}`)
  t.while(
    'tap',
    () => {
      t.do(`setp.ne.u32 ${t.p('more')}, ${left}, 0`)
      return t.p('more')
    },
    () => {
      if (perTap) begin()
      t.do(`setp.eq.u32 ${first}, ${left}, ${plan.taps}`)
      multiplyTap(t, plan, b, sums, steps, perTap ? true : first)
      if (perTap) end()
      else nextTap(t, load, aStart)
      t.do(`sub.u32 ${left}, ${left}, 1`)
    },
  )
  if (!perTap) end()
}

/**
 * Leaves in `out_row` the output's row of row `at` of a tile (a register), and in `inside` whether there is one.
 */
function outputRow(t: Text, plan: ConvolutionPlan, at: string): void {
  const { load } = plan.kernel
  const [row, inside, place] = [t.r('out_row'), t.p('inside'), t.r('out_place')]
  if (load.mode === 'stem') {
    const [x, y] = [t.r('out_x'), t.r('out_y')]
    t.do(`shr.u32 ${y}, ${at}, 6`, `and.b32 ${x}, ${at}, 63`, `add.u32 ${y}, ${y}, ${t.r('row')}`)
    t.do(`setp.lt.u32 ${inside}, ${x}, ${load.width}`)
    t.do(`setp.lt.and.u32 ${inside}, ${y}, ${load.height}, ${inside}`)
    t.do(`mad.lo.u32 ${row}, ${t.r('frame')}, ${load.pitch[0]}, ${y}`)
    t.do(`mad.lo.u32 ${row}, ${row}, ${load.pitch[1]}, ${x}`)
    return
  }
  if (load.mode !== 'frames') {
    t.do(`mad.lo.u32 ${row}, ${t.r('m_tile')}, ${plan.rows}, ${at}`)
    t.do(`setp.lt.u32 ${inside}, ${row}, ${t.r('rows')}`)
    return
  }
  const { places, frames, total } = load
  const frame = t.r('out_frame')
  t.do(`div.u32 ${frame}, ${at}, ${places}`, `mul.lo.u32 ${place}, ${frame}, ${places}`)
  t.do(`sub.u32 ${place}, ${at}, ${place}`, `add.u32 ${place}, ${place}, ${t.r('place')}`)
  t.do(`setp.lt.u32 ${inside}, ${place}, ${total}`)
  t.do(`mad.lo.u32 ${row}, ${t.r('clip')}, ${frames}, ${frame}`)
  t.do(`mad.lo.u32 ${row}, ${row}, ${total}, ${place}`)
}

/** Sets a predicate where the output's row in `out_row` is not padding; leaves its frame, row and column. */
function setReal(t: Text, pads: { height: number; width: number }, real: string): void {
  const [x, y, q, frame] = [t.r('pad_x'), t.r('pad_y'), t.r('pad_q'), t.r('pad_frame')]
  t.do(`div.u32 ${q}, ${t.r('out_row')}, ${pads.width}`)
  t.do(`mul.lo.u32 ${x}, ${q}, ${pads.width}`, `sub.u32 ${x}, ${t.r('out_row')}, ${x}`)
  t.do(`div.u32 ${frame}, ${q}, ${pads.height}`)
  t.do(`mul.lo.u32 ${y}, ${frame}, ${pads.height}`, `sub.u32 ${y}, ${q}, ${y}`)
  t.do(`setp.ne.u32 ${real}, ${x}, ${pads.width - 1}`)
  t.do(`setp.ne.and.u32 ${real}, ${y}, ${pads.height - 1}, ${real}`)
}

/** The output's row in `out_row` -> the same where there is no padding, which is not `inside` any more. */
function skipPads(t: Text, { pads }: ConvolutionKernel): void {
  if (!pads) throw new Error('hopper: no padding to leave out')
  setReal(t, pads, t.p('real'))
  t.do(`and.pred ${t.p('inside')}, ${t.p('inside')}, ${t.p('real')}`)
  t.do(`mad.lo.u32 ${t.r('out_row')}, ${t.r('pad_frame')}, ${pads.height - 1}, ${t.r('pad_y')}`)
  t.do(`mad.lo.u32 ${t.r('out_row')}, ${t.r('out_row')}, ${pads.width - 1}, ${t.r('pad_x')}`)
}

/** Sums of 64 rows -> float16 in this warp's 16 rows of shared memory. */
function stageSums(
  t: Text,
  plan: ConvolutionPlan,
  sums: readonly string[],
  block: number,
  piece: number,
): void {
  const { kernel } = plan
  const relu = kernel.relu && !kernel.residual
  const reals = [t.p('real0'), t.p('real1')]
  if (kernel.pads)
    for (const [i, real] of reals.entries()) {
      t.do(`add.u32 ${t.r('at')}, ${t.r('row_of_lane')}, ${block * M64 + 8 * i}`)
      outputRow(t, plan, t.r('at'))
      setReal(t, kernel.pads, real)
    }
  const [even, odd] = [t.f('bias0'), t.f('bias1')]
  const word = (i: number) => t.r(`word${i}`)
  const groups = sums.length / 4
  for (let j = 0; j < groups; j++) {
    t.do(`ld.global.nc.v2.f32 {${even}, ${odd}}, [${t.d('bias_at')}+${32 * (piece * groups + j)}]`)
    for (const half of [0, 1]) {
      const [v0, v1] = [sums[4 * j + 2 * half]!, sums[4 * j + 2 * half + 1]!]
      t.do(`add.f32 ${v0}, ${v0}, ${even}`, `add.f32 ${v1}, ${v1}, ${odd}`)
      const to = word(2 * (j % 2) + half)
      t.do(`cvt.rn${relu ? '.relu' : ''}.f16x2.f32 ${to}, ${v1}, ${v0}`)
      if (kernel.pads) t.do(`selp.b32 ${to}, ${to}, 0, ${reals[half]}`)
    }
    const at = `[${t.r('staging_lane')}+${16 * (j - (j % 2))}]`
    if (j % 2 === 1)
      t.do(`stmatrix.sync.aligned.m8n8.x4.shared.b16 ${at}, {${[0, 1, 2, 3].map(word).join(', ')}}`)
    else if (j === groups - 1)
      t.do(`stmatrix.sync.aligned.m8n8.x2.shared.b16 ${at}, {${word(0)}, ${word(1)}}`)
  }
}

/** Columns of a tile that go through shared memory at once: those of one instruction. */
interface Part {
  readonly block: number
  readonly piece: number
  readonly columns: number
}

/** 16 bytes of each lane that a part of a warp's rows takes. */
const turnsOf = ({ columns }: Part): number => Math.ceil(columns / 16)

/** Leaves where the lane's 16 bytes of a turn lie in the output, in `piece_offset`, and in `inside` whether there are any. */
function locatePiece(
  t: Text,
  plan: ConvolutionPlan,
  part: Part,
  turn: number,
  of: 'output' | 'residual',
): void {
  const groups = part.columns / 8
  const [piece, row, column, offset] = [
    t.r('piece'),
    t.r('piece_row'),
    t.r('piece_column'),
    t.d('piece_offset'),
  ]
  t.do(`add.u32 ${piece}, ${t.r('lane')}, ${32 * turn}`)
  t.do(`div.u32 ${row}, ${piece}, ${groups}`)
  t.do(`mul.lo.u32 ${column}, ${row}, ${groups}`, `sub.u32 ${column}, ${piece}, ${column}`)
  t.do(`add.u32 ${t.r('at')}, ${t.r('row_of_warp')}, ${part.block * M64}`)
  t.do(`add.u32 ${t.r('at')}, ${t.r('at')}, ${row}`)
  outputRow(t, plan, t.r('at'))
  if (plan.kernel.dense?.[of]) skipPads(t, plan.kernel)
  if (32 * (turn + 1) > 16 * groups)
    t.do(`setp.lt.and.u32 ${t.p('inside')}, ${piece}, ${16 * groups}, ${t.p('inside')}`)
  t.do(`mad.lo.u32 ${t.r('channel')}, ${column}, 8, ${t.r('first_column')}`)
  if (part.piece > 0) t.do(`add.u32 ${t.r('channel')}, ${t.r('channel')}, ${part.piece * part.columns}`)
  t.do(`cvt.u64.u32 ${t.d('wide')}, ${t.r('channel')}`)
  t.do(`mad.wide.u32 ${offset}, ${t.r('out_row')}, ${plan.kernel.channelsOut}, ${t.d('wide')}`)
  t.do(`shl.b64 ${offset}, ${offset}, 1`)
}

const residualWords = (t: Text, { block, piece }: Part, turn: number): string[] =>
  [0, 1, 2, 3].map(i => t.r(`residual${block}_${piece}_${turn}_${i}`))

/** What will be added to this lane's pieces, asked for before the sums are made. */
function fetchResidual(t: Text, plan: ConvolutionPlan, part: Part): void {
  for (let turn = 0; turn < turnsOf(part); turn++) {
    locatePiece(t, plan, part, turn, 'residual')
    t.do(`add.u64 ${t.d('piece_offset')}, ${t.d('piece_offset')}, ${t.d('residual')}`)
    const words = residualWords(t, part, turn)
    // Padding of the output has nothing to be added where the residual has no padding.
    t.do(...words.map(word => `mov.b32 ${word}, 0`))
    t.do(`@${t.p('inside')} ld.global.nc.v4.b32 {${words.join(', ')}}, [${t.d('piece_offset')}]`)
  }
}

/** This warp's 16 rows of shared memory -> the output, 16 bytes a lane, with the residual added. */
function storeRows(t: Text, plan: ConvolutionPlan, part: Part): void {
  const { residual, relu } = plan.kernel
  const words = [0, 1, 2, 3].map(i => t.r(`word${i}`))
  const [from, offset] = [t.r('piece_from'), t.d('piece_offset')]
  for (let turn = 0; turn < turnsOf(part); turn++) {
    locatePiece(t, plan, part, turn, 'output')
    t.do(`mad.lo.u32 ${from}, ${t.r('piece_row')}, ${pitchOf(part.columns)}, ${t.r('staging')}`)
    t.do(`mad.lo.u32 ${from}, ${t.r('piece_column')}, 16, ${from}`)
    t.when(t.p('inside'), 'outside', () => {
      t.do(`ld.shared.v4.b32 {${words.join(', ')}}, [${from}]`)
      if (residual)
        for (const [i, added] of residualWords(t, part, turn).entries()) {
          t.do(`add.f16x2 ${words[i]}, ${words[i]}, ${added}`)
          if (relu) t.do(`max.f16x2 ${words[i]}, ${words[i]}, ${t.r('zero')}`)
        }
      t.do(`add.u64 ${offset}, ${offset}, ${t.d('output')}`)
      t.do(`st.global.v4.b32 [${offset}], {${words.join(', ')}}`)
    })
  }
}

/** All threads of the cluster wait for each other; what they have written to shared memory is seen by all. */
const meet = (t: Text): void => t.do('barrier.cluster.arrive.release', 'barrier.cluster.wait.acquire')

/**
 * Sums of the cluster's blocks -> the output. Each block gathers the sums of some groups of eight columns: four of each
 * thread and block, in the memory that the operands had.
 */
function reduceSums(t: Text, plan: ConvolutionPlan, sums: readonly (readonly string[])[]): void {
  const { kernel } = plan
  const { split, columns, groups } = kernel
  const threads = 128 * groups
  const all = columns / 8
  /** The first group of eight columns that a block gathers. */
  const firstOf = (rank: number) => Math.ceil((rank * all) / split)
  const most = Math.ceil(all / split)
  const [mine, at] = [t.r('gather_mine'), t.r('gather_at')]
  t.do(`sub.u32 ${mine}, ${t.r('thread')}, 128`, `mad.lo.u32 ${mine}, ${mine}, 16, ${t.r('base')}`)
  t.comment('All blocks are done with their operands.')
  meet(t)
  const turnBytes = threads * 16
  const blockBytes = kernel.blocks * most * turnBytes
  t.do(`mad.lo.u32 ${at}, ${t.r('rank')}, ${blockBytes}, ${mine}`)
  for (let rank = 0; rank < split; rank++) {
    t.do(`mapa.shared::cluster.u32 ${t.r('gather_to')}, ${at}, ${rank}`)
    for (let block = 0; block < kernel.blocks; block++)
      for (let j = firstOf(rank); j < firstOf(rank + 1); j++) {
        const values = sums[block]!.slice(4 * j, 4 * j + 4).join(', ')
        const offset = (block * most + j - firstOf(rank)) * turnBytes
        t.do(`st.shared::cluster.v4.f32 [${t.r('gather_to')}+${offset}], {${values}}`)
      }
  }
  meet(t)
  const [first, end, left] = [t.r('gather_first'), t.r('gather_end'), t.r('gather_left')]
  for (const [to, extra] of [
    [first, 0],
    [end, 1],
  ] as const) {
    t.do(`add.u32 ${to}, ${t.r('rank')}, ${extra}`)
    t.do(`mad.lo.u32 ${to}, ${to}, ${all}, ${split - 1}`, `div.u32 ${to}, ${to}, ${split}`)
  }
  const values = [0, 1, 2, 3].map(i => t.f(`gathered${i}`))
  const part = [0, 1, 2, 3].map(i => t.f(`part${i}`))
  const [biasAt, word, added] = [t.d('gather_bias'), t.r('word0'), t.r('added0')]
  for (let block = 0; block < kernel.blocks; block++) {
    for (const half of [0, 1]) {
      t.do(`add.u32 ${t.r('at')}, ${t.r('row_of_lane')}, ${block * M64 + 8 * half}`)
      outputRow(t, plan, t.r('at'))
      if (kernel.pads) setReal(t, kernel.pads, t.p(`real${half}`))
      t.do(`mad.lo.u32 ${t.r('channel')}, ${first}, 8, ${t.r('first_column')}`)
      t.do(
        `and.b32 ${t.r('part')}, ${t.r('lane')}, 3`,
        `mad.lo.u32 ${t.r('channel')}, ${t.r('part')}, 2, ${t.r('channel')}`,
      )
      t.do(`cvt.u64.u32 ${t.d('wide')}, ${t.r('channel')}`)
      for (const of of ['residual', 'output'] as const) {
        if (of === 'residual' && !kernel.residual) continue
        const offset = t.d(`gather_${of}${half}`)
        outputRow(t, plan, t.r('at'))
        if (kernel.dense?.[of]) skipPads(t, kernel)
        t.do(`mad.wide.u32 ${offset}, ${t.r('out_row')}, ${kernel.channelsOut}, ${t.d('wide')}`)
        t.do(`shl.b64 ${offset}, ${offset}, 1`, `add.u64 ${offset}, ${offset}, ${t.d(of)}`)
        t.do(`mov.pred ${t.p(`${of}_inside${half}`)}, ${t.p('inside')}`)
      }
    }
    t.do(`mul.wide.u32 ${biasAt}, ${first}, 32`, `add.u64 ${biasAt}, ${biasAt}, ${t.d('bias_at')}`)
    t.do(`add.u32 ${at}, ${mine}, ${block * most * turnBytes}`, `sub.u32 ${left}, ${end}, ${first}`)
    t.while(
      'gather',
      () => {
        t.do(`setp.ne.u32 ${t.p('more')}, ${left}, 0`)
        return t.p('more')
      },
      () => {
        t.do(`ld.shared.v4.f32 {${values.join(', ')}}, [${at}]`)
        for (let rank = 1; rank < split; rank++) {
          t.do(`ld.shared.v4.f32 {${part.join(', ')}}, [${at}+${rank * blockBytes}]`)
          for (const [i, value] of values.entries()) t.do(`add.f32 ${value}, ${value}, ${part[i]}`)
        }
        t.do(`ld.global.nc.v2.f32 {${part[0]}, ${part[1]}}, [${biasAt}]`)
        for (const [i, value] of values.entries()) t.do(`add.f32 ${value}, ${value}, ${part[i % 2]}`)
        for (const half of [0, 1]) {
          const relu = kernel.relu && !kernel.residual ? '.relu' : ''
          t.do(`cvt.rn${relu}.f16x2.f32 ${word}, ${values[2 * half + 1]}, ${values[2 * half]}`)
          if (kernel.pads) t.do(`selp.b32 ${word}, ${word}, 0, ${t.p(`real${half}`)}`)
          const [output, residual] = [t.d(`gather_output${half}`), t.d(`gather_residual${half}`)]
          t.when(t.p(`output_inside${half}`), 'outside', () => {
            if (kernel.residual) {
              const inside = t.p(`residual_inside${half}`)
              t.do(`mov.b32 ${added}, 0`, `@${inside} ld.global.nc.b32 ${added}, [${residual}]`)
              t.do(`add.f16x2 ${word}, ${word}, ${added}`)
              if (kernel.relu) t.do(`max.f16x2 ${word}, ${word}, ${t.r('zero')}`)
            }
            t.do(`st.global.b32 [${output}], ${word}`)
          })
          t.do(`add.u64 ${output}, ${output}, 16`)
          if (kernel.residual) t.do(`add.u64 ${residual}, ${residual}, 16`)
        }
        t.do(`add.u64 ${biasAt}, ${biasAt}, 32`)
        t.do(`add.u32 ${at}, ${at}, ${turnBytes}`, `sub.u32 ${left}, ${left}, 1`)
      },
    )
  }
}

/** The warpgroups that multiply. */
function consumer(t: Text, plan: ConvolutionPlan, layout: Layout, a: Cursor, b: Cursor): void {
  const { load, blocks, columns, relu, residual, split } = plan.kernel
  const widths = pieces(columns)
  const sums = Array.from({ length: blocks }, (_, block) =>
    widths.map((width, piece) => accumulator(t, `c${block}_${piece}`, width)),
  )
  const parts = sums.flatMap((_, block) => widths.map((width, piece) => ({ block, piece, columns: width })))
  const [lane, lane0, group, warp] = [t.r('lane'), t.p('lane0'), t.r('group'), t.r('warp')]
  t.do(`and.b32 ${lane}, ${t.r('thread')}, 31`, `setp.eq.u32 ${lane0}, ${lane}, 0`)
  t.do(`shr.u32 ${warp}, ${t.r('thread')}, 5`, `sub.u32 ${warp}, ${warp}, 4`)
  t.do(
    `shr.u32 ${group}, ${warp}, 2`,
    `mul.lo.u32 ${t.r('group_at')}, ${group}, ${blocks * blockBytes(load)}`,
  )
  t.comment('Rows of a tile that this warp and this lane have sums of.')
  const [rowOfWarp, rowOfLane] = [t.r('row_of_warp'), t.r('row_of_lane')]
  t.do(`and.b32 ${rowOfWarp}, ${warp}, 3`, `shl.b32 ${rowOfWarp}, ${rowOfWarp}, 4`)
  t.do(`mad.lo.u32 ${rowOfWarp}, ${group}, ${blocks * M64}, ${rowOfWarp}`)
  t.do(`shr.u32 ${rowOfLane}, ${lane}, 2`, `add.u32 ${rowOfLane}, ${rowOfLane}, ${rowOfWarp}`)
  t.comment('Where the warp and the lane put their rows before these go to memory.')
  const pitch = pitchOf(widths[0]!)
  const [staging, stagingLane, part] = [t.r('staging'), t.r('staging_lane'), t.r('part')]
  t.do(`mad.lo.u32 ${staging}, ${warp}, ${16 * pitch}, ${t.r('base')}`)
  t.do(`add.u32 ${staging}, ${staging}, ${layout.stagingAt}`)
  t.do(`and.b32 ${part}, ${lane}, 15`, `mad.lo.u32 ${stagingLane}, ${part}, ${pitch}, ${staging}`)
  t.do(`shr.u32 ${part}, ${lane}, 4`, `mad.lo.u32 ${stagingLane}, ${part}, 16, ${stagingLane}`)
  t.do(`ld.param.u64 ${t.d('output')}, [output]`, `ld.param.u64 ${t.d('bias')}, [bias]`)
  if (residual) t.do(`ld.param.u64 ${t.d('residual')}, [residual]`)
  if (residual && relu) t.do(`mov.u32 ${t.r('zero')}, 0`)
  t.comment('Columns of the bias that this lane has sums of: two of each eight.')
  t.do(`and.b32 ${part}, ${lane}, 3`, `mul.wide.u32 ${t.d('wide')}, ${part}, 8`)
  t.do(`add.u64 ${t.d('bias')}, ${t.d('bias')}, ${t.d('wide')}`)
  a.start()
  b.start()
  awaitEarlier(t)
  forTiles(t, plan, () => {
    if (load.mode === 'frames') splitFrames(t, load.places, load.total)
    if (load.mode === 'stem') splitStem(t, plan)
    t.do(`mul.lo.u32 ${t.r('first_column')}, ${t.r('n_tile')}, ${columns}`)
    t.do(`mul.wide.u32 ${t.d('bias_at')}, ${t.r('first_column')}, 4`)
    t.do(`add.u64 ${t.d('bias_at')}, ${t.d('bias_at')}, ${t.d('bias')}`)
    if (residual && split === 1) for (const part of parts) fetchResidual(t, plan, part)
    t.do(`setp.ne.u32 ${t.p('add')}, 0, 0`, `setp.ne.u32 ${t.p('have')}, 0, 0`)
    const whole = plan.lastSteps === 4 ? plan.chunks : plan.chunks - 1
    if (whole > 0) {
      t.do(`min.u32 ${t.r('left')}, ${t.r('end_chunk')}, ${whole}`)
      t.do(`sub.u32 ${t.r('left')}, ${t.r('left')}, ${t.r('first_chunk')}`)
      t.while(
        'chunk',
        () => {
          t.do(`setp.ne.u32 ${t.p('more')}, ${t.r('left')}, 0`)
          return t.p('more')
        },
        () => {
          multiplyChunk(t, plan, a, b, sums, 4)
          t.do(`sub.u32 ${t.r('left')}, ${t.r('left')}, 1`)
        },
      )
    }
    if (whole < plan.chunks) {
      t.do(`setp.eq.u32 ${t.p('last')}, ${t.r('end_chunk')}, ${plan.chunks}`)
      const last = () => multiplyChunk(t, plan, a, b, sums, plan.lastSteps)
      if (plan.kernel.split > 1) t.when(t.p('last'), 'not_last', last)
      else last()
    }
    t.do('wgmma.wait_group.sync.aligned 0')
    if (!b.ring.kept) release(t, t.r('b_used'), lane0)
    release(t, t.r('a_used'), lane0)
    if (split > 1) {
      reduceSums(
        t,
        plan,
        sums.map(block => block.flat()),
      )
      return
    }
    t.comment('Bias, ReLU and residual; float16; through shared memory, so that stores are wide.')
    for (const part of parts) {
      stageSums(t, plan, sums[part.block]![part.piece]!, part.block, part.piece)
      t.do('bar.warp.sync 0xffffffff')
      storeRows(t, plan, part)
      t.do('bar.warp.sync 0xffffffff')
    }
  })
}

/** Registers of a thread: of those that load, and of those that multiply. The block starts with an even share. */
const REGISTERS: Readonly<Record<number, readonly [loading: number, multiplying: number]>> = {
  1: [40, 240],
  2: [40, 232],
  3: [32, 160],
}

/** Parameters in order, for `new Kernel`: the map of places; weights, bias, residual, output; rows of the output, tiles. */
export const CONVOLUTION_PARAMETERS = [
  { bytes: 128 },
  'pointer',
  'pointer',
  'pointer',
  'pointer',
  'u32',
  'u32',
] as const

/**
 * The PTX of a convolution as a product of matrices: rows are places of the output, columns its channels, and what is
 * summed over are taps and channels of the input.
 */
export function convolutionPtx(kernel: ConvolutionKernel): string {
  const plan = planConvolution(kernel)
  const layout = layoutOf(kernel, plan.rows, plan.boxRows, plan.boxes)
  const t = new Text()
  const [thread, base] = [t.r('thread'), t.r('base')]
  t.do(`mov.u32 ${thread}, %tid.x`, `mov.u32 ${base}, shared`)
  t.do(
    `add.u32 ${base}, ${base}, ${ATOM_BYTES - 1}`,
    `and.b32 ${base}, ${base}, ${hex(0x100000000 - ATOM_BYTES)}`,
  )
  t.do(`ld.param.u32 ${t.r('rows')}, [rows]`, `ld.param.u32 ${t.r('tiles')}, [tiles]`)
  t.do(`mov.u32 ${t.r('grid')}, %nctaid.x`)
  if (kernel.split > 1) t.do(`mov.u32 ${t.r('rank')}, %cluster_ctarank`)
  chunksOfBlock(t, plan)
  initialise(t, base, [
    { ring: layout.a, arrivals: 4 * kernel.groups },
    { ring: layout.b, arrivals: 4 * kernel.groups },
  ])
  t.comment('The next kernel may begin where blocks of this one have ended.')
  t.do('griddepcontrol.launch_dependents')
  const [a, b] = [new Cursor(t, layout.a, base), new Cursor(t, layout.b, base)]
  const [loading, multiplying] = REGISTERS[kernel.groups]!
  const multiplies = t.label('multiplies')
  t.do(`setp.ge.u32 ${t.p('multiplies')}, ${thread}, 128`, `@${t.p('multiplies')} bra ${multiplies}`)
  t.do(`setmaxnreg.dec.sync.aligned.u32 ${loading}`)
  t.do(`setp.eq.u32 ${t.p('is_places')}, ${thread}, 0`, `setp.eq.u32 ${t.p('is_weights')}, ${thread}, 32`)
  t.when(t.p('is_places'), 'not_places', () => placesProducer(t, plan, a))
  t.when(t.p('is_weights'), 'not_weights', () => weightsProducer(t, plan, b))
  if (kernel.split > 1) {
    t.comment('The two meetings of the blocks that share a tile.')
    meet(t)
    meet(t)
  }
  t.do('ret')
  t.place(multiplies)
  t.do(`setmaxnreg.inc.sync.aligned.u32 ${multiplying}`)
  consumer(t, plan, layout, a, b)
  t.do('ret')
  return `.version 8.0
.target sm_90a
.address_size 64

.extern .shared .align 1024 .b8 shared[];

.visible .entry ${kernel.name}(
    .param .align 64 .b8 places[128],
    .param .u64 weights, .param .u64 bias, .param .u64 residual, .param .u64 output,
    .param .u32 rows, .param .u32 tiles)
.maxntid ${plan.threads}, 1, 1
.minnctapersm 1
${
  kernel.split > 1
    ? `.explicitcluster
.reqnctapercluster ${kernel.split}, 1, 1
`
    : ''
}{
${t.body()}
}
`
}
