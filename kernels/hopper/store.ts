import { type ConvolutionKernel, type ConvolutionPlan, M64, pitchOf } from './plan.ts'
import type { Text } from './text.ts'

/**
 * Leaves in `out_row` the output's row of row `at` of a tile (a register), and in `inside` whether there is one.
 */
export function outputRow(t: Text, plan: ConvolutionPlan, at: string): void {
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
export function setReal(t: Text, pads: { height: number; width: number }, real: string): void {
  const [x, y, q, frame] = [t.r('pad_x'), t.r('pad_y'), t.r('pad_q'), t.r('pad_frame')]
  t.do(`div.u32 ${q}, ${t.r('out_row')}, ${pads.width}`)
  t.do(`mul.lo.u32 ${x}, ${q}, ${pads.width}`, `sub.u32 ${x}, ${t.r('out_row')}, ${x}`)
  t.do(`div.u32 ${frame}, ${q}, ${pads.height}`)
  t.do(`mul.lo.u32 ${y}, ${frame}, ${pads.height}`, `sub.u32 ${y}, ${q}, ${y}`)
  t.do(`setp.ne.u32 ${real}, ${x}, ${pads.width - 1}`)
  t.do(`setp.ne.and.u32 ${real}, ${y}, ${pads.height - 1}, ${real}`)
}

/** The output's row in `out_row` -> the same where there is no padding, which is not `inside` any more. */
export function skipPads(t: Text, { pads }: ConvolutionKernel): void {
  if (!pads) throw new Error('hopper: no padding to leave out')
  setReal(t, pads, t.p('real'))
  t.do(`and.pred ${t.p('inside')}, ${t.p('inside')}, ${t.p('real')}`)
  t.do(`mad.lo.u32 ${t.r('out_row')}, ${t.r('pad_frame')}, ${pads.height - 1}, ${t.r('pad_y')}`)
  t.do(`mad.lo.u32 ${t.r('out_row')}, ${t.r('out_row')}, ${pads.width - 1}, ${t.r('pad_x')}`)
}

/** Sums of 64 rows -> float16 in this warp's 16 rows of shared memory. */
export function stageSums(
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
export interface Part {
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
export function fetchResidual(t: Text, plan: ConvolutionPlan, part: Part): void {
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
export function storeRows(t: Text, plan: ConvolutionPlan, part: Part): void {
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
