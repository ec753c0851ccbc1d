import * as v from 'valibot'

const positive = (what: string) =>
  v.pipe(v.number(), v.integer(`${what} must be a whole number`), v.minValue(1, `${what} must be at least 1`))
const channels = (what: string) =>
  v.pipe(v.array(v.number()), v.length(3, `${what} takes three numbers: red, green, blue`))

/** Keys of a step that cuts clips out of videos. */
export const clipEntries = {
  /** How many clips a video may give; one of these is drawn for each video. */
  num_clips_population: v.optional(v.pipe(v.array(positive('a number of clips')), v.minLength(1)), [1, 15]),
  /** Weight of each entry of `num_clips_population`. */
  num_clips_weights: v.optional(v.array(v.pipe(v.number(), v.minValue(0))), [10, 1]),
  /** Consecutive frames in a clip. */
  clip_frames: v.optional(positive('clip_frames'), 8),
  /** Height and width of a clip in pixels. */
  size: v.optional(positive('size'), 112),
  /** Formula that turns a frame into a clip's pixels. */
  preprocessing: v.optional(v.picklist(['rnb', 'torchvision']), 'rnb'),
  /** Mean and standard deviation that normalise red, green and blue (0..1); the formula's own by default. */
  mean: v.optional(channels('mean')),
  std: v.optional(channels('std')),
}

/** There is a weight for each number of clips that can be drawn. */
export const weightsFit = <T extends { num_clips_population: number[]; num_clips_weights: number[] }>() =>
  v.check<T, string>(
    o => o.num_clips_weights.length === o.num_clips_population.length && o.num_clips_weights.some(w => w > 0),
    'num_clips_weights needs one weight for each entry of num_clips_population, one of them above 0',
  )

export const clipOptions = v.pipe(
  v.strictObject({
    ...clipEntries,
    /** Videos that an instance decodes at once, each on a thread of its own. */
    in_flight: v.optional(positive('in_flight')),
    /** Threads of an instance on a GPU that decode on the CPU, beside those that use the GPU's engines. */
    cpu_decoders: v.optional(
      v.pipe(v.number(), v.integer(), v.minValue(0, 'cpu_decoders must be at least 0')),
    ),
    /** Threads with nothing to do decode clips of videos that others of the instance have begun. */
    share_clips: v.optional(v.boolean(), false),
  }),
  weightsFit(),
)
export type LoaderOptions = v.InferOutput<typeof clipOptions>
export type ClipOptions = Omit<LoaderOptions, 'in_flight' | 'cpu_decoders' | 'share_clips'>
