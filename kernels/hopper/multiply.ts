import {
  type Cursor,
  descriptorBits,
  multiply,
  pieces,
  plainDescriptorBits,
  ROW_BYTES,
  release,
} from './parts.ts'
import { type ConvolutionPlan, type Load, M64, STEM_ROW, STEM_STEPS } from './plan.ts'
import type { Text } from './text.ts'

/** Bytes between two blocks of 64 rows of the tile in shared memory. */
export const blockBytes = (load: Load): number => (load.mode === 'stem' ? 2 * STEM_ROW : M64 * ROW_BYTES)

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
export function multiplyChunk(
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
