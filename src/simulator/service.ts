import type { Instance } from '../pipeline/plan.ts'
import { Rng } from '../rng.ts'
import type { Device } from '../steps/step.ts'
import { clipsDrawn } from '../steps/synthetic/loader.ts'
import { drawService, type ServiceOptions, type ServiceTime, serviceMs } from '../steps/synthetic/service.ts'
import type { Cold } from './resources.ts'

/** One call of a step. */
export interface Call {
  instance: Instance
  /** Which of the instance's threads it is on. */
  worker: number
  /** The first request of it. */
  request: number
  /** Items joined to a batch, and clips of them all. */
  items: number
  clips: number
  /** The share of the call's work that is meant, where threads share it; all of it (1). */
  part?: number
  /**
   * Who does the part: the thread whose call it is, at first with all that comes before the clips (`beginner`) and then without it
   * (`owner`), or another one (`helper`).
   */
  by?: 'owner' | 'beginner' | 'helper'
}

/** A stretch of a call, on one of the simulation's resources or, without, where it disturbs nobody. */
export interface Stretch {
  ms: number
  resource?: string
  /** Servers that it keeps busy at once, where the resource has them to spare: 1. */
  width?: number
  /** Others that want the same resource are served before it. */
  yields?: boolean
  /** Of a step with several threads: see `Share`. */
  cold?: Cold
  /** What it keeps busy of another resource meanwhile, as slow as that is. */
  beside?: { resource: string; width: number }
  /** The step's thread does not wait for this one, nor for what follows: see `ServiceModel.ahead`. */
  later?: boolean
}

/** How long steps take, and what they make. Each must depend on its arguments alone: then runs can be repeated. */
export interface ServiceModel {
  /** Milliseconds that a call takes where nothing disturbs it: all of it. */
  ms(call: Call): number
  /** Of a step whose threads share their calls: how the work divides into pieces, the largest first; together 1. */
  pieces?(instance: Instance, request: number, clips: number): readonly number[]
  /** Clips that the first step makes of a request. */
  clips(instance: Instance, request: number): number
  /** Which of the simulation's resources a call works on, by name; undefined if it disturbs nobody. */
  resource?(instance: Instance): string | undefined
  /** What a call consists of, one after the other, in place of `ms` and `resource`. */
  stretches?(call: Call): readonly Stretch[]
  /**
   * Batches that a step may have under way when it takes the next, as a network on a GPU does
   * (`src/steps/gpu-network.ts`): 0 where it is done with a batch when its call ends.
   */
  ahead?(instance: Instance): number
  /** What the program does for each result, beside all steps. */
  result?: Stretch
  /** Milliseconds that bytes of one GPU's memory take to another's; nothing without it. */
  transferMs?(from: Device, to: Device, bytes: number): number
}

/** What a call consists of. */
export function stretchesOf(service: ServiceModel, call: Call): readonly Stretch[] {
  if (service.stretches) return service.stretches(call)
  const resource = service.resource?.(call.instance)
  return [{ ms: service.ms(call) * (call.part ?? 1), ...(resource !== undefined && { resource }) }]
}

/** Synthetic steps, which say themselves how long they take; all other kinds take no time. */
export function syntheticService(seed: number, busyOn?: string): ServiceModel {
  const optionsOf = (instance: Instance): ServiceOptions => instance.options as unknown as ServiceOptions
  return {
    ms({ instance, request, clips }) {
      if (!('service_ms' in instance.options)) return 0
      return serviceMs(optionsOf(instance), seed, instance.step, request, clips)
    },
    clips: ({ options }, request) =>
      clipsDrawn(options as unknown as Parameters<typeof clipsDrawn>[0], seed, request),
    resource: instance => (optionsOf(instance).busy ? busyOn : undefined),
    pieces: (_instance, _request, clips) => new Array<number>(clips).fill(1 / clips),
  }
}

/** How long a step's calls took when they were measured, or are taken to take. */
export interface MeasuredCall {
  step: number
  items: number
  clips: number
  /** Several measured times are drawn from: `{ of: [...] }`. */
  time: ServiceTime
}

const keyOf = (step: number, items: number, clips: number): string => `${step}/${items}/${clips}`

/**
 * Steps that take as long as was measured for the same step, items and clips.
 * @throws {RangeError} (its `ms`) for a call that nobody measured
 */
export function measuredService(
  calls: readonly MeasuredCall[],
  seed: number,
  clips: ServiceModel['clips'],
): ServiceModel {
  const times = new Map(calls.map(({ step, items, clips, time }) => [keyOf(step, items, clips), time]))
  return {
    ms({ instance: { step }, request, items, clips }) {
      const time = times.get(keyOf(step, items, clips))
      if (time === undefined)
        throw new RangeError(
          `step ${step} was not measured with ${items} items of ${clips} clips: measure it, or leave this out`,
        )
      return drawService(time, () => Rng.of(seed, 'service', step, request))
    },
    clips,
  }
}
