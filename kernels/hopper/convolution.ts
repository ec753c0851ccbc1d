import { awaitEarlier, placesProducer, weightsProducer } from './load.ts'
import { blockBytes, multiplyChunk } from './multiply.ts'
import { ATOM_BYTES, accumulator, Cursor, hex, initialise, pieces, release } from './parts.ts'
import {
  type ConvolutionKernel,
  type ConvolutionPlan,
  type Layout,
  layoutOf,
  M64,
  pitchOf,
  planConvolution,
} from './plan.ts'
import { meet, reduceSums } from './reduce.ts'
import { fetchResidual, stageSums, storeRows } from './store.ts'
import { Text } from './text.ts'
import { chunksOfBlock, forTiles, splitFrames, splitStem } from './tiles.ts'

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
