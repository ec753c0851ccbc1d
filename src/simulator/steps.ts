import type { Instance } from '../pipeline/plan.ts'
import type { Item } from '../queue/item.ts'
import { groupsWithin } from '../steps/batcher.ts'
import type { Body, Waiters } from './clock.ts'
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
  /** Lets the time of a call pass, of which threads with nothing to do take pieces. */
  share(request: number, clips: number): Body
  /** Lets the thread's part of a call pass; the rest goes on without it, once that of the call before is done. */
  begin(request: number, items: number, clips: number, before: UnderWay | undefined): Body<UnderWay>
  emit(item: Item): Body
}

/** What a call has left under way. */
export interface UnderWay {
  /** The next one may begin where this one worked. */
  freed: boolean
  over: boolean
  /** Hears of both. */
  readonly changed: Waiters
}

/** One thread's step. */
export interface SimulatedStep {
  /** What it does with a batch of items. */
  run(items: readonly Item[]): Body
  /** Nothing waits: finishes what is under way. */
  settle?(): Body
}

export const clipsOf = (items: readonly Item[]): number =>
  items.reduce((sum, { shares }) => shares.reduce((rows, { clips }) => rows + clips, sum), 0)

function* allocate({ instance, slots }: StepHands, clips: number): Body<Item['tensors']> {
  if (!slots) return []
  return [{ pool: instance.id, slot: yield* slots.acquire(), row: 0, shape: [clips] }]
}

/** Makes clips: the first step. */
const loads = (hands: StepHands): SimulatedStep => ({
  *run(items) {
    for (const item of items) {
      const share = item.shares[0]!
      const clips = hands.service.clips(hands.instance, share.request)
      const out: Item = { shares: [{ ...share, clips }], tensors: yield* allocate(hands, clips), values: [] }
      yield* hands.share(share.request, clips)
      yield* hands.emit(out)
    }
  },
})

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
const computes = (hands: StepHands): SimulatedStep => ({ run: items => join(hands, items) })

/** Takes the next batch while some are under way, as `src/steps/gpu-network.ts` does. */
function runsAhead(hands: StepHands, most: number): SimulatedStep {
  const pending: { out: Item; under: UnderWay }[] = []
  function* finish(): Body {
    const { out, under } = pending.shift()!
    while (!under.over) {
      under.changed.join()
      yield
    }
    yield* hands.emit(out)
  }
  function* settle(): Body {
    while (pending.length > 0) yield* finish()
  }
  return {
    settle,
    *run(items) {
      if (hands.slots && !hands.slots.room) yield* settle()
      const clips = clipsOf(items)
      const shares = items.flatMap(item => item.shares)
      const tensors = yield* allocate(hands, clips)
      const out: Item = { shares, tensors, values: items.flatMap(item => item.values) }
      if (pending.length === most) yield* finish()
      const before = pending.at(-1)?.under
      const under = yield* hands.begin(shares[0]!.request, items.length, clips, before)
      pending.push({ out, under })
    },
  }
}

/** Joins what its outputs hold, as `src/steps/batcher.ts` does. */
const batches = (hands: StepHands): SimulatedStep => ({
  *run(items) {
    const most = hands.instance.outputs[0]!.shape[0]!
    for (const group of groupsWithin(items, most)) yield* join(hands, group)
  },
})

/** Far below the smallest share that there can be. */
const ROUNDING = 1e-9

/** Waits for all parts of a request, as `src/steps/aggregator.ts` does. */
const aggregates = (hands: StepHands): SimulatedStep => {
  const seen = new Map<number, number>()
  function* run(items: readonly Item[]): Body {
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
  return { run }
}

/** What a kind of step does with items, by its name; the first step loads, and any other kind computes. */
const behaviours: Readonly<Record<string, (hands: StepHands) => SimulatedStep>> = {
  batcher: batches,
  aggregator: aggregates,
}

/** @param kind as the plan has it */
export function simulatedStep(kind: string, hands: StepHands): SimulatedStep {
  const most = hands.service.ahead?.(hands.instance) ?? 0
  if (most > 0) return runsAhead(hands, most)
  return (hands.instance.step === 0 ? loads : (behaviours[kind] ?? computes))(hands)
}
