import { CHUNK, type Cursor, ROW_BYTES } from './parts.ts'
import { type ConvolutionPlan, loadBytes, reach } from './plan.ts'
import type { Text } from './text.ts'
import { forTiles, splitFrames, splitStem } from './tiles.ts'

/** Where a tile's boxes begin in the input. */
export function startOfLoads(t: Text, plan: ConvolutionPlan): void {
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
export const awaitEarlier = (t: Text): void => t.do('griddepcontrol.wait')

/** The warp that brings places. */
export function placesProducer(t: Text, plan: ConvolutionPlan, a: Cursor): void {
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
export function weightsProducer(t: Text, plan: ConvolutionPlan, b: Cursor): void {
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
