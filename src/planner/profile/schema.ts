import * as v from 'valibot'

const positive = (what: string) => v.pipe(v.number(), v.finite(), v.gtValue(0, `${what} must be above 0`))
const milliseconds = v.pipe(v.number(), v.finite(), v.minValue(0, 'a time must be at least 0 ms'))
const count = v.pipe(v.number(), v.integer(), v.minValue(0))
const samples = v.pipe(v.array(milliseconds), v.minLength(1, 'measured times must not be missing'))
const share = v.pipe(v.number(), v.minValue(0), v.maxValue(1, 'a share is at most 1'))

/** Times of calls of one size, each by itself: nothing else ran. */
const callsSchema = v.object({
  /** Of all items of a call. */
  clips: count,
  /** Of the first step: an index into the profile's videos. */
  video: v.optional(count),
  /** Ascending. */
  ms: samples,
})

const stepSchema = v.object({
  /** What it is, with which options, and what it runs on: `stepKey`. */
  key: v.string(),
  /** For people. */
  title: v.string(),
  /** Threads that a call keeps busy on the host, where it runs there. */
  width: positive('width'),
  /** Of a call on a GPU: how much of a core of the host it keeps busy all the while. */
  hostWidth: v.optional(share),
  /** Its threads on the host give way to others, as decoders of a loader on a GPU do. */
  yields: v.optional(v.boolean()),
  /** Batches that it may have under way when it takes the next. */
  ahead: count,
  /** Shares of a call's time that are work on what calls share, by the name of that. */
  shares: v.record(v.string(), share),
  calls: v.pipe(v.array(callsSchema), v.minLength(1, 'a step without measured calls')),
  /**
   * Where calls, one at a time, went round so many threads, or decoders on the host were so many at once: how many times longer they
   * took, by clips; of those that were at work at once, the processor.
   */
  spread: v.optional(
    v.object({
      threads: v.pipe(count, v.minValue(2, 'a spread is over two threads and more')),
      calls: v.array(v.object({ clips: count, longer: v.pipe(v.number(), v.finite(), v.minValue(1)) })),
    }),
  ),
})

/** What was measured of the steps of a pipeline on a host. */
export const profileSchema = v.object({
  version: v.literal(1),
  /** What the figures hold for. */
  about: v.object({
    rnb: v.string(),
    cpu: v.string(),
    cores: count,
    gpus: v.array(v.string()),
    networks: v.string(),
    videos: v.string(),
  }),
  measured: v.object({
    at: v.string(),
    seconds: v.number(),
    /** Load averages of the host before and after: others' work is in the figures. */
    loadBefore: v.number(),
    loadAfter: v.number(),
    calls: count,
    /** The widest 95 % interval of a mean of calls of one size, relative to the mean; null with a size that has one call. */
    widestInterval: v.nullable(v.number()),
    /** Runs for which no time was left. */
    left: v.array(v.string()),
  }),
  /** Most clips that a video has room for, where it had to give fewer than were asked for. */
  videos: v.array(v.object({ path: v.string(), most: v.optional(count) })),
  /** From the moment at which there is something for a waiting thread until it runs. */
  handOverMs: samples,
  /** Servers of what calls share: `cores` of the host; `nvdec` and `compute` of each GPU. */
  capacities: v.record(v.string(), positive('a capacity')),
  /** How many times longer calls on the host take where one of several threads has to share its cores. */
  straggling: v.pipe(v.number(), v.finite(), v.minValue(1)),
  /** How much longer calls on a GPU's decoders take for each other one, while these have room. */
  friction: v.pipe(v.number(), v.finite(), v.minValue(0)),
  /**
   * Whether decoders on the host were seen at work beside many threads on a GPU's engines: false where no time was left for it.
   * How much they slow each other cannot be told from either alone.
   */
  bothEngines: v.optional(v.boolean()),
  /** Of a loader whose threads may share a video's clips. */
  sharing: v.optional(
    v.object({
      /** What a thread does before the first of a video's clips, and each that helps it does as well. */
      beginMs: milliseconds,
      /** Of that, what the processor does of one that helps. */
      extraMs: milliseconds,
      /** By clips of a video: examples of how the work divides into pieces, the largest first. */
      pieces: v.array(v.object({ clips: count, shares: v.array(v.array(share)) })),
    }),
  ),
  /** How far simulations with these figures are from the runs that they were fitted to: predicted over measured, less 1. */
  fitted: v.array(
    v.object({
      name: v.string(),
      throughputError: v.number(),
      p50Error: v.number(),
      /** What the run itself came to; calls by step and engine. */
      measured: v.optional(
        v.object({
          videosPerS: v.number(),
          p50Ms: v.number(),
          callMs: v.record(v.string(), v.number()),
        }),
      ),
    }),
  ),
  steps: v.pipe(v.array(stepSchema), v.minLength(1, 'no step was measured')),
})

export type Profile = v.InferOutput<typeof profileSchema>
export type ProfiledStep = v.InferOutput<typeof stepSchema>
export type Spread = NonNullable<ProfiledStep['spread']>
export type ProfiledCalls = v.InferOutput<typeof callsSchema>
