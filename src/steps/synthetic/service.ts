import * as v from 'valibot'
import { monotonicNs } from '../../../ffi/libc.ts'
import { Rng } from '../../rng.ts'

const milliseconds = (what: string) =>
  v.pipe(v.number(), v.finite(), v.minValue(0, `${what} must be at least 0`))

/** How long a step takes for a call, in milliseconds. */
export const serviceTime = v.union(
  [
    milliseconds('service_ms'),
    v.strictObject({ exponential: milliseconds('the mean of service_ms') }),
    v.strictObject({
      uniform: v.pipe(
        v.strictTuple([milliseconds('service_ms'), milliseconds('service_ms')]),
        v.check(([least, most]) => least <= most, 'the least service_ms must not be above the most'),
      ),
    }),
    v.strictObject({ of: v.pipe(v.array(milliseconds('service_ms')), v.minLength(1)) }),
  ],
  'service_ms is a number of milliseconds, {"exponential": MEAN}, {"uniform": [LEAST, MOST]}, or {"of": [MS, ...]}, one of which is drawn',
)
export type ServiceTime = v.InferOutput<typeof serviceTime>

/** Keys that synthetic steps have in common. */
export const serviceEntries = {
  /** How long a call takes: constant, or drawn for each from the run's seed. */
  service_ms: v.optional(serviceTime, 0),
  /** What each clip of a call adds to that. */
  service_ms_per_clip: v.optional(milliseconds('service_ms_per_clip'), 0),
  /** Whether the step keeps a core busy meanwhile, as decoding does, or waits, as for a GPU. */
  busy: v.optional(v.boolean(), false),
}
export interface ServiceOptions {
  readonly service_ms: ServiceTime
  readonly service_ms_per_clip: number
  readonly busy: boolean
}

/**
 * Milliseconds that a call takes.
 * @param rng - makes the numbers of this call; made only where something is drawn
 */
export function drawService(time: ServiceTime, rng: () => Rng): number {
  if (typeof time === 'number') return time
  if ('exponential' in time) return rng().exponential(time.exponential)
  if ('of' in time) return time.of[rng().int(time.of.length)]!
  const [least, most] = time.uniform
  return least + (most - least) * rng().next()
}

/**
 * Milliseconds that a call of a synthetic step takes: the same in every run of the seed.
 * @param request the first of the call
 * @param clips of all its items
 */
export function serviceMs(
  { service_ms, service_ms_per_clip }: ServiceOptions,
  seed: number,
  step: number,
  request: number,
  clips: number,
): number {
  return drawService(service_ms, () => Rng.of(seed, 'service', step, request)) + clips * service_ms_per_clip
}

/** The last part of a wait is spent watching the clock: a thread that sleeps wakes up late. */
const WATCHED_NS = 200_000

/** Takes the time that a step's options say. */
export class Service {
  readonly #never = new Int32Array(new SharedArrayBuffer(4))

  constructor(
    readonly options: ServiceOptions,
    readonly seed: number,
    readonly step: number,
  ) {}

  /**
   * @param request - the first of a call: the same request takes the same time in every run of the seed
   * @param part - the share of the call that is meant
   */
  take(request: number, clips: number, part = 1): void {
    const { busy } = this.options
    const ns = 1e6 * part * serviceMs(this.options, this.seed, this.step, request, clips)
    if (ns === 0) return
    const end = monotonicNs() + ns
    if (!busy && ns > WATCHED_NS) Atomics.wait(this.#never, 0, 0, (ns - WATCHED_NS) / 1e6)
    while (monotonicNs() < end);
  }
}
