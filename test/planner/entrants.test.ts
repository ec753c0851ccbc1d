import { describe, expect, test } from 'bun:test'
import { builtin } from '../../src/pipeline/builtin.ts'
import { NotMeasured } from '../../src/planner/not-measured.ts'
import { SharedWork } from '../../src/planner/profile/sharing.ts'
import { entrantsOf } from '../../src/planner/proof/entrants.ts'
import { usableSpace } from '../../src/planner/search/find.ts'
import type { Choice } from '../../src/planner/space/choice.ts'
import { usualLimits } from '../../src/planner/space/limits.ts'
import { Space } from '../../src/planner/space/space.ts'
import { templateOf } from '../../src/planner/space/template.ts'
import type { Arrangement } from '../../src/planner/types.ts'
import { narrow } from './spaces.ts'

const plan = (loader: object): { arrangement: Arrangement } => ({
  arrangement: {
    config: { pipeline: [{ model: 'loader', queue_groups: [{ gpus: [0] }], ...loader }] },
    batch: 1,
    maxBatchDelayMs: 0,
    perGpuQueue: false,
    queueSize: 1,
  },
})

test('who runs for real: the best of each way to decode, then the next best', () => {
  const shared = { share_clips: true, cpu_decoders: 4 }
  const plans = [shared, shared, shared, {}, { cpu_decoders: 0 }, { cpu_decoders: 2 }].map(plan)
  expect(entrantsOf(plans, 3)).toEqual([0, 3, 5])
  expect(entrantsOf(plans, 4)).toEqual([0, 3, 5, 1])
  expect(entrantsOf(plans, 9)).toEqual([0, 3, 5, 1, 2, 4])
  expect(entrantsOf(plans, 1)).toEqual([0])
})

test('half as many threads or fewer are another way to decode', () => {
  const on = (gpus: number[], inFlight: number) =>
    plan({ queue_groups: [{ gpus }], in_flight: inFlight, cpu_decoders: 8 })
  const plans = [on([0, 0, 1, 1], 16), on([0, 0, 1, 1], 8), on([0, 1], 16), on([0, 1], 24), on([0], 8)]
  expect(entrantsOf(plans, 3)).toEqual([0, 2, 4])
})

const template = (clips: number[]) =>
  templateOf(
    {
      pipeline: [
        {
          model: 'loader',
          queue_groups: [{ gpus: [0], out_queues: [0] }],
          num_clips_population: clips,
          num_clips_weights: clips.map(() => 1),
        },
        { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0 }] },
      ],
    },
    builtin,
  )

/** All plans below a choice. */
function* leaves(space: Space, choice: Choice): Generator<Choice> {
  const children = space.children(choice)
  if (!children) yield choice
  else for (const child of children) yield* leaves(space, child)
}
const every = (space: Space): Choice[] => space.roots.flatMap(root => [...leaves(space, root)])

describe('what a loader on GPUs may be told', () => {
  test('no more decoders than were seen at once: on each GPU, and on the host', () => {
    const limits = { ...usualLimits([0, 1], 16), loadersOn: ['gpu'] as const, segments: [1] }
    const space = new Space(template([1, 15]), limits)
    const plans = every(space).map(choice => space.arrangement(choice).config.pipeline[0]!)
    expect(plans.length).toBeGreaterThan(100)
    let [most, mostOnHost] = [0, 0]
    for (const { queue_groups: groups, in_flight: inFlight, cpu_decoders: decoders } of plans) {
      const gpus = groups.flatMap(({ gpus: own }) => own ?? [])
      for (const gpu of [0, 1])
        most = Math.max(most, Number(inFlight) * gpus.filter(own => own === gpu).length)
      mostOnHost = Math.max(mostOnHost, Number(decoders) * gpus.length)
    }
    expect(most).toBe(32)
    expect(mostOnHost).toBe(16)
    // Neighbours of a plan are plans of the space.
    const known = new Set(every(space).map(choice => JSON.stringify(space.arrangement(choice))))
    for (const near of space.neighbours(every(space)[0]!))
      expect(known.has(JSON.stringify(space.arrangement(near)))).toBeTrue()
  })

  test('to share clips, where there can be several and it was measured', () => {
    const limits = { ...narrow, gpus: [0], networksOn: ['gpu'] as const, shareClips: [false, true] }
    const shares = (space: Space) =>
      every(space).some(choice => space.arrangement(choice).config.pipeline[0]!.share_clips === true)
    expect(shares(new Space(template([1, 15]), limits))).toBeTrue()
    expect(shares(new Space(template([1]), limits))).toBeFalse()
    const { space, unknown } = usableSpace(template([1, 15]), limits, ({ config }) => {
      if (config.pipeline[0]!.share_clips) throw new NotMeasured('not measured')
    })
    expect(shares(space)).toBeFalse()
    expect(unknown).toEqual(['threads of a loader that share a video'])
  })
})

describe('what it takes to help', () => {
  const pieces = [{ clips: 15, shares: [[0.5, 0.3, 0.2]] }]
  const call = (clips: number, cpuMs: number) =>
    ({ step: 0, engine: 'gpu', clips, ms: 1, items: 1, cpuMs }) as Parameters<SharedWork['take']>[0]

  test('is what a shared call takes more, beyond what many threads cost by themselves', () => {
    const work = new SharedWork()
    for (let i = 0; i < 5; i++) {
      work.take(call(1, 2), false)
      work.take(call(1, 3), true)
      work.take(call(15, 20), false)
      // Half as much again for being on several threads, and 4 ms for each of two pieces.
      work.take(call(15, 38), true)
    }
    expect(work.extraMs(pieces)).toBeCloseTo(4, 9)
  })

  test('is nothing where too few calls were seen, or it cost less', () => {
    const work = new SharedWork()
    for (let i = 0; i < 4; i++)
      for (const shared of [false, true]) work.take(call(15, shared ? 9 : 5), shared)
    expect(work.extraMs(pieces)).toBe(0)
    for (let i = 0; i < 4; i++)
      for (const shared of [false, true]) work.take(call(15, shared ? 0 : 50), shared)
    expect(work.extraMs(pieces)).toBe(0)
  })
})
