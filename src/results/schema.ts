import * as v from 'valibot'
import { COPY_PATHS } from './traffic.ts'

const count = (meaning: string) => v.pipe(v.number(), v.integer(), v.minValue(0), v.description(meaning))
const number = (meaning: string) => v.pipe(v.number(), v.description(meaning))
const text = (meaning: string) => v.pipe(v.string(), v.description(meaning))
const texts = (meaning: string) => v.pipe(v.array(v.string()), v.description(meaning))

const request = {
  id: count('Number of the request, from 0 in order of arrival'),
  video: text('Path of the video'),
  class: v.optional(text('What is to be seen in it, as the folder that it lies in or an iterator says')),
}

const stepOfResult = v.object({
  step: count('Index of the step in the pipeline'),
  kind: text('Kind of the step'),
  name: v.optional(text('Name of the step, if it has one')),
  part: v.optional(count('Part of the video, where its clips were split')),
  device: text('cpu, or cuda:0, cuda:1, ...'),
  batch: count('Items that ran together'),
  queue_ms: number('From the end of the step before, or the intended arrival, until an instance took it'),
  wait_ms: number(
    'From there until its batch began; for a step that joins parts, until the last part was there',
  ),
  run_ms: number('From there to the end of the step'),
  values: v.optional(
    v.pipe(v.unknown(), v.description('What a step of the user’s own says of the video, any JSON')),
  ),
})

const topSchema = v.array(
  v.object({
    label: text('Name of the class; its number where there are no labels'),
    index: count('Number of the class'),
    score: number('Probability: softmax of the mean of the clips’ logits'),
  }),
)

const fault = {
  step: count('Index of the step that failed it'),
  kind: text('Kind of that step'),
  name: v.optional(text('Its name, if it has one')),
  code: text('Stable name of the fault'),
  message: text('What was seen'),
}

const branchesSchema = v.optional(
  v.pipe(
    v.array(
      v.object({
        step: count('Index of a step that no other reads from'),
        name: text('Its name, or its kind'),
        top: v.optional(v.pipe(topSchema, v.description('Its classes; absent if it has no result'))),
        latency_ms: v.optional(number('From the intended arrival to the end of this step')),
        error: v.optional(v.pipe(v.object(fault), v.description('Why it has no result'))),
      }),
    ),
    v.description('Results of all last steps, where the pipeline has several'),
  ),
)

/** One video's classes. */
export const resultSchema = v.pipe(
  v.object({
    type: v.literal('result'),
    ...request,
    top: v.pipe(
      topSchema,
      v.description('Most probable classes, the most probable first; of several branches, the first’s'),
    ),
    branches: branchesSchema,
    clips: count('Clips that were classified'),
    decoder: text('What decoded the video'),
    decoder_reason: v.optional(text('Why it was not decoded as the configuration asks')),
    frames_needed: count('Frames in the clips'),
    frames_decoded: count('Frames decoded to get them'),
    load_cpu_ms: v.optional(number('Processor time of the thread that read and decoded it')),
    steps: v.pipe(v.array(stepOfResult), v.description('Where it ran to the end of a step')),
    intended_ms: number('Intended arrival after the start of the run'),
    actual_ms: number('Actual arrival after the start of the run'),
    latency_ms: number('From the intended arrival to the end of the last step'),
    latency_actual_ms: number('From the actual arrival to the end of the last step'),
    warmup: v.pipe(v.boolean(), v.description('Whether statistics leave it out')),
    weights: v.optional(text('Present if the weights are no trained ones: random:SEED')),
  }),
  v.description('A video that was classified'),
)

/** One video that could not be classified. */
export const errorSchema = v.pipe(
  v.object({
    type: v.literal('error'),
    ...request,
    ...fault,
    branches: branchesSchema,
    intended_ms: number('Intended arrival after the start of the run'),
  }),
  v.description('A video that could not be classified'),
)

const interval = (meaning: string) =>
  v.pipe(v.nullable(v.strictTuple([v.number(), v.number()])), v.description(meaning))

/** Figures of samples. */
export const distributionSchema = v.object({
  count: count('Samples'),
  mean: v.number(),
  mean_ci95: interval(
    '95% confidence interval of the mean (t, on means of batches in order of arrival); null for one sample',
  ),
  p50: v.number(),
  p90: v.number(),
  p95: v.number(),
  p99: v.number(),
  p99_ci95: v.pipe(
    v.strictTuple([v.nullable(v.number()), v.nullable(v.number())]),
    v.description('95% confidence interval of p99 (order statistics); null where too few samples bound it'),
  ),
  p99_9: v.number(),
  max: v.number(),
})

const milliseconds = (meaning: string) =>
  v.pipe(v.nullable(distributionSchema), v.description(`${meaning}, in ms; null without samples`))

const rate = (meaning: string) =>
  v.pipe(v.nullable(v.number()), v.description(`${meaning}; null if it has no value`))

const range = (meaning: string) =>
  v.pipe(
    v.nullable(v.object({ mean: v.number(), max: v.number() })),
    v.description(`${meaning}; null if it cannot be read`),
  )

/** What sensors said while a run went on. */
export const telemetrySchema = v.object({
  period_ms: v.number(),
  samples: count('Readings'),
  host: v.object({
    cpu: range('Share of all cores that was busy, 0..1'),
    process_cores: range('Cores that this process kept busy'),
    resident_bytes: range('Main memory of this process'),
  }),
  gpus: v.array(
    v.object({
      device: text('cuda:0, cuda:1, ...'),
      sm: range('Share of the time in which a kernel ran, 0..1'),
      memory: range('Share of the time in which memory was used, 0..1'),
      decoder: range('Share of the time in which NVDEC was busy, 0..1'),
      memory_used_bytes: range('Memory in use, by all processes'),
      power_w: range('Power in W'),
      energy_j: rate('Energy in J'),
      temperature_c: range('Temperature in degrees Celsius'),
      sm_mhz: range('Clock of the multiprocessors in MHz'),
      memory_mhz: range('Clock of the memory in MHz'),
      throttled: texts('What held clocks down at some time'),
      pcie_tx_bytes_per_s: range('Sent over PCIe'),
      pcie_rx_bytes_per_s: range('Received over PCIe'),
      nvlink_tx_bytes: rate('Sent over NVLink'),
      nvlink_rx_bytes: rate('Received over NVLink'),
    }),
  ),
  energy_j_per_video: rate('Energy of all GPUs of the run, idle time included, over the results'),
})
export type TelemetrySummary = v.InferOutput<typeof telemetrySchema>

/** How a run ended. */
export const EXIT_REASONS = ['done', 'failed', 'queue_full', 'all_failed', 'interrupted'] as const

/** The last line of every run. */
export const summarySchema = v.pipe(
  v.object({
    type: v.literal('summary'),
    exit: v.object({
      status: count('Exit status of the program'),
      reason: v.picklist(EXIT_REASONS),
      message: v.optional(text('What happened, where the run did not end as asked')),
    }),
    config: v.object({
      name: text('Name of the pipeline'),
      file: v.optional(text('Pipeline file, as given')),
      hash: text('Hash of the configuration'),
    }),
    arguments: v.pipe(v.record(v.string(), v.unknown()), v.description('Flags of the run, by name')),
    load: v.variant('loop', [
      v.object({
        loop: v.literal('open'),
        arrival: text('How requests came, whether others were done or not: as --arrival says'),
      }),
      v.object({
        loop: v.literal('closed'),
        concurrency: count('Requests in flight: each came when another was done (--concurrency)'),
      }),
    ]),
    seed: number('Of arrivals, videos, clips and random weights'),
    weights: text('Checkpoint file, or random:SEED; several with commas between'),
    versions: v.pipe(v.record(v.string(), v.string()), v.description('Of rnb and of what it runs on')),
    host: v.object({
      cpu: text('Model of the processor'),
      cores: count('Hardware threads that the process may use'),
      memory_bytes: count('Main memory'),
      kernel: text('Operating system and its version'),
      arch: text('Architecture of the processor'),
    }),
    log_dir: v.optional(text('Folder of logs')),
    started: text('Start of the run, ISO 8601'),
    duration_s: number('From the start to the last event of the run'),
    requests: v.object({
      asked: count('Requests in the schedule; in a closed loop, the most that there may be'),
      arrived: count('Requests that the client made'),
      completed: count('Requests with a result, of one branch at least'),
      failed: count('Requests without one, with an error'),
      dropped: count('Requests, or branches of them, that found a queue full (--on-full drop)'),
      timed_out: count(
        'Requests, or branches of them, that were too late for their next step (--timeout-ms)',
      ),
      unfinished: count('Requests that arrived and have neither'),
      warmup: count('First requests that statistics leave out'),
      measured: count('Completed requests in the statistics'),
    }),
    throughput: v.object({
      videos_per_s: rate('Results per second after the warm-up'),
      clips_per_s: rate('Clips per second after the warm-up'),
      window_s: rate(
        'Time that these are taken over: from the last result of the warm-up, or the start, to the last',
      ),
    }),
    rate: v.object({
      offered_per_s: rate('Arrivals per second, as scheduled; null in bulk and in a closed loop'),
      sent_per_s: rate('Arrivals per second, as the client made them'),
      achieved_per_s: rate('Results per second'),
    }),
    latency_ms: milliseconds('From the intended arrival to the end of the last step'),
    latency_actual_ms: milliseconds('From the actual arrival to the end of the last step'),
    client_delay_ms: milliseconds('From the intended to the actual arrival'),
    steps: v.array(
      v.object({
        step: count('Index of the step'),
        kind: text('Kind of the step'),
        name: v.optional(text('Name of the step, if it has one')),
        queue_ms: milliseconds(
          'From the end of the step before, or the intended arrival, until an instance took it',
        ),
        wait_ms: milliseconds('From there until its batch began'),
        run_ms: milliseconds('From there to the end of the step'),
        batch_mean: rate('Mean number of items in a batch, over the requests'),
      }),
    ),
    branches: v.optional(
      v.pipe(
        v.array(
          v.object({
            step: count('Index of a step that no other reads from'),
            name: text('Its name, or its kind'),
            completed: count('Requests with a result of this step'),
            failed: count('Requests that failed on the way to it'),
            latency_ms: milliseconds('From the intended arrival to the end of this step'),
          }),
        ),
        v.description('What came of each last step, where the pipeline has several'),
      ),
    ),
    goodput: v.pipe(
      v.nullable(
        v.object({
          slo_ms: v.number(),
          within: count('Measured results whose latency is within the goal'),
          fraction: rate('Their share of the measured requests, failed and unfinished ones included'),
          per_s: rate('These results per second'),
        }),
      ),
      v.description('Results within the latency goal; null without a goal'),
    ),
    clips: count('Clips of all results'),
    frames_needed: count('Frames in the clips of all results'),
    frames_decoded: count('Frames decoded for them'),
    copies: v.optional(
      v.pipe(
        v.array(
          v.object({
            path: v.pipe(
              v.picklist(COPY_PATHS),
              v.description(
                'Within a GPU (gather), from one to another straight (peer) or through the host (pinned), from and to the host',
              ),
            ),
            bytes: count('Bytes of tensors in all, those of failed videos included'),
            bytes_per_video: rate('The same for each completed request'),
          }),
        ),
        v.description('What tensors of the videos were moved by, where GPUs were used'),
      ),
    ),
    failures: v.pipe(v.record(v.string(), v.number()), v.description('Number of errors by code')),
    queues: v.array(
      v.object({
        name: v.string(),
        capacity: v.number(),
        high_water: count('Highest depth'),
      }),
    ),
    instances: v.array(
      v.object({
        name: v.string(),
        step: v.number(),
        device: v.string(),
        replica: v.number(),
        items: count('Completed requests, or parts of them, that ran there'),
      }),
    ),
    telemetry: v.optional(v.pipe(telemetrySchema, v.description('What sensors said, with --telemetry-ms'))),
    notes: texts('What to know of this run'),
    warnings: texts('What limits the use of these figures'),
  }),
  v.description('What a run came to; the last line'),
)

/** Any line of the output. */
export const lineSchema = v.variant('type', [resultSchema, errorSchema, summarySchema])

export type ResultLine = v.InferOutput<typeof resultSchema>
export type ErrorLine = v.InferOutput<typeof errorSchema>
export type SummaryLine = v.InferOutput<typeof summarySchema>
export type DistributionValues = v.InferOutput<typeof distributionSchema>
export type ExitReason = (typeof EXIT_REASONS)[number]
