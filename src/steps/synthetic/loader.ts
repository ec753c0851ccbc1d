import * as v from 'valibot'
import type { Item } from '../../queue/item.ts'
import { Rng } from '../../rng.ts'
import { drawWeighted } from '../../video/sampler.ts'
import { clipEntries, weightsFit } from '../clip-options.ts'
import type { Emit, Piece, PieceFacts, StepContext, StepInstance, StepKind } from '../step.ts'
import { Service, type ServiceOptions, serviceEntries } from './service.ts'

const options = v.pipe(
  v.strictObject({
    num_clips_population: clipEntries.num_clips_population,
    num_clips_weights: clipEntries.num_clips_weights,
    /** Numbers in a clip. */
    elements: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1, 'elements must be at least 1')), 1),
    /** Videos that an instance takes at once, each on a thread of its own. */
    in_flight: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1, 'in_flight must be at least 1')), 1),
    /** Threads with nothing to do fill clips of videos that others of the instance have begun. */
    share_clips: v.optional(v.boolean(), false),
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

const NOTHING_DECODED: PieceFacts = { framesNeeded: 0, framesDecoded: 0, decoder: 'synthetic' }

const eachClip = (clips: number): Piece[] =>
  Array.from({ length: clips }, (_, first) => ({ first, count: 1 }))

class SyntheticLoader implements StepInstance {
  readonly #options: Options
  readonly #service: Service

  constructor(readonly context: StepContext) {
    this.#options = context.options as Options
    this.#service = new Service(this.#options as ServiceOptions, context.settings.seed, context.step)
  }

  async run(items: readonly Item[], emit: Emit): Promise<void> {
    for (const item of items) {
      const share = item.shares[0]!
      const clips = clipsDrawn(this.#options, this.context.settings.seed, share.request)
      const out: Item = { shares: [{ ...share, clips }], ...this.context.allocate(clips), values: [] }
      const { team } = this.context
      if (team) await team.share(out, eachClip(clips), piece => this.help(out, piece))
      else await this.help(out, { first: 0, count: clips })
      this.context.note(share.request, { clips, ...NOTHING_DECODED })
      emit(out)
    }
  }

  async help(out: Item, { first, count }: Piece): Promise<PieceFacts> {
    const { request, clips } = out.shares[0]!
    const { elements } = this.#options
    this.context.view(out, 0).fill(request, first * elements, (first + count) * elements)
    this.#service.take(request, clips, count / clips)
    return NOTHING_DECODED
  }
}

/** Opens nothing, and gives clips [clips, elements] of which each number is the request's: what passes through can be checked. */
export const syntheticLoader: StepKind = {
  names: ['synthetic-loader'],
  options,
  needsVideos: false,
  shape(given) {
    const {
      num_clips_population: population,
      elements,
      in_flight: workers,
      share_clips: team,
    } = given as Options
    return { outputs: [{ shape: [Math.max(...population), elements], type: 'f32' }], workers, team }
  },
  create: context => new SyntheticLoader(context),
}
