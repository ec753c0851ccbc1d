import fc from 'fast-check'

/** A pipeline file, and what is asked of it. */
export interface RandomRun {
  pipeline: Record<string, unknown>[]
  classes: number
  requests: number
  /** Between arrivals, in ms; 0: all at once. */
  intervalMs: number
  /** In place of arrivals: so many requests in flight. */
  concurrency: number | undefined
  /** Queues for each device in place of the file's. */
  perGpuQueue: boolean
  queueSize: number
  batch: number
  delayMs: number
  onFull: 'abort' | 'drop' | 'wait'
  timeoutMs: number
  seed: number
}

const CLASSES = 7

/** Milliseconds that a call takes: short, so that a thousand runs do not take long; mostly none. */
const service = fc.oneof(
  { weight: 4, arbitrary: fc.constant<unknown>(0) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<unknown>({ exponential: 0.1 }, { uniform: [0, 0.3] }, { of: [0, 0.5] }),
  },
)

const selectors = (queues: number) =>
  fc.constantFrom('round-robin', 'shortest', 'same-gpu', ...(queues === 2 ? ['large-small'] : []))

/** Which queues the groups of a step put into: every one of them by some group. */
const outputsOf = (groups: number, queues: number): fc.Arbitrary<number[][]> =>
  fc
    .tuple(
      fc.array(fc.uniqueArray(fc.nat(queues - 1), { minLength: 1, maxLength: queues }), {
        minLength: groups,
        maxLength: groups,
      }),
      fc.array(fc.nat(groups - 1), { minLength: queues, maxLength: queues }),
    )
    .map(([chosen, owners]) =>
      chosen.map((mine, group) => [
        ...new Set([...mine, ...owners.flatMap((owner, queue) => (owner === group ? [queue] : []))]),
      ]),
    )

/** Which queue each group takes from: from every one of them some group. */
const inputsOf = (groups: number, queues: number): fc.Arbitrary<number[]> =>
  fc
    .shuffledSubarray(
      Array.from({ length: groups }, (_, i) => i),
      { minLength: groups, maxLength: groups },
    )
    .map(order => order.map(place => place % queues))

interface StepShape {
  groups: number
  instances: number[]
  /** Of the link before it. */
  queuesIn: number
}

/** Groups of a step, given how many queues lead to it. */
const shapeOf = (queuesIn: number): fc.Arbitrary<StepShape> =>
  fc
    .integer({ min: queuesIn, max: Math.max(queuesIn, 2) })
    .chain(groups =>
      fc
        .array(fc.integer({ min: 1, max: 2 }), { minLength: groups, maxLength: groups })
        .map(instances => ({ groups, instances, queuesIn })),
    )

const middle = fc.record({
  kind: fc.constantFrom('synthetic-network', 'synthetic-network', 'batcher'),
  service,
  segments: fc.oneof(
    { weight: 3, arbitrary: fc.constant(1) },
    { weight: 1, arbitrary: fc.integer({ min: 2, max: 4 }) },
  ),
  batch: fc.integer({ min: 1, max: 3 }),
})

/**
 * A loader, up to two steps in between, a network that gives logits, and an aggregator where something is split: with
 * random groups, queues between them, selectors, slots, batches, service times and numbers of clips.
 */
export const randomRun: fc.Arbitrary<RandomRun> = fc
  .record({
    middles: fc.array(middle, { maxLength: 2 }),
    loaderSegments: fc.oneof(
      { weight: 3, arbitrary: fc.constant(1) },
      { weight: 1, arbitrary: fc.integer({ min: 2, max: 4 }) },
    ),
    population: fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 3 }),
    loaderService: service,
    networkService: service,
    inFlight: fc.integer({ min: 1, max: 3 }),
    /** Whether the loader's threads fill each other's clips. */
    shareClips: fc.boolean(),
    requests: fc.integer({ min: 1, max: 24 }),
    intervalMs: fc.constantFrom(0, 0, 0.05, 0.2),
    concurrency: fc.constantFrom(undefined, undefined, undefined, 1, 2, 5),
    perGpuQueue: fc.nat(7).map(chance => chance === 0),
    queueSize: fc.constantFrom(1, 2, 3, 200, 200),
    batch: fc.integer({ min: 1, max: 4 }),
    delayMs: fc.constantFrom(0, 0.2, 1),
    onFull: fc.constantFrom<RandomRun['onFull'][]>('abort', 'drop', 'wait'),
    timeoutMs: fc.constantFrom(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 1, 5),
    /** Whether another network reads from the loader. */
    branch: fc.nat(3).map(chance => chance === 0),
    seed: fc.nat(1000),
  })
  .chain(run => {
    const parts = run.middles.reduce((product, { segments }) => product * segments, run.loaderSegments)
    const steps: Record<string, unknown>[] = [
      {
        model: 'synthetic-loader',
        num_clips_population: run.population,
        num_clips_weights: run.population.map(() => 1),
        service_ms: run.loaderService,
        in_flight: run.inFlight,
        share_clips: run.shareClips,
        elements: 2,
        num_segments: run.loaderSegments,
      },
      ...run.middles.map(({ kind, service: service_ms, segments, batch }) =>
        kind === 'batcher'
          ? { model: kind, batch, max_batch_delay_ms: run.delayMs, num_segments: segments }
          : { model: kind, service_ms, num_segments: segments },
      ),
      { model: 'synthetic-network', num_classes: CLASSES, service_ms: run.networkService },
      ...(parts > 1 ? [{ model: 'aggregator', aggregate: parts }] : []),
    ]
    const links = steps.length - 1
    // The branch takes whole requests, from the queues that lead from the loader to the step after it.
    if (run.branch && run.loaderSegments === 1)
      steps.push({
        model: 'synthetic-network',
        name: 'branch',
        inputs: [0],
        num_classes: CLASSES,
        service_ms: run.networkService,
      })
    const sourceOf = (s: number): number => (s > links ? 0 : s - 1)
    return fc.array(fc.integer({ min: 1, max: 2 }), { minLength: links, maxLength: links }).chain(queues => {
      // Parts of a request meet in one instance only.
      if (parts > 1) queues[links - 1] = 1
      const groupsOf = steps.map((step, s) =>
        step.model === 'aggregator'
          ? fc.constant({ groups: 1, instances: [1], queuesIn: 1 } as StepShape)
          : shapeOf(queues[sourceOf(s)] ?? 1),
      )
      return fc.tuple(...groupsOf).chain(shapes =>
        fc
          .tuple(
            ...shapes.map(({ groups, instances, queuesIn }, s) => {
              const queuesOut = queues[s]
              return fc.record({
                instances: fc.constant(instances),
                in: s === 0 ? fc.constant(undefined) : inputsOf(groups, queuesIn),
                out: queuesOut === undefined ? fc.constant(undefined) : outputsOf(groups, queuesOut),
                slots: fc.array(fc.integer({ min: 1, max: 6 }), { minLength: groups, maxLength: groups }),
                selectors: fc.array(selectors(queuesOut ?? 1), { minLength: groups, maxLength: groups }),
              })
            }),
          )
          .map(wired => ({
            ...run,
            classes: CLASSES,
            pipeline: steps.map((step, s) => {
              const { instances, in: from, out, slots, selectors: chosen } = wired[s]!
              return {
                ...step,
                queue_groups: instances.map((count, g) => ({
                  gpus: new Array(count).fill(-1),
                  ...(from && { in_queue: from[g] }),
                  ...(out && {
                    out_queues: out[g],
                    queue_selector:
                      chosen[g] === 'large-small' && out[g]!.length !== 2 ? 'shortest' : chosen[g],
                    ...(chosen[g] === 'large-small' && out[g]!.length === 2 && { clip_threshold: 3 }),
                  }),
                  ...(out && { num_shared_tensors: slots[g] }),
                })),
              }
            }),
          })),
      )
    })
  })
