import type { Overload } from '../client/overload.ts'
import type { Plan } from '../pipeline/plan.ts'
import type { Item } from '../queue/item.ts'
import type { RunSettings } from '../steps/step.ts'
import type { Body, Clock } from './clock.ts'
import type { Outcomes } from './outcome.ts'
import type { SimulatedQueue } from './queue.ts'
import type { Resource } from './resources.ts'
import type { ServiceModel, Stretch } from './service.ts'
import type { SimulatedSlots } from './slots.ts'
import type { SimulatedTeam } from './team.ts'

/** A call of a step that has ended. */
export interface Served {
  instance: number
  worker: number
  /** One for each share of the call. */
  requests: number[]
  beginNs: number
  endNs: number
}

/** What calls of one size come to. */
export interface Totals {
  calls: number
  ns: number
}

/** Of each thread of an instance: its calls by their clips, and what it was busy with itself. */
export type ThreadTimes = readonly Map<number, Totals>[]

/** What the simulated threads share. */
export interface World {
  plan: Plan
  settings: Pick<RunSettings, 'maxBatchDelayMs'>
  overload: Overload
  clock: Clock
  queues: readonly SimulatedQueue[]
  /** By instance. */
  slots: readonly SimulatedSlots[]
  /** By instance: of those whose threads share their calls. */
  teams: readonly (SimulatedTeam | undefined)[]
  outcomes: Outcomes
  /** Float64 ns after the start. */
  intended: Float64Array
  service: ServiceModel
  resources: ReadonlyMap<string, Resource>
  /** By instance: calls, and the time that they took, in ns. */
  calls: Float64Array
  busyNs: Float64Array
  /** By instance. */
  threads: readonly ThreadTimes[]
  served?(call: Served): void
  /** A queue was full, and that ends the run. */
  full(queue: number, request: number): void
}

/** Lets stretches of a call pass, one after the other. */
export function* pass({ clock, resources }: World, stretches: readonly Stretch[]): Body {
  for (const { ms, resource: name, width, yields, cold, beside } of stretches) {
    const resource = name === undefined ? undefined : resources.get(name)
    const other = beside && resources.get(beside.resource)
    const on = other && { resource: other, share: beside.width }
    const letGo = on?.resource.hold?.(on.share)
    if (resource) yield* resource.use(1e6 * ms, { width, yields, cold, on })
    else yield* clock.sleepUntil(clock.now + 1e6 * ms)
    letGo?.()
  }
}

/** Those who hold an item's slots are done with it. */
export function release({ slots }: World, { tensors }: Item): void {
  for (const { pool, slot } of tensors) slots[pool]!.release(slot)
}

export function retain({ slots }: World, { tensors }: Item, more: number): void {
  for (const { pool, slot } of tensors) slots[pool]!.retain(slot, more)
}
