import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { UsageError } from '../../../src/errors.ts'
import { builtin } from '../../../src/pipeline/builtin.ts'
import { cacheRoot, ProfileFolder, readProfile } from '../../../src/planner/profile/cache.ts'
import { type Experiment, experimentsOf, worthwhile } from '../../../src/planner/profile/experiments.ts'
import { goldenSection } from '../../../src/planner/profile/golden-section.ts'
import { type MeasureOptions, measureProfile } from '../../../src/planner/profile/measure.ts'
import { machineOf, ProfilePredictor, whatIf } from '../../../src/planner/profile/predictor.ts'
import type { Profile } from '../../../src/planner/profile/schema.ts'
import { drawOf } from '../../../src/planner/profile/service.ts'
import { CallTimes } from '../../../src/planner/profile/times.ts'
import { SyntheticPredictor } from '../../../src/planner/synthetic.ts'
import type { Arrangement, PipelineFile } from '../../../src/planner/types.ts'
import { StandIn, type StandInOptions } from './stand-in.ts'

const folder = mkdtempSync(join(tmpdir(), 'rnb-profile-test-'))
afterAll(() => rmSync(folder, { recursive: true }))

const LOAD_MS = 4
const LOAD_PER_CLIP_MS = 1
const NETWORK_MS = 2
const NETWORK_PER_CLIP_MS = 0.5

const pipeline = ({ loaders = 1, networks = 1, inFlight = 1, slots = 20 } = {}): PipelineFile => ({
  pipeline: [
    {
      model: 'synthetic-loader',
      queue_groups: [{ gpus: new Array(loaders).fill(-1), out_queues: [0] }],
      num_clips_population: [1, 3],
      num_clips_weights: [2, 1],
      num_shared_tensors: slots,
      service_ms: LOAD_MS,
      service_ms_per_clip: LOAD_PER_CLIP_MS,
      busy: true,
      in_flight: inFlight,
    },
    {
      model: 'synthetic-network',
      queue_groups: [{ gpus: new Array(networks).fill(-1), in_queue: 0 }],
      num_classes: 3,
      service_ms: NETWORK_MS,
      service_ms_per_clip: NETWORK_PER_CLIP_MS,
    },
  ],
})
const about = { rnb: '0', cpu: 'stand-in', cores: 2, gpus: [], networks: 'none', videos: 'none' }
const experiments = experimentsOf('synthetic', pipeline(), { batches: [1, 2, 4], crowds: [2, 3, 6] })

const measured = (
  runner: StandIn,
  budgetS = 1000,
  of: readonly Experiment[] = experiments,
  more: Partial<MeasureOptions> = {},
) =>
  measureProfile({
    runner,
    experiments: of,
    flags: {},
    registry: builtin,
    about,
    videos: ['none'],
    budgetS,
    say: () => {},
    ...more,
  })

const standIn = (name: string, more: Partial<StandInOptions> = {}) =>
  new StandIn(join(folder, name), { requests: 120, cores: 1.5, handOverMs: 0.03, ...more })

const msOf = ({ steps }: Profile, kind: string): Map<number, number[]> =>
  new Map(steps.find(({ title }) => title.startsWith(kind))!.calls.map(({ clips, ms }) => [clips, ms]))

describe('measuring', () => {
  test('finds what calls take by themselves, of each size, and the time until a waiting thread runs', async () => {
    const profile = (await measured(standIn('times')))!
    const loads = msOf(profile, 'synthetic-loader')
    expect([...loads.keys()].sort()).toEqual([1, 3])
    for (const [clips, ms] of loads)
      for (const value of ms) expect(value).toBeCloseTo(LOAD_MS + clips * LOAD_PER_CLIP_MS, 6)
    const networks = msOf(profile, 'synthetic-network')
    // Batches of up to four videos of one clip or three.
    expect(Math.max(...networks.keys())).toBeGreaterThan(6)
    for (const [clips, ms] of networks)
      for (const value of ms) expect(value).toBeCloseTo(NETWORK_MS + clips * NETWORK_PER_CLIP_MS, 6)
    for (const ms of profile.handOverMs) expect(ms).toBeCloseTo(0.03, 6)
  })

  test('finds how much longer calls take that go round many threads', async () => {
    const round: Experiment = {
      ...experiments.find(({ name }) => name === 'synthetic-crowd-6')!,
      name: 'synthetic-spread-6',
      concurrency: 1,
      spreads: true,
    }
    const profile = (await measured(standIn('spread'), 1000, [...experiments, round]))!
    const [loads, networks] = ['synthetic-loader', 'synthetic-network'].map(
      kind => profile.steps.find(({ title }) => title.startsWith(kind))!,
    )
    // The stand-in's threads are all alike.
    expect(loads!.spread!.threads).toBe(6)
    expect(loads!.spread!.calls.map(({ clips }) => clips).sort()).toEqual([1, 3])
    for (const { longer } of loads!.spread!.calls) expect(longer).toBeCloseTo(1, 6)
    expect(networks!.spread).toBeUndefined()
  })

  test('finds how much calls disturb each other', async () => {
    const profile = (await measured(standIn('cores')))!
    expect(profile.capacities.cores).toBeCloseTo(1.5, 1)
    expect(profile.fitted.map(({ name }) => name)).toEqual([2, 3, 6].map(crowd => `synthetic-crowd-${crowd}`))
    for (const { throughputError, p50Error } of profile.fitted) {
      expect(Math.abs(throughputError)).toBeLessThan(0.02)
      // Which request is the one in the middle is chance.
      expect(Math.abs(p50Error)).toBeLessThan(0.05)
    }
  })

  test('what has to be known is measured even if no time is left for the fit, and nothing else', async () => {
    const runner = standIn('fitted')
    const profile = (await measured(runner, 1000, experiments, { fittedS: 0 }))!
    expect(runner.runs).toEqual(['synthetic-batch-1-0', 'synthetic-crowd-2-0'])
    // In the order in which they are worth their time.
    const left = ['crowd-3', 'crowd-6', 'batch-2', 'batch-4']
    expect(profile.measured.left).toEqual(left.map(name => `synthetic-${name}`))
  })

  test('an interrupted measurement goes on where it was', async () => {
    const runner = standIn('resumed', { interruptAt: 3 })
    expect(await measured(runner)).toBeUndefined()
    const before = [...runner.runs]
    expect(before).toHaveLength(3)
    runner.options = { ...runner.options, interruptAt: -1 }
    const profile = (await measured(runner))!
    expect(runner.runs.slice(0, 3)).toEqual(before)
    expect(new Set(runner.runs).size).toBe(runner.runs.length)
    const whole = (await measured(standIn('whole')))!
    expect(profile.steps).toEqual(whole.steps)
    expect(profile.capacities).toEqual(whole.capacities)
  })

  test('a budget that is too small is said to be, and one that ends before the end measures what comes first', async () => {
    expect(measured(standIn('none'), 1)).rejects.toThrow(/budget of 1 s is too small/)
    // A run is expected to take its seconds, and they are not spent here: this is enough for any but the longest.
    const profile = (await measured(standIn('some'), 7.5))!
    expect(profile.measured.left).toEqual([])
    const slow = standIn('slow')
    const beyond = experiments.map(experiment =>
      experiment.rank === 3 ? { ...experiment, seconds: 1000 } : experiment,
    )
    const partial = (await measured(slow, 100, beyond))!
    expect(partial.measured.left).toEqual(['synthetic-batch-2', 'synthetic-batch-4'])
    expect(slow.runs).toEqual(['batch-1', 'crowd-2', 'crowd-3', 'crowd-6'].map(name => `synthetic-${name}-0`))
    // With more time, what is left is measured, and nothing twice.
    const whole = (await measured(slow, 5000, beyond))!
    expect(whole.measured.left).toEqual([])
    expect(new Set(slow.runs).size).toBe(slow.runs.length)
  })

  test('short of time, each step is measured briefly before any is measured well, and beyond its share', async () => {
    const other = pipeline()
    other.pipeline[1] = { ...other.pipeline[1]!, service_ms: 3 * NETWORK_MS }
    const sizes = { batches: [1, 2], crowds: [2, 3] }
    const both = [...experimentsOf('a', pipeline(), sizes), ...experimentsOf('b', other, sizes)].map(of =>
      // As long as the others, so that only what has to be known fits.
      of.rank > 0 && of.name !== 'a-crowd-2' ? { ...of, seconds: 1000 } : of,
    )
    const runner = standIn('tight')
    const tight = { runner, experiments: both, flags: {}, registry: builtin, about, videos: ['none'] }
    const said: string[] = []
    const measure = (budgetS: number, mostS: number) =>
      measureProfile({ ...tight, budgetS, mostS, wholeS: 30, say: line => said.push(line) })
    // Two runs of 2 s, and a second to start each, in a thirtieth of the whole: crowds can be left out.
    await expect(measure(1, 1)).rejects.toThrow(
      /budget of 30 s is too small.* about 180 s; raise it, or narrow/,
    )
    const profile = (await measure(1, 24))!
    expect(runner.runs).toEqual(['a-batch-1-short-0', 'b-batch-1-short-0', 'a-crowd-2-short-0'])
    expect(profile.measured.left).toEqual(['a-crowd-3', 'a-batch-2', 'b-batch-2'])
    expect(said.at(-1)).toMatch(/^not measured, .*: a-crowd-3, a-batch-2, b-batch-2$/)
    const predictor = new ProfilePredictor(profile, { registry: builtin })
    for (const config of [pipeline(), other]) {
      const arrangement = { config, batch: 1, maxBatchDelayMs: 0, perGpuQueue: false, queueSize: 100 }
      expect(predictor.predict(arrangement, { requests: 50, seed: 1 }).completed).toBe(50)
    }
    // With more time only what is left is measured.
    await measure(10_000, 10_000)
    expect(new Set(runner.runs).size).toBe(runner.runs.length)
    expect(runner.runs.slice(3, 6)).toEqual(['a-crowd-3-0', 'a-batch-2-0', 'b-batch-2-0'])
  })

  test('a network on the host is measured with each number of threads', () => {
    const network = pipeline()
    network.pipeline[1] = { model: 'network', queue_groups: [{ gpus: [-1], in_queue: 0 }] }
    const sizes = { batches: [1], crowds: [], threads: [1, 4] }
    const names = (file: PipelineFile) => experimentsOf('x', file, sizes).map(({ name }) => name)
    expect(names(network)).toEqual(['x-batch-1', 'x-threads-1', 'x-threads-4'])
    expect(experimentsOf('x', network, sizes)[2]!.arrangement.config.pipeline[1]).toHaveProperty('threads', 4)
    expect(names(pipeline())).toEqual(['x-batch-1'])
  })

  test('what others tell is not measured again', () => {
    const twice = [...experiments, ...experimentsOf('same', pipeline(), { batches: [1, 8], crowds: [2, 9] })]
    const telling = ({ name }: Experiment) => [name.replace(/^\w+-/, '')]
    expect(worthwhile(twice, telling).map(({ name }) => name)).toEqual([
      'synthetic-batch-1',
      'synthetic-crowd-2',
      'synthetic-crowd-3',
      'synthetic-crowd-6',
      'same-crowd-9',
      'synthetic-batch-2',
      'synthetic-batch-4',
      'same-batch-8',
    ])
  })

  test('each experiment is a pipeline of its own with one instance of a step', () => {
    const wide = experimentsOf('wide', pipeline({ loaders: 3, networks: 2, inFlight: 7 }), {
      batches: [4],
      crowds: [8],
    })
    expect(wide.map(({ concurrency, isolates }) => [concurrency, isolates])).toEqual([
      [4, true],
      [8, false],
    ])
    const [isolated, crowd] = wide.map(({ arrangement }) => arrangement.config.pipeline)
    expect(isolated![0]).toMatchObject({ in_flight: 1, queue_groups: [{ gpus: [-1] }] })
    expect(crowd![0]).toMatchObject({ in_flight: 8, num_shared_tensors: 20 })
    expect(crowd![1]).not.toHaveProperty('num_shared_tensors')
  })
})

describe('keeping', () => {
  test('a profile is read as it was written, and under its own key alone', async () => {
    const profile = (await measured(standIn('kept')))!
    const kept = ProfileFolder.within(folder, { a: 1 })
    expect(kept.read()).toBeUndefined()
    const path = kept.write(profile)
    expect(kept.read()).toEqual(profile)
    expect(readProfile(path)).toEqual(profile)
    expect(ProfileFolder.within(folder, { a: 2 }).read()).toBeUndefined()
  })

  test('what is no profile is refused, with the place', () => {
    const path = join(folder, 'no-profile.json')
    expect(() => readProfile(path)).toThrow(UsageError)
    writeFileSync(path, '{"version":1,"steps":[]}')
    expect(() => readProfile(path)).toThrow(/no profile: about/)
  })

  test('the cache is where the XDG specification has it', () => {
    expect(cacheRoot({ XDG_CACHE_HOME: '/var/x' })).toBe('/var/x/rnb/profiles')
    expect(cacheRoot({ XDG_CACHE_HOME: 'relative' })).toEndWith('/.cache/rnb/profiles')
  })
})

describe('times of calls', () => {
  const times = new CallTimes([
    { clips: 2, ms: [10, 20] },
    { clips: 4, ms: [30, 60] },
    { clips: 2, video: 1, ms: [11, 12, 13, 14] },
  ])

  test('lie between those of the sizes on both sides', () => {
    // Of two clips there are six in all: 10 to 14, and 20.
    expect(times.ms(2, 0)).toBe(10)
    expect(times.ms(4, 0.99)).toBe(60)
    expect(times.ms(3, 0)).toBe(20)
    expect(times.ms(1, 0)).toBe(10)
    expect(times.ms(8, 0)).toBe(60)
  })

  test('are those of the video where there are enough of them', () => {
    expect(times.ms(2, 0.99, 1)).toBe(14)
    expect(times.ms(2, 0.99, 0)).toBe(20)
    expect(times.least(2)).toBe(10)
  })
})

test('the least of a function is found', () => {
  expect(goldenSection(0.1, 100, x => Math.log(x / 7) ** 2)).toBeCloseTo(7, 1)
})

test('draws are evenly spread, and differ from step to step and from seed to seed', () => {
  const draws = Array.from({ length: 10_000 }, (_, request) => drawOf(3, 1, request))
  const mean = draws.reduce((sum, u) => sum + u, 0) / draws.length
  // Six standard errors of a mean of uniform numbers.
  expect(Math.abs(mean - 0.5)).toBeLessThan((6 * Math.sqrt(1 / 12)) / 100)
  expect(Math.min(...draws)).toBeGreaterThanOrEqual(0)
  expect(Math.max(...draws)).toBeLessThan(1)
  expect(drawOf(3, 2, 5)).not.toBe(drawOf(3, 1, 5))
  expect(drawOf(4, 1, 5)).not.toBe(drawOf(3, 1, 5))
})

describe('predicting', async () => {
  const profile = (await measured(standIn('predicted', { handOverMs: 0 })))!
  const truth = new SyntheticPredictor({ gpus: 0, gpu: {}, host: { cores: 1.5 } })
  const options = { registry: builtin, machine: { gpus: 0, gpu: {}, host: { cores: 1.5 } } }
  const predictor = new ProfilePredictor({ ...profile, handOverMs: [0] }, options)

  const arrangement = fc.record({
    loaders: fc.integer({ min: 1, max: 3 }),
    networks: fc.integer({ min: 1, max: 2 }),
    inFlight: fc.integer({ min: 1, max: 3 }),
    batch: fc.integer({ min: 1, max: 4 }),
    delayMs: fc.integer({ min: 0, max: 9 }),
    requests: fc.integer({ min: 1, max: 80 }),
    seed: fc.integer({ min: 0, max: 99 }),
    ratePerS: fc.option(fc.integer({ min: 20, max: 300 }), { nil: undefined }),
  })
  type Drawn = typeof arrangement extends fc.Arbitrary<infer T> ? T : never
  const arranged = ({ loaders, networks, inFlight, batch, delayMs, requests }: Drawn): Arrangement => ({
    config: pipeline({ loaders, networks, inFlight }),
    batch,
    maxBatchDelayMs: delayMs,
    perGpuQueue: false,
    queueSize: requests,
  })
  const loadOf = ({ requests, seed, ratePerS }: Drawn) => ({
    requests,
    seed,
    ...(ratePerS !== undefined && { ratePerS }),
  })

  test('says what the steps themselves would', () => {
    fc.assert(
      fc.property(arrangement, drawn => {
        const [own, exact] = [predictor, truth].map(of => of.predict(arranged(drawn), loadOf(drawn)))
        expect(own!.completed).toBe(exact!.completed)
        expect(own!.aborted).toBe(exact!.aborted)
        expect(own!.videosPerS).toBeCloseTo(exact!.videosPerS, 3)
        expect(own!.p50Ms).toBeCloseTo(exact!.p50Ms, 3)
        expect(own!.p99Ms).toBeCloseTo(exact!.p99Ms, 3)
        for (const [name, use] of Object.entries(exact!.use)) expect(own!.use[name]).toBeCloseTo(use, 3)
      }),
      { numRuns: 100 },
    )
  })

  test('says the same of the same, and loses no request', () => {
    fc.assert(
      fc.property(arrangement, drawn => {
        const first = predictor.predict(arranged(drawn), loadOf(drawn))
        expect(predictor.predict(arranged(drawn), loadOf(drawn))).toEqual(first)
        if (!first.aborted) expect(first.completed).toBe(drawn.requests)
      }),
      { numRuns: 50 },
    )
  })

  test('demands no more of a step than any plan spends on it', () => {
    fc.assert(
      fc.property(arrangement, drawn => {
        const load = loadOf(drawn)
        const { config } = arranged(drawn)
        const { use, videosPerS, completed } = predictor.predict(arranged(drawn), load)
        fc.pre(completed === drawn.requests)
        const seconds = completed / videosPerS
        const spent = (step: number) =>
          Object.entries(use)
            .filter(([name]) => name.startsWith(`step ${step} `))
            .reduce((sum, [, share]) => sum + share * seconds * 1000, 0)
        const demands = [0, 1].map(
          step => predictor.demand({ config, step, device: -1, mostBatch: 4 }, load)[0]!,
        )
        // Use is that of a thread of the instance; calls that share cores are longer than their work.
        expect(demands[0]!.threads).toBe(drawn.inFlight)
        expect(demands[0]!.threadMs * drawn.requests).toBeLessThanOrEqual(spent(0) * drawn.inFlight + 1e-3)
        expect(demands[1]!.threadMs * drawn.requests).toBeLessThanOrEqual(spent(1) + 1e-3)
        expect(demands[0]!.host.cores).toBeCloseTo(demands[0]!.threadMs, 6)
        expect(demands[1]!.host).toEqual({})
      }),
      { numRuns: 60 },
    )
  })

  test('demands the least of what is known of a step with several numbers of threads, as plans choose among these', () => {
    const network = profile.steps.find(({ title }) => title.startsWith('synthetic-network'))!
    const quicker = {
      ...network,
      width: 3,
      calls: network.calls.map(call => ({ ...call, ms: call.ms.map(ms => ms / 2) })),
    }
    const both = new ProfilePredictor({ ...profile, steps: [...profile.steps, quicker] }, options)
    const config = pipeline({ loaders: 1, networks: 1, inFlight: 1 })
    const of = (from: ProfilePredictor) =>
      from.demand({ config, step: 1, device: -1, mostBatch: 1 }, { requests: 20, seed: 1 })[0]!
    expect(of(both).threadMs).toBeCloseTo(of(predictor).threadMs / 2, 9)
    expect(of(both).leastMs[3]!).toBeCloseTo(of(predictor).leastMs[3]! / 2, 9)
    // Whichever of them comes first.
    const turned = new ProfilePredictor({ ...profile, steps: [quicker, ...profile.steps] }, options)
    expect(of(turned).threadMs).toBeCloseTo(of(both).threadMs, 9)
  })

  test('a step that nobody measured is named', () => {
    const other = pipeline()
    other.pipeline[1]!.service_ms = 9
    const plan = { config: other, batch: 1, maxBatchDelayMs: 5, perGpuQueue: false, queueSize: 10 }
    expect(() => predictor.predict(plan, { requests: 5, seed: 0 })).toThrow(/step 1 .* was not measured/)
  })

  test('hosts share a load evenly', () => {
    const plan = { config: pipeline(), batch: 1, maxBatchDelayMs: 5, perGpuQueue: false, queueSize: 500 }
    const one = predictor.predict(plan, { requests: 50, seed: 1, ratePerS: 20 })
    const ten = whatIf({ ...profile, handOverMs: [0] }, { hosts: 10 }, { registry: builtin }).predict(plan, {
      requests: 500,
      seed: 1,
      ratePerS: 200,
    })
    expect(ten.completed).toBe(500)
    expect(ten.p50Ms).toBeCloseTo(one.p50Ms, 1)
    expect(ten.videosPerS).toBeCloseTo(10 * one.videosPerS, 0)
    expect(() => whatIf(profile, { gpus: 8 }, { registry: builtin })).toThrow(/without a GPU/)
    expect(machineOf({ ...profile, capacities: { cores: 4, nvdec: 7, compute: 1 } }, 8)).toEqual({
      gpus: 8,
      gpu: { nvdec: 7, compute: 1 },
      host: { cores: 4 },
      cores: 2,
    })
  })
})
