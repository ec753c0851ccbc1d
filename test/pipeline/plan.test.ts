import { describe, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { UsageError } from '../../src/errors.ts'
import { checkConfig, loadConfig } from '../../src/pipeline/config.ts'
import { type Host, makePlan, type Plan, type PlanOptions } from '../../src/pipeline/plan.ts'
import { fakes } from './fake-kinds.ts'

const RNB = fileURLToPath(new URL('../../../shared/rnb-config/', import.meta.url))
const haveRnb = existsSync(RNB)
if (!haveRnb) console.warn(`skipped: plans of RnB's own pipeline files (${RNB} is absent)`)

const settings = { seed: 1, batch: 1, maxBatchDelayMs: 5, top: 5, threads: 1, clip: { frames: 8, size: 112 } }
const defaults: PlanOptions = {
  settings,
  queueSize: 500,
  videos: 2000,
  bulk: false,
  perGpuQueue: false,
  device: 'auto',
}
const eight: Host = { gpus: 8, driver: true }
const bare: Host = { gpus: 0, driver: false }

const plan = (pipeline: unknown, options: Partial<PlanOptions> = {}, host = eight): Plan =>
  makePlan(
    checkConfig({ pipeline }, fakes, { name: 'x.json', folder: '/' }),
    { ...defaults, ...options },
    host,
  )
const rnbPlan = (name: string, options: Partial<PlanOptions> = {}, host = eight): Plan =>
  makePlan(loadConfig(`${RNB}${name}.json`, fakes), { ...defaults, ...options }, host)

const loader = (gpus: number[], more: object = {}) => ({
  model: 'loader',
  queue_groups: [{ gpus, out_queues: [0] }],
  ...more,
})
const network = (gpus: number[], more: object = {}) => ({
  model: 'network',
  queue_groups: [{ gpus, in_queue: 0 }],
  ...more,
})

const shapes = (specs: { shape: number[] }[]): number[][] => specs.map(spec => spec.shape)

describe('instances', () => {
  test('one for each entry of gpus, replicas counted for each device over all groups', () => {
    const { instances } = plan([
      {
        model: 'loader',
        queue_groups: [
          { gpus: [0, 0, 1], out_queues: [0] },
          { gpus: [1, 0, -1], out_queues: [0] },
        ],
      },
      network([3]),
    ])
    expect(
      instances.map(({ id, step, group, device, replica }) => [id, step, group, device, replica]),
    ).toEqual([
      [0, 0, 0, 0, 0],
      [1, 0, 0, 0, 1],
      [2, 0, 0, 1, 0],
      [3, 0, 1, 1, 1],
      [4, 0, 1, 0, 2],
      [5, 0, 1, -1, 0],
      [6, 1, 0, 3, 0],
    ])
    expect(instances[1]!.name).toBe('step 0 (loader) on gpu 0, replica 1')
    expect(instances[5]!.name).toBe('step 0 (loader) on cpu, replica 0')
  })

  test.skipIf(!haveRnb)("RnB's files: how many there are, and their queues", () => {
    const counts = [
      ['baseline', 16, 2],
      ['rnb', 18, 4],
      ['r2p1d-whole', 2, 2],
      ['r2p1d-nopipeline', 8, 1],
      ['r2p1d-segment', 8 + 1, 3],
      ['r2p1d-aggressive', 16, 9],
      ['r2p1d-aggressive-global', 16, 2],
      ['r2p1d-aggressive-four-groups', 16, 5],
    ] as const
    for (const [name, instances, queues] of counts) {
      const made = rnbPlan(name)
      expect([name, made.instances.length, made.queues.length]).toEqual([name, instances, queues])
    }
  })

  test('the plan is plain data', () => {
    const made = plan([loader([0]), network([0])])
    expect(structuredClone(made)).toEqual(made)
  })
})

describe('queues', () => {
  test('the filename queue is the first, then one for each number, with all ends counted', () => {
    const { queues, instances } = plan([
      {
        model: 'loader',
        queue_groups: [
          { gpus: [0, 1], out_queues: [2, 0] },
          { gpus: [1], out_queues: [0] },
        ],
      },
      {
        model: 'network',
        queue_groups: [
          { gpus: [0], in_queue: 0 },
          { gpus: [0, 1, 1], in_queue: 2 },
        ],
      },
    ])
    expect(
      queues.map(({ id, name, producers, consumers, capacity }) => [
        id,
        name,
        producers,
        consumers,
        capacity,
      ]),
    ).toEqual([
      [0, 'filename', 1, 3, 500],
      [1, 'step0-step1 queue 2', 2, 3, 500],
      [2, 'step0-step1 queue 0', 3, 1, 500],
    ])
    expect(instances.map(({ inQueue, outQueues }) => [inQueue, outQueues])).toEqual([
      [0, [1, 2]],
      [0, [1, 2]],
      [0, [2]],
      [2, []],
      [1, []],
      [1, []],
      [1, []],
    ])
  })

  test('in bulk every queue has room for every item', () => {
    const steps = [
      loader([0], { num_segments: 3 }),
      { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0, out_queues: [0] }] },
      { model: 'aggregator', queue_groups: [{ gpus: [-1], in_queue: 0 }], aggregate: 3 },
    ]
    const capacities = (options: Partial<PlanOptions>) =>
      plan(steps, options).queues.map(queue => queue.capacity)
    expect(capacities({ bulk: true })).toEqual([2000, 6000, 6000])
    expect(capacities({ bulk: true, videos: 10 })).toEqual([500, 500, 500])
    expect(capacities({ queueSize: 7 })).toEqual([7, 7, 7])
  })

  test('a queue named twice in out_queues counts a producer once', () => {
    const made = plan([{ model: 'loader', queue_groups: [{ gpus: [0], out_queues: [0, 0] }] }, network([0])])
    expect(made.queues[1]!.producers).toBe(1)
    expect(made.instances[0]!.outQueues).toEqual([1, 1])
  })

  test('shares multiply where items are joined', () => {
    const steps = [
      loader([0]),
      { model: 'batcher', queue_groups: [{ gpus: [0], in_queue: 0, out_queues: [0], batch: 3 }] },
      { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0, out_queues: [0] }] },
      { model: 'open', queue_groups: [{ gpus: [-1], in_queue: 0 }] },
    ]
    const made = plan(steps, { settings: { ...settings, batch: 4 } })
    expect(made.queues.map(queue => queue.maxShares)).toEqual([1, 1, 3, 12])
    expect(made.steps.map(step => step.batch)).toEqual([1, 3, 4, 1])
  })

  test('bounds of tensors are those of what is put in', () => {
    const { queues } = plan([loader([0]), network([0])])
    expect(queues.map(({ maxTensors, maxRank }) => [maxTensors, maxRank])).toEqual([
      [0, 0],
      [1, 4],
    ])
  })
})

describe('shapes', () => {
  test('flow from step to step; groups that share a queue make it as large as the largest', () => {
    const { instances, steps } = plan(
      [
        {
          model: 'loader',
          size: 8,
          queue_groups: [
            { gpus: [0], out_queues: [0], clips: 2 },
            { gpus: [0], out_queues: [0, 1], clips: 9 },
          ],
        },
        {
          model: 'network',
          num_classes: 10,
          queue_groups: [
            { gpus: [0, 1], in_queue: 0 },
            { gpus: [0], in_queue: 1, num_classes: 20 },
          ],
        },
      ],
      { settings: { ...settings, batch: 2 } },
    )
    expect(instances.map(({ inputs, outputs }) => [shapes(inputs), shapes(outputs)])).toEqual([
      [[], [[2, 3, 8, 8]]],
      [[], [[9, 3, 8, 8]]],
      [[[9, 3, 8, 8]], [[18, 10]]],
      [[[9, 3, 8, 8]], [[18, 10]]],
      [[[9, 3, 8, 8]], [[18, 20]]],
    ])
    expect(shapes(steps[0]!.outputs)).toEqual([[9, 3, 8, 8]])
    expect(shapes(steps[1]!.outputs)).toEqual([[18, 20]])
    expect(instances.map(({ slots }) => slots)).toEqual([10, 10, 10, 10, 10])
  })

  test('a segment has the rows of the largest part', () => {
    const made = plan([
      loader([0], { num_segments: 4, num_shared_tensors: 3 }),
      { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0, out_queues: [0] }] },
      { model: 'aggregator', queue_groups: [{ gpus: [-1], in_queue: 0 }], aggregate: 4 },
    ])
    expect(shapes(made.instances[0]!.outputs)).toEqual([[15, 3, 4, 4]])
    expect(shapes(made.instances[1]!.inputs)).toEqual([[4, 3, 4, 4]])
    expect(made.steps.map(({ segments, parts, last }) => [segments, parts, last])).toEqual([
      [4, 1, false],
      [1, 4, false],
      [1, 4, true],
    ])
    expect(made.instances.map(instance => instance.slots)).toEqual([3, 10, 0])
  })

  test('different tensors in one queue are refused', () => {
    const steps = [
      {
        model: 'loader',
        queue_groups: [
          { gpus: [0], out_queues: [0], size: 4 },
          { gpus: [0], out_queues: [0], size: 8 },
        ],
      },
      network([0]),
    ]
    expect(() => plan(steps)).toThrow(UsageError)
    expect(() => plan(steps)).toThrow(
      'step0-step1 queue 0 would hold both f32[15, 3, 4, 4] and f32[15, 3, 8, 8]',
    )
  })

  test('a step that cannot take its input says so with its place', () => {
    expect(() => plan([{ model: 'network', queue_groups: [{ gpus: [0] }] }])).toThrow(
      'x: pipeline[0] (network): it takes one tensor, and 0 arrive',
    )
  })
})

describe('parts of a video', () => {
  const middle = { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0, out_queues: [0] }] }
  const end = (aggregate?: number) => ({
    model: 'aggregator',
    queue_groups: [{ gpus: [-1], in_queue: 0 }],
    aggregate,
  })
  const clean = (value: unknown) => JSON.parse(JSON.stringify(value)) as unknown

  test('must be joined, all of them', () => {
    expect(() => plan([loader([0], { num_segments: 3 }), network([0])])).toThrow(
      'splits each video into 3 parts',
    )
    expect(() => plan(clean([loader([0], { num_segments: 3 }), middle, end(2)]))).toThrow(
      'pipeline[2].aggregate is 2: must be 3',
    )
    expect(() => plan(clean([loader([0], { num_segments: 3 }), middle, end()]))).toThrow(
      'pipeline[2].aggregate is 1',
    )
    expect(() => plan(clean([loader([0]), middle, end()]))).not.toThrow()
  })

  test('multiply over several splits', () => {
    const split = { ...middle, num_segments: 2 }
    const made = plan([loader([0], { num_segments: 3 }), split, end(6)])
    expect(made.steps.map(step => step.parts)).toEqual([1, 3, 6])
  })
})

describe('devices', () => {
  const devices = (made: Plan) => made.instances.map(instance => instance.device)
  const steps = [loader([0]), { ...network([0]), queue_groups: [{ gpus: [1, -1], in_queue: 0 }] }]

  test('auto: as written with a driver, all on the CPU with a note without', () => {
    expect(devices(plan(steps))).toEqual([0, 1, -1])
    const onCpu = plan(steps, {}, bare)
    expect(devices(onCpu)).toEqual([-1, -1, -1])
    expect(onCpu.instances.map(instance => instance.replica)).toEqual([0, 0, 1])
    expect(onCpu.notes).toEqual(['no NVIDIA driver was found: everything runs on the CPU'])
  })

  test('a configuration for the CPU needs no note and no driver', () => {
    const made = plan([loader([-1]), network([-1])], {}, bare)
    expect([devices(made), made.notes]).toEqual([[-1, -1], []])
    expect(devices(plan([loader([-1]), network([-1])]))).toEqual([-1, -1])
  })

  test('cpu: all on the CPU, without a note', () => {
    const made = plan(steps, { device: 'cpu' })
    expect([devices(made), made.notes]).toEqual([[-1, -1, -1], []])
  })

  test('cuda: as written; a configuration for the CPU alone goes to GPU 0', () => {
    expect(devices(plan(steps, { device: 'cuda' }))).toEqual([0, 1, -1])
    expect(devices(plan([loader([-1]), network([-1, -1])], { device: 'cuda' }))).toEqual([0, 0, 0])
    expect(() => plan(steps, { device: 'cuda' }, bare)).toThrow('no NVIDIA driver')
    expect(() => plan([loader([-1]), network([-1])], { device: 'cuda' }, { gpus: 0, driver: true })).toThrow(
      'there are 0 GPUs',
    )
  })

  test('a GPU that is not there: which, where, and how many there are', () => {
    for (const device of ['auto', 'cuda'] as const) {
      expect(() => plan(steps, { device }, { gpus: 1, driver: true })).toThrow(UsageError)
      expect(() => plan(steps, { device }, { gpus: 1, driver: true })).toThrow(
        'pipeline[1].queue_groups[0].gpus[0] is 1, but there is 1 GPU',
      )
    }
    expect(() => plan([loader([0]), network([2, 5, 2, 4])], {}, { gpus: 2, driver: true })).toThrow(
      'is 2, but there are 2 GPUs (missing: 2, 4, 5)',
    )
  })
})

describe('queues for each GPU', () => {
  const perGpuQueue = true

  test('items stay on the device that they were made on', () => {
    const { instances, queues } = plan([loader([0, 1, 1]), network([1, 0, 0])], { perGpuQueue })
    expect(queues.map(({ name, producers, consumers }) => [name, producers, consumers])).toEqual([
      ['filename', 1, 3],
      ['step0-step1 queue 0 gpu 0', 1, 2],
      ['step0-step1 queue 0 gpu 1', 2, 1],
    ])
    expect(instances.map(({ inQueue, outQueues }) => [inQueue, outQueues])).toEqual([
      [0, [1]],
      [0, [2]],
      [0, [2]],
      [2, []],
      [1, []],
      [1, []],
    ])
  })

  test.skipIf(!haveRnb)('is what r2p1d-aggressive writes by hand', () => {
    const ends = ({ instances, queues }: Plan) => ({
      instances: instances.map(({ device, inQueue, outQueues }) => [device, inQueue, outQueues]),
      queues: queues.map(({ producers, consumers }) => [producers, consumers]),
    })
    expect(ends(rnbPlan('r2p1d-aggressive-global', { perGpuQueue }))).toEqual(
      ends(rnbPlan('r2p1d-aggressive')),
    )
  })

  test.skipIf(!haveRnb)('r2p1d-segment: a GPU that makes items and none that takes them is named', () => {
    const make = () => rnbPlan('r2p1d-segment', { perGpuQueue })
    expect(make).toThrow(UsageError)
    expect(make).toThrow('step 0 puts into queue 0, but no instance of step 1 takes from it, on gpu 0')
  })

  test('a GPU that takes items and none that makes them is named', () => {
    const make = () => plan([loader([0]), network([0, 2, 3])], { perGpuQueue })
    expect(make).toThrow('step 1 takes from queue 0, but no instance of step 0 puts into it, on gpu 2, gpu 3')
  })

  test('where one side runs on the CPU alone, nothing can stay on a GPU: one queue', () => {
    const steps = [
      loader([-1, -1]),
      { model: 'network', queue_groups: [{ gpus: [0, 1], in_queue: 0, out_queues: [0] }] },
      { model: 'network', queue_groups: [{ gpus: [0, 1], in_queue: 0, out_queues: [0] }] },
      { model: 'aggregator', queue_groups: [{ gpus: [-1], in_queue: 0 }] },
    ]
    expect(plan(steps, { perGpuQueue }).queues.map(queue => queue.name)).toEqual([
      'filename',
      'step0-step1 queue 0',
      'step1-step2 queue 0 gpu 0',
      'step1-step2 queue 0 gpu 1',
      'step2-step3 queue 0',
    ])
  })

  test('all on the CPU it is one queue', () => {
    const made = plan([loader([0, 1]), network([2])], { perGpuQueue, device: 'cpu' })
    expect(made.queues.map(queue => queue.name)).toEqual(['filename', 'step0-step1 queue 0 cpu'])
  })
})

test('a batch that the slots before it cannot fill is noted', () => {
  const steps = [loader([0, 1], { num_shared_tensors: 3 }), network([0])]
  expect(plan(steps, { settings: { ...settings, batch: 6 } }).notes).toEqual([])
  const [note] = plan(steps, { settings: { ...settings, batch: 7 } }).notes
  expect(note).toContain('step 1 joins up to 7 items, but the instances before it have 6 slots in all')
})

/** Pipelines of any number of steps, groups, queues and GPUs whose queues match. */
const pipelines = fc
  .array(
    fc.record({
      groups: fc.array(fc.array(fc.integer({ min: -1, max: 3 }), { minLength: 1, maxLength: 3 }), {
        minLength: 1,
        maxLength: 4,
      }),
      queues: fc.integer({ min: 1, max: 3 }),
    }),
    { minLength: 1, maxLength: 5 },
  )
  .map(steps =>
    steps.map(({ groups, queues }, s) => {
      const before = s === 0 ? 0 : Math.min(steps[s - 1]!.queues, groups.length)
      const after = s === steps.length - 1 ? 0 : Math.min(queues, steps[s + 1]!.groups.length)
      return {
        model: s === 0 ? 'loader' : s % 2 === 0 ? 'batcher' : 'open',
        queue_groups: groups.map((gpus, g) => ({
          gpus,
          ...(s === 0 ? {} : { in_queue: g % before }),
          // The first group puts into every queue, so that none is left out.
          ...(after === 0
            ? {}
            : { out_queues: g === 0 ? Array.from({ length: after }, (_, q) => q) : [g % after] }),
        })),
      }
    }),
  )

test('any pipeline: ends agree, ids are indices, every instance is connected', () => {
  fc.assert(
    fc.property(pipelines, fc.constantFrom('auto' as const, 'cpu' as const), (steps, device) => {
      const { instances, queues, ...made } = plan(steps, { device })
      expect(made.steps).toHaveLength(steps.length)
      expect(instances.map(({ id }) => id)).toEqual([...instances.keys()])
      expect(queues.map(({ id }) => id)).toEqual([...queues.keys()])
      expect(instances).toHaveLength(
        steps.flatMap(step => step.queue_groups.flatMap(group => group.gpus)).length,
      )
      for (const { id, producers, consumers } of queues) {
        expect(instances.filter(({ inQueue }) => inQueue === id)).toHaveLength(consumers)
        if (id > 0)
          expect(instances.filter(({ outQueues }) => outQueues.includes(id))).toHaveLength(producers)
        expect(Math.min(producers, consumers)).toBeGreaterThan(0)
      }
      for (const { step, inQueue, outQueues, name, inputs } of instances) {
        expect(inQueue === 0).toBe(step === 0)
        expect(outQueues.length > 0).toBe(step < steps.length - 1)
        expect(instances.filter(other => other.name === name)).toHaveLength(1)
        expect(inputs.length).toBe(step === 0 ? 0 : 1)
      }
    }),
  )
})
