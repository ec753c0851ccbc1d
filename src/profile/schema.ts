import * as v from 'valibot'

const count = (meaning: string) => v.pipe(v.number(), v.integer(), v.minValue(0), v.description(meaning))
const number = (meaning: string) => v.pipe(v.number(), v.description(meaning))
const text = (meaning: string) => v.pipe(v.string(), v.description(meaning))

const counters = {
  occupancy: number(
    'Share of the warps that a multiprocessor can hold which were there, while it was active (counters)',
  ),
  tensor: number('Share of the active cycles in which tensor cores worked (counters)'),
  dram: number("Share of the memory's throughput that was used (counters)"),
}

const work = {
  calls: count('How often'),
  own_ms: number(
    'Time from start to end, without what the work before it on its stream still took meanwhile: sums of it are times that streams were busy',
  ),
  mean_us: number('Own time of one'),
  share: number("Of the own time of all the GPU's work"),
  tflops: v.optional(number('10^12 operations that the network needs, per second of own time')),
  gb_per_s: v.optional(
    number('10^9 bytes that had to be read or written once, or were copied, per second of own time'),
  ),
  occupancy: v.optional(
    number('Share of the warps that a multiprocessor can hold which fit, by what the launch asked for'),
  ),
  limit: v.optional(text('What keeps the occupancy from being higher')),
  counters: v.optional(v.object(counters)),
}

const kernel = v.object({
  device: v.string(),
  kind: v.picklist(['kernel', 'copy', 'fill']),
  name: text('Of the kernel, or the kind of copy'),
  how: v.optional(text('Which of the ways to compute a convolution it is')),
  ...work,
  span_us: number('Mean time from start to end: a kernel may begin early, and wait for the one before it'),
  min_us: number('Shortest of these'),
  max_us: number('Longest of these'),
})

const launch = v.object({
  name: text('Of the convolution'),
  how: text('By what, most of its time: it depends on the number of clips'),
  ...work,
})

const layer = v.object({
  device: v.string(),
  step: count('Index of the step'),
  layer: count('1 to 5: stem, stages 1 to 4'),
  ...work,
  tflops_of_peak: v.optional(number("Share of the GPU's highest rate in this precision")),
  gb_per_s_of_peak: v.optional(number("Share of the memory's highest rate")),
  launches: v.array(launch),
})

const part = v.object({
  name: text('What a thread of the step does'),
  calls: count('How often'),
  total_ms: number('In all threads'),
  mean_ms: number('Of one'),
})

const step = v.object({
  step: count('Index of the step'),
  kind: v.string(),
  name: v.optional(v.string()),
  threads: count('Threads of its instances'),
  calls: count('Calls of the step, each for one item or a batch'),
  busy_ms: number('In calls, of all threads'),
  mean_ms: number('Of one call'),
  share: number('Of the time of its threads'),
  parts: v.pipe(v.array(part), v.description('What is timed inside calls and between them')),
})

/** A line of `rnb profile --json`. */
export const profileSchema = v.pipe(
  v.object({
    type: v.literal('profile'),
    seconds: number('From the start of the run to its end'),
    gpus: v.array(
      v.object({
        device: v.string(),
        name: v.string(),
        capability: v.string(),
        busy: number(
          'Own time of its work over the time of the run: of several streams at once, more than 1',
        ),
        peak_gb_per_s: number('By width and clock of its memory'),
        peak_tflops: v.optional(
          v.pipe(
            v.object({ fp16: v.number(), tf32: v.number(), fp32: v.number() }),
            v.description('By multiprocessors and their highest clock, where it is known'),
          ),
        ),
      }),
    ),
    steps: v.array(step),
    kernels: v.array(kernel),
    layers: v.array(layer),
    records: v.object({
      threads_lost: count(
        'Records of threads that gave way to later ones: steps then tell of the last part of the run',
      ),
      gpu_dropped: count('Records of GPUs that CUPTI dropped'),
      gpu_unattributed: count('Work of GPUs that no step asked for'),
      gpu_clock_error_ns: v.optional(number("How exactly CUPTI's clock is known by the host's")),
      overheads: v.pipe(
        v.array(v.object({ name: v.string(), calls: v.number(), total_ms: v.number() })),
        v.description('Time that CUPTI and the driver took beside'),
      ),
    }),
    problems: v.pipe(v.array(v.string()), v.description('What could not be found out, and what to do')),
  }),
  v.description('Where the time of a run went'),
)
export type Profile = v.InferOutput<typeof profileSchema>
export type ProfiledWork = Profile['kernels'][number]
export type ProfiledLayer = Profile['layers'][number]
export type ProfiledStep = Profile['steps'][number]
export type Counters = NonNullable<ProfiledWork['counters']>

/** A line of `rnb profile --kernels`. */
export const kernelLineSchema = v.pipe(
  v.object({
    type: v.literal('kernel'),
    device: v.string(),
    stream: count("CUPTI's number of the stream"),
    name: text('Of the kernel, or the kind of copy'),
    launch: v.optional(text('Of the convolution that it is for')),
    request: v.optional(count('The request that it is for, or the first of a batch')),
    start_s: number('After the start of the run'),
    end_s: number('The same'),
  }),
  v.description('One piece of work of a GPU'),
)
export type KernelLine = v.InferOutput<typeof kernelLineSchema>
