import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { builtin } from '../../../src/pipeline/builtin.ts'
import { Bounds } from '../../../src/planner/bound/bounds.ts'
import { planOf } from '../../../src/planner/plan-of.ts'
import { largerThan, longerThan } from '../../../src/planner/profile/calls.ts'
import { type Crowd, followed, simulatedFigures, simulatedOf } from '../../../src/planner/profile/crowd.ts'
import { experimentsOf, isOfBothEngines } from '../../../src/planner/profile/experiments.ts'
import {
  distance,
  fit,
  fitSharing,
  fittedErrors,
  type Predict,
  triedBy,
} from '../../../src/planner/profile/fit.ts'
import { engineOf, stepKey } from '../../../src/planner/profile/keys.ts'
import { networkReader } from '../../../src/planner/profile/networks.ts'
import { parametersOf } from '../../../src/planner/profile/parameters.ts'
import { ProfilePredictor, whatIf } from '../../../src/planner/profile/predictor.ts'
import { type ObservedCall, observe } from '../../../src/planner/profile/read-run.ts'
import { Samples } from '../../../src/planner/profile/samples.ts'
import type { Profile } from '../../../src/planner/profile/schema.ts'
import { KnownSteps, LINK_BYTES_PER_S, ProfiledService } from '../../../src/planner/profile/service.ts'
import { runsOn, usableSpace } from '../../../src/planner/search/find.ts'
import { usualLimits } from '../../../src/planner/space/limits.ts'
import { Space } from '../../../src/planner/space/space.ts'
import { templateOf } from '../../../src/planner/space/template.ts'
import type { Arrangement, PipelineFile } from '../../../src/planner/types.ts'
import type { ResultLine } from '../../../src/results/schema.ts'
import type { Call as ServiceCall } from '../../../src/simulator/service.ts'

const LOAD_MS = 10
const HOST_LOAD_MS = 30
const NETWORK_MS = 2
const DECODERS = 2
/** A call beside so many: the norm of order 6 of what it takes by itself, so many times longer, and of what its part of the decoders allows. */
const besideMs = (calls: number, longer = 1) => LOAD_MS * (longer ** 6 + (calls / DECODERS) ** 6) ** (1 / 6)

const pipeline = (inFlight: number, cpuDecoders = 0, gpus = [0]): PipelineFile => ({
  pipeline: [
    {
      model: 'loader',
      queue_groups: [{ gpus, out_queues: [0] }],
      num_shared_tensors: 64,
      in_flight: inFlight,
      ...(cpuDecoders > 0 && { cpu_decoders: cpuDecoders }),
      num_clips_population: [1],
      num_clips_weights: [1],
    },
    { model: 'network', queue_groups: [{ gpus, in_queue: 0 }] },
  ],
})
const arranged = (config: PipelineFile): Arrangement => ({
  config,
  batch: 1,
  maxBatchDelayMs: 5,
  perGpuQueue: false,
  queueSize: 5000,
})
const planned = (config: PipelineFile) =>
  planOf(
    arranged(config),
    { requests: 10, seed: 0 },
    { registry: builtin, gpus: 8, networks: networkReader(builtin) },
  ).plan

/** A profile of a GPU whose calls always take equally long. */
function profileOf(): Profile {
  const plan = planned(pipeline(1, 1))
  const [loader, network] = [plan.instances[0]!, plan.instances[1]!]
  const step = (key: string, ms: number, ahead: number, shares: Record<string, number>) => ({
    key,
    title: key,
    width: 1,
    ahead,
    shares,
    calls: [{ clips: 1, ms: [ms] }],
  })
  return {
    version: 1,
    about: { rnb: '0', cpu: 'made up', cores: 4, gpus: ['made up'], networks: 'random', videos: 'none' },
    measured: { at: '', seconds: 0, loadBefore: 0, loadAfter: 0, calls: 3, widestInterval: 0, left: [] },
    videos: [{ path: 'a.mp4' }],
    handOverMs: [0],
    capacities: { cores: 4, nvdec: DECODERS, compute: 1 },
    straggling: 1,
    friction: 0,
    fitted: [],
    steps: [
      step(stepKey(plan, loader, engineOf(loader, 0)), LOAD_MS, 0, { nvdec: 1 }),
      step(stepKey(plan, loader, engineOf(loader, 1)), HOST_LOAD_MS, 0, { cores: 1 }),
      step(stepKey(plan, network, 'gpu'), NETWORK_MS, 2, { compute: 1 }),
    ],
  }
}

const predictor = new ProfilePredictor(profileOf(), { registry: builtin })
const ratePerS = (config: PipelineFile, of = predictor): number => {
  const requests = 2000
  const { videosPerS, completed } = of.predict(arranged(config), { requests, seed: 1 })
  expect(completed).toBe(requests)
  return videosPerS
}
/** Filling and emptying the pipeline takes some of the time. */
const near = (value: number, expected: number) => expect(Math.abs(value / expected - 1)).toBeLessThan(0.02)

test('videos in flight share the decoders', () => {
  for (const inFlight of [1, 2, 4, 20])
    near(ratePerS(pipeline(inFlight)), (1000 * inFlight) / besideMs(inFlight))
})

test('each call costs others a bit, before the decoders are full', () => {
  const of = new ProfilePredictor(
    { ...profileOf(), capacities: { cores: 4, nvdec: 40, compute: 1 }, friction: 0.1 },
    { registry: builtin },
  )
  near(ratePerS(pipeline(1), of), 1000 / LOAD_MS)
  near(ratePerS(pipeline(5), of), 5000 / (1.4 * LOAD_MS))
})

test('what feeds the decoders takes cores from those on the host, and waits for cores itself', () => {
  const profile = profileOf()
  const [loader, ...others] = profile.steps
  const busy = { ...loader!, hostWidth: 0.5 }
  const of = new ProfilePredictor(
    { ...profile, capacities: { ...profile.capacities, cores: 1 }, steps: [busy, ...others] },
    { registry: builtin },
  )
  // One core, of which 1.5 are wanted all the while: half of a call on the GPU is work there.
  near(ratePerS(pipeline(1, 1), of), 1000 / besideMs(1, 1.25) + 1000 / (1.5 * HOST_LOAD_MS))
  near(ratePerS(pipeline(1), of), 1000 / LOAD_MS)
  const load = { requests: 50, seed: 1 }
  const [demand] = of.demand({ config: pipeline(3), step: 0, device: 0, mostBatch: 1 }, load)
  // Cores that are not there make it longer, and bound nothing.
  expect(demand!.host.cores).toBeUndefined()
  expect(demand!.gpu.nvdec).toBeCloseTo(LOAD_MS, 9)
})

test('crowds tell what the decoders and the cores carry, and so what another mix of both would do', () => {
  const withLoader = (friction: number, capacities: Profile['capacities']): Profile => {
    const profile = profileOf()
    const [loader, ...others] = profile.steps
    const own = { ...loader!, hostWidth: 0.4 }
    return {
      ...profile,
      friction,
      capacities: { ...profile.capacities, ...capacities },
      steps: [own, ...others],
    }
  }
  const truth = withLoader(0.06, { cores: 2.5, nvdec: 4 })
  const predict: Predict = (profile, crowd) => {
    const of = new ProfilePredictor(profile, { registry: builtin })
    return simulatedFigures((arrangement, arrivals) => of.simulate(arrangement, arrivals), crowd)
  }
  const crowdOf = (inFlight: number, cpuDecoders: number): Crowd => {
    const crowd = {
      name: `${inFlight} and ${cpuDecoders}`,
      arrangement: arranged(pipeline(inFlight, cpuDecoders)),
      concurrency: inFlight + cpuDecoders,
      first: 50,
      requests: 330,
      after: 20,
      seed: 3,
    }
    return {
      ...crowd,
      measured: predict(truth, { ...crowd, measured: { videosPerS: 0, p50Ms: 0, calls: new Map() } })!,
    }
  }
  const crowds = [crowdOf(12, 0), crowdOf(6, 4), crowdOf(3, 0)]
  expect([...crowds[1]!.measured.calls.keys()].sort()).toEqual(['step 0 on gpu', 'step 0 on gpu-host'])
  const found = withLoader(0.02, { cores: 4, nvdec: 7 })
  // What one request at a time says is not asked.
  const single = { ...crowds[2]!, concurrency: 1 }
  const parameters = parametersOf(found)
  let predicted = 0
  fit(found, [...crowds, single], parameters, (profile, crowd) => {
    expect(crowd.concurrency).toBeGreaterThan(1)
    predicted++
    return predict(profile, crowd)
  })
  // So its time is known before.
  expect(predicted).toBeLessThanOrEqual(crowds.length * triedBy(parameters))
  expect(predicted).toBeGreaterThan((crowds.length * triedBy(parameters)) / 3)
  // From the truth there is nothing better to be found, and no sweep is done again.
  let tried = 0
  fit(withLoader(0.06, { cores: 2.5, nvdec: 4 }), crowds, parameters, (profile, crowd) => {
    tried++
    return predict(profile, crowd)
  })
  expect(tried).toBeLessThan(crowds.length * triedBy(parameters))
  for (const { throughputError } of fittedErrors(found, crowds, predict))
    expect(Math.abs(throughputError)).toBeLessThan(0.02)
  // Many calls at once tell what the engines carry, and few what they cost each other before that.
  expect(Math.abs(found.capacities.nvdec! / 4 - 1)).toBeLessThan(0.03)
  expect(Math.abs(found.friction / 0.06 - 1)).toBeLessThan(0.3)
  // From far away the way downhill leads elsewhere: then all is looked over.
  const lost = withLoader(0.2, { cores: 4, nvdec: 60 })
  let looked = 0
  fit(lost, crowds, parametersOf(lost), (profile, crowd) => {
    looked++
    return predict(profile, crowd)
  })
  expect(looked).toBeGreaterThan(crowds.length * triedBy(parametersOf(lost)))
  for (const { throughputError } of fittedErrors(lost, crowds, predict))
    expect(Math.abs(throughputError)).toBeLessThan(0.02)
  const other = crowdOf(3, 2)
  expect(Math.abs(predict(found, other)!.videosPerS / other.measured.videosPerS - 1)).toBeLessThan(0.05)
}, 30_000)

test('one shared video at a time tells what each thread that shares it does before its first clip', () => {
  const own = pipeline(4)
  Object.assign(own.pipeline[0]!, {
    num_clips_population: [1, 3],
    num_clips_weights: [1, 1],
    share_clips: true,
  })
  const plan = planned(own)
  const key = stepKey({ steps: plan.steps }, plan.instances[0]!, 'gpu')
  const profile = profileOf()
  const calls = [
    { clips: 1, ms: [10] },
    { clips: 3, ms: [30] },
  ]
  const withBegin = (beginMs: number): Profile => ({
    ...profile,
    capacities: { ...profile.capacities, nvdec: 40 },
    sharing: { beginMs, extraMs: 1, pieces: [{ clips: 3, shares: [[0.4, 0.3, 0.3]] }] },
    steps: [{ ...profile.steps[0]!, key, calls }, ...profile.steps.slice(1)],
  })
  const predict: Predict = (of, crowd) =>
    simulatedFigures((arrangement, arrivals) => {
      const predictor = new ProfilePredictor(of, { registry: builtin })
      return predictor.simulate(arrangement, arrivals)
    }, crowd)
  const asked = {
    name: 'sharing',
    arrangement: arranged(own),
    concurrency: 1,
    first: 0,
    requests: 60,
    after: 0,
    seed: 2,
    measured: { videosPerS: 1, p50Ms: 1, calls: new Map() },
  }
  const measured = predict(withBegin(5), asked)!
  // Its owner has the largest piece, and begins with 5 of the 30 ms.
  const { calls: count, ms } = measured.calls.get('step 0 on gpu')!.get(3)!
  near(ms / count, 5 + 0.4 * 25)
  const found = withBegin(0)
  fitSharing(found, [{ ...asked, measured }], predict)
  near(found.sharing!.beginMs, 5)
  // Calls of one clip tell nothing of it.
  const ofOne = new Map([['step 0 on gpu', new Map([[1, { calls: 9, ms: 90 }]])]])
  const still = withBegin(0)
  fitSharing(still, [{ ...asked, measured: { ...measured, calls: ofOne } }], predict)
  expect(still.sharing!.beginMs).toBe(0)
})

test('no plan is predicted to be faster than its bound, however few cores there are for what feeds the decoders', () => {
  const profile = profileOf()
  const [loader, ...others] = profile.steps
  const of = (cores: number, hostWidth: number) =>
    new ProfilePredictor(
      {
        ...profile,
        capacities: { ...profile.capacities, cores },
        steps: [{ ...loader!, hostWidth }, ...others],
      },
      { registry: builtin },
    )
  const template = templateOf(pipeline(1), builtin)
  const limits = { ...usualLimits([0], 4), loadersOn: ['gpu'] as const, inFlight: [1, 4, 16] }
  const space = new Space(template, limits)
  const load = { requests: 200, seed: 2 }
  fc.assert(
    fc.property(
      fc.constantFrom(0.5, 1, 3),
      fc.constantFrom(0.1, 0.5, 1),
      fc.array(fc.nat(), { minLength: 8, maxLength: 8 }),
      (cores, hostWidth, turns) => {
        const predictor = of(cores, hostWidth)
        let choice = space.roots[turns[0]! % space.roots.length]!
        for (let depth = 1; ; depth++) {
          const children = space.children(choice)
          if (!children) break
          fc.pre(children.length > 0)
          choice = children[turns[depth % turns.length]! % children.length]!
        }
        const { videosPerS } = predictor.predict(space.arrangement(choice), load)
        const { perS } = new Bounds(space, predictor, load).bottleneck(choice)
        expect(videosPerS).toBeLessThanOrEqual(perS * (1 + 1e-9))
      },
    ),
    { numRuns: 60 },
  )
})

test('calls that go round many threads take longer by the number of threads, and less so the more of these are at work', () => {
  const profile = profileOf()
  const [loader, ...others] = profile.steps
  const spread = { threads: 16, calls: [{ clips: 1, longer: 1.5 }] }
  const of = new ProfilePredictor(
    { ...profile, steps: [{ ...loader!, spread }, ...others] },
    { registry: builtin },
  )
  const callMs = (inFlight: number, concurrency: number) => {
    const { simulated } = of.simulate(arranged(pipeline(inFlight)), {
      schedule: new Float64Array(300),
      concurrency,
      seed: 1,
    })
    const totals = simulated.threads[0]!.flatMap(sizes => [...sizes.values()])
    const sum = (name: 'calls' | 'ns') => totals.reduce((all, own) => all + own[name], 0)
    return sum('ns') / sum('calls') / 1e6
  }
  for (const [inFlight, longer] of [
    [1, 1],
    [4, 1.25],
    [16, 1.5],
  ] as const) {
    near(callMs(inFlight, 1), besideMs(1, longer))
    near(ratePerS(pipeline(inFlight), of), (1000 * inFlight) / besideMs(inFlight))
  }
  // Two of five, one beside the call, in the place of none and of four.
  const two = 1 + (0.5 * Math.log(5)) / Math.log(16)
  expect(callMs(5, 2)).toBeGreaterThan(besideMs(2, 1))
  expect(callMs(5, 2)).toBeLessThan(besideMs(2, two))
  // What no plan can do without is the least that any of them takes.
  const [demand] = of.demand(
    { config: pipeline(16), step: 0, device: 0, mostBatch: 1 },
    { requests: 5, seed: 1 },
  )
  expect(demand!.threadMs).toBeCloseTo(LOAD_MS, 9)
})

test('decoders on the host give way only once all logical processors are taken', () => {
  const profile = profileOf()
  const [loader, host, network] = profile.steps
  const of = (processors: number) =>
    new ProfilePredictor(
      {
        ...profile,
        about: { ...profile.about, cores: processors },
        capacities: { ...profile.capacities, cores: 1 },
        steps: [{ ...loader!, hostWidth: 1 }, { ...host!, yields: true }, network!],
      },
      { registry: builtin },
    )
  // While there are enough both are twice as slow; else weights of 1024 and 110 share the one.
  near(ratePerS(pipeline(1, 1), of(4)), 1000 / (2 * LOAD_MS) + 1000 / (2 * HOST_LOAD_MS))
  near(
    ratePerS(pipeline(1, 1), of(1)),
    (1000 * 1024) / (1134 * LOAD_MS) + (1000 * 110) / (1134 * HOST_LOAD_MS),
  )
})

test('decoders on the host that were seen beside others take the processor for longer, and give way', () => {
  const both = planOf(
    arranged(pipeline(1, 1)),
    { requests: 10, seed: 0 },
    { registry: builtin, gpus: 8, networks: networkReader(builtin) },
  )
  const samples = new Samples()
  const call = (ms: number, cpuMs: number): ObservedCall => ({
    step: 0,
    engine: 'gpu-host',
    items: 1,
    clips: 1,
    beginMs: 0,
    ms,
    cpuMs,
  })
  for (let i = 0; i < 5; i++) {
    samples.take(both, call(10, 10), 0)
    // What it waits for others tells nothing of the call.
    samples.takeBeside(both, call(40, 12))
    samples.take(both, { ...call(10, 4), engine: 'gpu' }, 0)
    samples.takeBeside(both, { ...call(40, 12), engine: 'gpu' })
  }
  const [host, gpu] = samples.steps
  expect(host).toMatchObject({ yields: true, spread: { threads: 2, calls: [{ clips: 1, longer: 1.2 }] } })
  expect(gpu!.yields).toBeUndefined()
  expect(gpu!.spread).toBeUndefined()
})

test('calls of two runs are compared as if both had as many of each size', () => {
  const calls = (...sizes: [clips: number, calls: number, ms: number][]) =>
    new Map(sizes.map(([clips, count, ms]) => [clips, { calls: count, ms }]))
  // Each size takes a tenth longer, though the mean of all is less.
  expect(longerThan(calls([1, 90, 99], [15, 1, 11]), calls([1, 9, 9], [15, 9, 90]))).toBeCloseTo(1.1, 9)
  // Of a size that the other run did not have nothing is known.
  expect(longerThan(calls([1, 1, 3]), calls([1, 2, 4], [15, 1, 10]))).toBeCloseTo(1.5, 9)
  expect(longerThan(calls([1, 1, 3]), calls([15, 1, 10]))).toBe(1)
})

test('runs of the same rate are apart if their calls are', () => {
  const figures = (ms: number) => ({
    videosPerS: 10,
    p50Ms: 5,
    calls: new Map([['step 0 on gpu', new Map([[1, { calls: 1, ms }]])]]),
  })
  const crowd = { measured: figures(10) } as unknown as Crowd
  expect(distance(profileOf(), [crowd], () => figures(10))).toBe(0)
  expect(distance(profileOf(), [crowd], () => figures(20))).toBeCloseTo(Math.log(2) ** 2 / 4, 9)
})

test('who does a part of a shared call has its share, and what comes before all clips if nobody did that for it', () => {
  const own = pipeline(2)
  Object.assign(own.pipeline[0]!, { num_clips_population: [3], num_clips_weights: [1], share_clips: true })
  const { plan, settings } = planOf(
    arranged(own),
    { requests: 10, seed: 0 },
    { registry: builtin, gpus: 8, networks: networkReader(builtin) },
  )
  const base = profileOf()
  const key = stepKey({ steps: plan.steps }, plan.instances[0]!, 'gpu')
  const profile = {
    ...base,
    sharing: { beginMs: 6, extraMs: 2, pieces: [{ clips: 3, shares: [[0.5, 0.25, 0.25]] }] },
    steps: [{ ...base.steps[0]!, key, calls: [{ clips: 3, ms: [30] }] }, ...base.steps.slice(1)],
  }
  const service = new ProfiledService(profile, new KnownSteps(profile), { plan, settings, requests: 10 })
  const stretches = (more: Pick<ServiceCall, 'part' | 'by'>) =>
    service
      .stretches({ instance: plan.instances[0]!, worker: 0, request: 0, items: 1, clips: 3, ...more })
      .map(({ ms, resource }) => [resource, ms])
  expect(stretches({})).toEqual([['gpu 0 nvdec', 30]])
  // Of 30 ms 6 come before all clips; a helper does them again, 2 of them on the processor.
  expect(stretches({ part: 0.5, by: 'beginner' })).toEqual([['gpu 0 nvdec', 18]])
  expect(stretches({ part: 0.25, by: 'owner' })).toEqual([['gpu 0 nvdec', 6]])
  expect(stretches({ part: 0.25, by: 'helper' })).toEqual([
    ['host cores', 2],
    ['gpu 0 nvdec', 10],
  ])
})

test('how much larger some requests are than others is what calls of their sizes took', () => {
  const calls = new Map([
    [1, { calls: 10, ms: 100 }],
    [15, { calls: 2, ms: 140 }],
  ])
  expect(largerThan([1, 15], [1, 1], calls)).toBeCloseTo(4, 9)
  // Sizes of which there was no call are left out; without any, nothing is known.
  expect(largerThan([1, 15, 3], [1, 1], calls)).toBeCloseTo(4, 9)
  expect(largerThan([1, 15], [1], undefined)).toBe(1)
})

test('of a crowd those count that others followed, and the last of them are simulated as they were', () => {
  const ids = Array.from({ length: 5000 }, (_, i) => 700 + i)
  const counted = followed(ids, 64)
  expect([counted[0], counted.at(-1)]).toEqual([700, 5635])
  expect(simulatedOf(ids, counted)).toEqual({ first: 3636, requests: 2000, after: 64 })
  // Of so few none would be left.
  const few = ids.slice(0, 100)
  expect(simulatedOf(few, followed(few, 64))).toEqual({ first: 700, requests: 100, after: 0 })
})

test('of a crowd the requests that ran are simulated, and some before them', () => {
  const asked: unknown[] = []
  const of = new ProfilePredictor(profileOf(), { registry: builtin })
  const crowd = { first: 900, requests: 40, after: 6, concurrency: 3, seed: 4 }
  const measured = { videosPerS: 1, p50Ms: 1, calls: new Map() }
  simulatedFigures(
    (arrangement, arrivals) => {
      asked.push([arrivals.first, arrivals.schedule.length, arrivals.concurrency, arrivals.seed])
      return of.simulate(arrangement, arrivals)
    },
    { name: 'a', arrangement: arranged(pipeline(2)), ...crowd, measured },
  )
  expect(asked).toEqual([[600, 346, 3, 4]])
})

test('requests are what their numbers say, wherever a simulation begins', () => {
  const mixed = pipeline(1)
  Object.assign(mixed.pipeline[0]!, { num_clips_population: [1, 3], num_clips_weights: [2, 1] })
  const profile = profileOf()
  const plan = planned(mixed)
  const key = stepKey({ steps: plan.steps }, plan.instances[0]!, 'gpu')
  const calls = [
    { clips: 1, ms: [10] },
    { clips: 3, ms: [30] },
  ]
  const of = new ProfilePredictor(
    { ...profile, steps: [{ ...profile.steps[0]!, key, calls }, ...profile.steps.slice(1)] },
    { registry: builtin },
  )
  const latencies = (first: number, requests: number) => {
    const { simulated } = of.simulate(arranged(mixed), {
      schedule: new Float64Array(requests),
      concurrency: 1,
      seed: 5,
      first,
    })
    return Array.from(simulated.endNs, (ns, i) => Math.round((ns - simulated.intendedNs[i]!) / 1e6))
  }
  const all = latencies(0, 60)
  expect(new Set(all).size).toBe(2)
  expect(latencies(25, 35)).toEqual(all.slice(25))
})

test('calls of a decoder on the host in which the runtime compiled are not drawn from, where enough others are known', () => {
  const both = planOf(
    arranged(pipeline(1, 1)),
    { requests: 10, seed: 0 },
    { registry: builtin, gpus: 8, networks: networkReader(builtin) },
  )
  const of = (engine: ObservedCall['engine'], times: readonly number[]) => {
    const samples = new Samples()
    for (const ms of times)
      samples.take(both, { step: 0, engine, items: 1, clips: 1, beginMs: 0, ms, cpuMs: ms }, 0)
    return samples.steps[0]!.calls[0]!.ms
  }
  const usual = Array.from({ length: 24 }, (_, i) => 10 + i / 10)
  expect(of('gpu-host', [...usual.slice(0, 3), 60, ...usual.slice(3), 24])).toEqual([...usual, 24])
  expect(of('gpu', [...usual, 60])).toContain(60)
  expect(of('gpu-host', [10, 10, 60])).toContain(60)
})

test('a network that runs ahead computes one batch after the other, however many wait', () => {
  const profile = profileOf()
  const slow = { ...profile.steps[2]!, calls: [{ clips: 1, ms: [20] }] }
  const of = new ProfilePredictor(
    { ...profile, steps: [...profile.steps.slice(0, 2), slow] },
    { registry: builtin },
  )
  near(ratePerS(pipeline(20), of), 1000 / 20)
})

test('decoders on the host carry as much as its cores', () => {
  near(ratePerS(pipeline(1, 4)), 1000 / LOAD_MS + 4000 / HOST_LOAD_MS)
  near(ratePerS(pipeline(1, 8)), 1000 / LOAD_MS + 4000 / HOST_LOAD_MS)
})

test('two GPUs carry twice as much, where there are two', () => {
  const config = pipeline(4, 0, [0, 1])
  expect(() => ratePerS(config)).toThrow(/there is 1 GPU/)
  near(ratePerS(config, whatIf(profileOf(), { gpus: 2 }, { registry: builtin })), (2 * 4000) / besideMs(4))
})

test('what a step takes from another GPU comes over a link first', () => {
  const apart = pipeline(1)
  apart.pipeline[1] = { ...apart.pipeline[1]!, queue_groups: [{ gpus: [1], in_queue: 0 }] }
  const two = whatIf(profileOf(), { gpus: 2 }, { registry: builtin })
  const latencyMs = (config: PipelineFile) =>
    two.predict(arranged(config), { requests: 200, seed: 1, ratePerS: 1 }).p50Ms
  // A clip of 8 frames of 112 x 112 pixels, each of eight 16-bit numbers.
  const bytes = 8 * 112 * 112 * 8 * 2
  expect(latencyMs(apart) - latencyMs(pipeline(1))).toBeCloseTo((1000 * bytes) / LINK_BYTES_PER_S, 6)
})

test('demands are those of each kind of thread', () => {
  const load = { requests: 50, seed: 1 }
  const [gpu, host, ...others] = predictor.demand(
    { config: pipeline(3, 2), step: 0, device: 0, mostBatch: 4 },
    load,
  )
  expect(others).toEqual([])
  expect(gpu).toMatchObject({ threads: 3, host: {} })
  expect(gpu!.threadMs).toBeCloseTo(LOAD_MS, 9)
  expect(gpu!.gpu.nvdec).toBeCloseTo(LOAD_MS, 9)
  expect(host).toMatchObject({ threads: 2, gpu: {} })
  expect(host!.host.cores).toBeCloseTo(HOST_LOAD_MS, 9)
})

test('a GPU is measured by itself, with decoders on the host beside it, and crowded', () => {
  const names = (hostDecoders: number) =>
    experimentsOf('a', pipeline(16, 4), { batches: [1, 8], crowds: [16], hostDecoders }).map(
      ({ name }) => name,
    )
  expect(names(14)).toEqual([
    'a-batch-1',
    'a-batch-8',
    'a-decoders-on-host',
    'a-crowd-16',
    'a-crowd-8-and-14-on-host',
    'a-spread-16',
  ])
  expect(names(0)).toEqual(['a-batch-1', 'a-batch-8', 'a-crowd-16', 'a-spread-16'])
  // What sharing costs comes after what decoders on the host do: most plans have these.
  const [loader, ...others] = pipeline(16).pipeline
  const several = { ...loader!, num_clips_population: [1, 15], num_clips_weights: [10, 1] }
  const drawing = { ...pipeline(16), pipeline: [several, ...others] }
  const crowds = experimentsOf('a', drawing, { batches: [], crowds: [32, 8], hostDecoders: 14 })
  expect(crowds.map(({ name }) => name).slice(-5)).toEqual([
    'a-crowd-32',
    'a-crowd-8',
    'a-crowd-16-and-14-on-host',
    'a-sharing-8',
    'a-spread-16',
  ])
  // Twice as many requests as threads, so that none waits for the network: but for those that go round, one at a time.
  expect(crowds.slice(-5).map(({ concurrency }) => concurrency)).toEqual([64, 16, 60, 1, 1])
  // Decoders on the host are shared by the loaders of all GPUs.
  const [onBoth] = experimentsOf('a', drawing, {
    batches: [],
    crowds: [32, 8],
    hostDecoders: 30,
    gpus: [0, 2],
  }).filter(({ name }) => isOfBothEngines(name))
  expect(onBoth).toMatchObject({ name: 'a-crowd-32-and-30-on-host', concurrency: 124 })
  const { config } = onBoth!.arrangement
  expect(config.pipeline[0]).toMatchObject({ in_flight: 16, cpu_decoders: 15 })
  expect(config.pipeline.map(({ queue_groups: [group] }) => group!.gpus)).toEqual([
    [0, 2],
    [0, 2],
  ])
  expect(planned(config).instances.map(({ device }) => device)).toEqual([0, 2, 0, 2])
  const spread = experimentsOf('a', pipeline(4), { batches: [], crowds: [2, 8] }).at(-1)!
  expect(spread).toMatchObject({ concurrency: 1, isolates: false, spreads: true })
  expect(spread.arrangement.config.pipeline[0]).toMatchObject({ in_flight: 8 })
  const [beside] = experimentsOf('a', pipeline(16), { batches: [], crowds: [], hostDecoders: 4 })
  expect(beside!.arrangement.config.pipeline[0]).toMatchObject({ in_flight: 1, cpu_decoders: 1 })
})

test('decoders on the host that were not seen beside busy engines are in no plan', () => {
  const spaceWith = (bothEngines?: boolean) => {
    const profile = { ...profileOf(), ...(bothEngines !== undefined && { bothEngines }) }
    const of = new ProfilePredictor(profile, { registry: builtin })
    const limits = { ...usualLimits([0], 4), loadersOn: ['gpu'] as const, segments: [1], shareClips: [false] }
    return usableSpace(templateOf(pipeline(4), builtin), limits, runsOn(of))
  }
  expect(isOfBothEngines('structure-1-crowd-16-and-14-on-host')).toBe(true)
  for (const name of ['structure-1-crowd-16', 'structure-1-decoders-on-host'])
    expect(isOfBothEngines(name)).toBe(false)
  const seen = spaceWith(true)
  expect(seen.unknown).toEqual([])
  expect(seen.space.limits.cpuDecoders).toEqual([0, 1, 2])
  // What older profiles do not say is taken as seen.
  expect(spaceWith().unknown).toEqual([])
  const unseen = spaceWith(false)
  expect(unseen.unknown).toEqual(['decoders on the host beside those of a GPU'])
  expect(unseen.space.limits.cpuDecoders).toEqual([0])
})

test('of batches in results, calls; of decoders, who decoded', () => {
  const plan = planned(pipeline(1, 1))
  const line = (id: number, clips: number, runMs: number, more: Partial<ResultLine> = {}): ResultLine => ({
    type: 'result',
    id,
    video: 'a.mp4',
    top: [],
    clips,
    decoder: 'nvdec',
    frames_needed: 8,
    frames_decoded: 8,
    steps: [
      { step: 0, kind: 'loader', device: 'cuda:0', batch: 1, queue_ms: 0.5, wait_ms: 0, run_ms: 4 + id },
      {
        step: 1,
        kind: 'network',
        device: 'cuda:0',
        batch: 2,
        queue_ms: 0.25,
        wait_ms: 2 - id,
        run_ms: runMs,
      },
    ],
    intended_ms: 100,
    actual_ms: 100,
    latency_ms: 9,
    latency_actual_ms: 9,
    warmup: false,
    ...more,
  })
  const { calls } = observe(plan, [
    line(0, 1, 3, { load_cpu_ms: 1.5 }),
    line(1, 15, 3, { decoder: 'libav' }),
    // The rest of its batch has no line.
    line(2, 1, 7, { decoder: 'libav', decoder_reason: 'its profile' }),
  ])
  expect(calls.filter(({ step }) => step === 1)).toEqual([
    { step: 1, engine: 'gpu', items: 2, clips: 16, beginMs: 106.75, ms: 3 },
  ])
  expect(calls.filter(({ step }) => step === 0).map(({ engine, ms, cpuMs }) => [engine, ms, cpuMs])).toEqual([
    ['gpu', 4, 1.5],
    ['gpu-host', 5, undefined],
    ['gpu', 6, undefined],
  ])
})
