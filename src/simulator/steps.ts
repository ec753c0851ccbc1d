import type { Instance } from '../pipeline/plan.ts'
import type { Item } from '../queue/item.ts'
import { groupsWithin } from '../steps/batcher.ts'
import type { Body } from './clock.ts'
import type { ServiceModel } from './service.ts'
import type { SimulatedSlots } from './slots.ts'

/** What a simulated step may do. */
export interface StepHands {
  instance: Instance
  /** Of its instance; undefined if its outputs have no tensors. */
  slots: SimulatedSlots | undefined
  /** Steps that it reads from. */
  sources: number
  service: ServiceModel
  /** Lets the time of a call pass. */
  serve(request: number, items: number, clips: number): Body
  emit(item: Item): Body
}

/** One thread's step: what it does with a batch of items. */
export type SimulatedStep = (items: readonly Item[]) => Body

export const clipsOf = (items: readonly Item[]): number =>
  items.reduce((sum, { shares }) => shares.reduce((rows, { clips }) => rows + clips, sum), 0)

function* allocate({ instance, slots }: StepHands, clips: number): Body<Item['tensors']> {
  if (!slots) return []
  return [{ pool: instance.id, slot: yield* slots.acquire(), row: 0, shape: [clips] }]
}

/** Makes clips: the first step. */
const loads = (hands: StepHands): SimulatedStep =>
  function* (items) {
    for (const item of items) {
      const share = item.shares[0]!
      const clips = hands.service.clips(hands.instance, share.request)
      const out: Item = { shares: [{ ...share, clips }], tensors: yield* allocate(hands, clips), values: [] }
      yield* hands.serve(share.request, 1, clips)
      yield* hands.emit(out)
    }
  }

function* join(hands: StepHands, items: readonly Item[]): Body {
  const clips = clipsOf(items)
  const shares = items.flatMap(item => item.shares)
  const out: Item = {
    shares,
    tensors: yield* allocate(hands, clips),
    values: items.flatMap(item => item.values),
  }
  yield* hands.serve(shares[0]!.request, items.length, clips)
  yield* hands.emit(out)
}

/** Takes a batch in one call. */
const computes =
  (hands: StepHands): SimulatedStep =>
  items =>
    join(hands, items)

/** Joins what its outputs hold, as `src/steps/batcher.ts` does. */
const batches = (hands: StepHands): SimulatedStep =>
  function* (items) {
    const most = hands.instance.outputs[0]!.shape[0]!
    for (const group of groupsWithin(items, most)) yield* join(hands, group)
  }

/** Far below the smallest share that there can be. */
const ROUNDING = 1e-9

/** Waits for all parts of a request, as `src/steps/aggregator.ts` does. */
const aggregates = (hands: StepHands): SimulatedStep => {
  const seen = new Map<number, number>()
  return function* (items) {
    for (const { request, parts, clips } of items.flatMap(item => item.shares)) {
      yield* hands.serve(request, 1, clips)
      const share = (seen.get(request) ?? 0) + 1 / parts
      seen.set(request, share)
      if (share < hands.sources - ROUNDING) continue
      seen.delete(request)
      const shares = [{ request, part: 0, parts: 1, clips: 1 }]
      yield* hands.emit({ shares, tensors: yield* allocate(hands, 1), values: [] })
    }
  }
}

/** What a kind of step does with items, by its name; the first step loads, and any other kind computes. */
const behaviours: Readonly<Record<string, (hands: StepHands) => SimulatedStep>> = {
  batcher: batches,
  aggregator: aggregates,
}

/** @param kind as the plan has it */
export function simulatedStep(kind: string, hands: StepHands): SimulatedStep {
  return (hands.instance.step === 0 ? loads : (behaviours[kind] ?? computes))(hands)
}
