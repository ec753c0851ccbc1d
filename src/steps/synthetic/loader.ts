import * as v from 'valibot'
import type { Item } from '../../queue/item.ts'
import { Rng } from '../../rng.ts'
import { drawWeighted } from '../../video/sampler.ts'
import { clipEntries, weightsFit } from '../clip-options.ts'
import type { Emit, StepContext, StepInstance, StepKind } from '../step.ts'
import { Service, type ServiceOptions, serviceEntries } from './service.ts'

const options = v.pipe(
  v.strictObject({
    num_clips_population: clipEntries.num_clips_population,
    num_clips_weights: clipEntries.num_clips_weights,
    /** Numbers in a clip. */
    elements: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1, 'elements must be at least 1')), 1),
    /** Videos that an instance takes at once, each on a thread of its own. */
    in_flight: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1, 'in_flight must be at least 1')), 1),
    ...serviceEntries,
  }),
  weightsFit(),
)
type Options = v.InferOutput<typeof options>

/** How many clips a request gives: the same in every run of the seed. */
export function clipsDrawn(
  {
    num_clips_population: population,
    num_clips_weights: weights,
  }: Pick<Options, 'num_clips_population' | 'num_clips_weights'>,
  seed: number,
  request: number,
): number {
  if (population.length === 1) return population[0]!
  return drawWeighted({ population, weights }, Rng.of(seed, 'clips', request))
}

class SyntheticLoader implements StepInstance {
  readonly #options: Options
  readonly #service: Service

  constructor(readonly context: StepContext) {
    this.#options = context.options as Options
    this.#service = new Service(this.#options as ServiceOptions, context.settings.seed, context.step)
  }

  run(items: readonly Item[], emit: Emit): void {
    for (const item of items) {
      const share = item.shares[0]!
      const clips = clipsDrawn(this.#options, this.context.settings.seed, share.request)
      const out: Item = { shares: [{ ...share, clips }], ...this.context.allocate(clips), values: [] }
      this.context.view(out, 0).fill(share.request)
      this.#service.take(share.request, clips)
      this.context.note(share.request, { clips, framesNeeded: 0, framesDecoded: 0, decoder: 'synthetic' })
      emit(out)
    }
  }
}

/** Opens nothing, and gives clips [clips, elements] of which each number is the request's: what passes through can be checked. */
export const syntheticLoader: StepKind = {
  names: ['synthetic-loader'],
  options,
  needsVideos: false,
  shape(given) {
    const { num_clips_population: population, elements, in_flight: workers } = given as Options
    return { outputs: [{ shape: [Math.max(...population), elements], type: 'f32' }], workers }
  },
  create: context => new SyntheticLoader(context),
}
