import { type ConvolutionPlan, M64 } from './plan.ts'
import { outputRow, setReal, skipPads } from './store.ts'
import type { Text } from './text.ts'

/** All threads of the cluster wait for each other; what they have written to shared memory is seen by all. */
export const meet = (t: Text): void => t.do('barrier.cluster.arrive.release', 'barrier.cluster.wait.acquire')

/**
 * Sums of the cluster's blocks -> the output. Each block gathers the sums of some groups of eight columns: four of each
 * thread and block, in the memory that the operands had.
 */
export function reduceSums(t: Text, plan: ConvolutionPlan, sums: readonly (readonly string[])[]): void {
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
