import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import * as v from 'valibot'
import { describePlan } from '../../src/cli/config.ts'
import { UsageError } from '../../src/errors.ts'
import { checkConfig } from '../../src/pipeline/config.ts'
import { makePlan, type Plan, type PlanOptions } from '../../src/pipeline/plan.ts'
import type { Registry } from '../../src/pipeline/registry.ts'
import type { StepKind } from '../../src/steps/step.ts'
import { fakes } from './fake-kinds.ts'

const options: PlanOptions = {
  settings: { seed: 1, batch: 1, maxBatchDelayMs: 5, top: 5, threads: 1, clip: { frames: 8, size: 112 } },
  queueSize: 500,
  videos: 2000,
  bulk: false,
  perGpuQueue: false,
  device: 'auto',
}

/** Joins what several steps give, whatever that is. */
const join: StepKind = {
  names: ['join'],
  joins: true,
  options: v.strictObject({ aggregate: v.number() }),
  shape: (_, inputs) => ({ outputs: inputs }),
  create() {
    throw new Error('these steps are never run')
  },
}
const kinds: Registry = { ...fakes, kinds: [...fakes.kinds, join] }

const check = (pipeline: unknown) => checkConfig({ pipeline }, kinds, { name: 'x.json', folder: '/' })
const plan = (pipeline: unknown, more: Partial<PlanOptions> = {}): Plan =>
  makePlan(check(pipeline), { ...options, ...more }, { gpus: 8, driver: true })

type Keys = Record<string, unknown>
const loader = (keys: Keys = {}): Keys => ({
  model: 'loader',
  queue_groups: [{ gpus: [0], out_queues: [0] }],
  ...keys,
})
/** A step whose results leave the pipeline, and one that others read from. */
const end = (keys: Keys = {}): Keys => ({
  model: 'network',
  queue_groups: [{ gpus: [0], in_queue: 0 }],
  ...keys,
})
const middle = (keys: Keys = {}): Keys =>
  end({ queue_groups: [{ gpus: [0], in_queue: 0, out_queues: [0] }], ...keys })
const aggregator = (keys: Keys = {}): Keys => end({ model: 'aggregator', ...keys })

describe('what a step reads from', () => {
  const graph = (pipeline: Keys[]) => check(pipeline).steps.map(({ sources, readers }) => [sources, readers])

  test('is the step before, unless it says', () => {
    expect(graph([loader(), middle(), end()])).toEqual([
      [[], [1]],
      [[0], [2]],
      [[1], []],
    ])
    const forked = [
      [[], [1, 2]],
      [[0], []],
      [[0], []],
    ]
    expect(graph([loader(), end(), end({ inputs: [0] })])).toEqual(forked)
  })

  test('goes by index, name, or kind', () => {
    for (const step of [0, 'loader', 'models.r2p1d.model.R2P1DLoader'])
      expect(graph([loader(), end(), end({ inputs: [step] })])[2]).toEqual([[0], []])
    expect(
      graph([
        loader({ name: 'clips' }),
        middle({ name: 'a' }),
        end({ inputs: ['clips'] }),
        end({ inputs: ['a'] }),
      ]),
    ).toEqual([
      [[], [1, 2]],
      [[0], [3]],
      [[0], []],
      [[1], []],
    ])
  })

  test('said outright, the step before changes nothing but the hash', () => {
    const { hash: _, ...plain } = plan([loader(), middle(), end()])
    const { hash: __, ...said } = plan([loader(), middle({ inputs: [0] }), end({ inputs: [1] })])
    expect(said).toEqual(plain)
  })
})

describe('what is wrong is named', () => {
  const cases: [string, Keys[], string][] = [
    [
      'a step that is not there',
      [loader(), end({ inputs: [7] })],
      'pipeline[1].inputs is [7]: there is no step 7',
    ],
    [
      'a name that is not there',
      [loader(), end({ inputs: ['b'] })],
      'no step is called b; they are loader, network',
    ],
    [
      'a kind that two steps have',
      [loader(), middle(), middle(), end({ inputs: ['network'] })],
      'steps 1, 2, 3 are called network; give the one that is meant a "name"',
    ],
    [
      'the same name twice',
      [loader({ name: 'a' }), end({ name: 'a' })],
      'pipeline[1].name is "a": step 0 has this name',
    ],
    [
      'a step that reads from itself',
      [loader(), end({ inputs: [1] })],
      'a cycle, in which each step waits for the next: 1 -> 1',
    ],
    [
      'a cycle of several',
      [loader(), middle({ inputs: ['c'] }), middle({ name: 'b' }), middle({ name: 'c', inputs: ['b'] })],
      'pipeline[1].inputs is ["c"]: a cycle, in which each step waits for the next: 1 -> 3 -> 2 -> 1',
    ],
    [
      'a step that comes later',
      [loader(), end({ inputs: [2] }), middle({ inputs: [0] })],
      'step 2 stands after this one',
    ],
    [
      'the first step',
      [loader({ inputs: [1] }), end()],
      'pipeline[0].inputs is [1]: the first step takes from the client',
    ],
    ['no step', [loader(), end(), end({ inputs: [] })], 'nothing would ever reach this step'],
    ['a step named twice', [loader(), aggregator({ inputs: [0, 'loader'] })], 'names a step twice'],
    [
      'a join by what joins nothing',
      [loader(), middle(), end({ inputs: [0, 1] })],
      'a step of kind network reads from one step',
    ],
    [
      'not a list',
      [loader(), end({ inputs: 'loader' })],
      'pipeline[1].inputs is "loader": must be a list of steps',
    ],
    ['not a step', [loader(), end({ inputs: [-1] })], 'pipeline[1].inputs[0] is -1: must be'],
    [
      'a step that nobody reads from, with queues',
      [loader(), middle(), end({ inputs: [0] })],
      'pipeline[1].queue_groups[0].out_queues is [0]: step 1, which no step reads from, has no out_queues',
    ],
    [
      'queues that one of two readers does not take from',
      [
        loader({ queue_groups: [{ gpus: [0, 0], out_queues: [0, 1] }] }),
        middle({
          queue_groups: [
            { gpus: [0], in_queue: 0 },
            { gpus: [0], in_queue: 1 },
          ],
        }),
        end({ inputs: [0] }),
      ],
      'step 0 puts into {0, 1} and step 2 takes from {0}; these sets must be equal',
    ],
  ]
  test.each(cases)('%s', (_, pipeline, message) => {
    expect(() => check(pipeline)).toThrow(UsageError)
    expect(() => check(pipeline)).toThrow(message)
  })

  test('a group cannot read from elsewhere than its step', () => {
    const groups = [{ gpus: [0], in_queue: 0, inputs: [0] }]
    expect(() => check([loader(), end({ queue_groups: groups })])).toThrow(
      'inputs is not a key of a queue group',
    )
  })

  test('parts that come from two steps must all be joined, in one instance', () => {
    const both = (keys: Keys) =>
      plan([
        loader(),
        middle({ name: 'a' }),
        middle({ name: 'b', inputs: [0] }),
        aggregator({ inputs: ['a', 'b'], ...keys }),
      ])
    expect(() => both({})).toThrow('pipeline[3].aggregate is 1: must be 2')
    expect(() => both({ aggregate: 2, queue_groups: [{ gpus: [0, 1], in_queue: 0 }] })).toThrow(
      'pipeline[3] has 2 instances: the parts of a video must meet in one',
    )
    expect(both({ aggregate: 2 }).steps.map(({ parts, leaving }) => [parts, leaving])).toEqual([
      [1, 1],
      [1, 1],
      [1, 1],
      [2, 1],
    ])
  })
})

describe('queues', () => {
  const ends = ({ queues, instances }: Plan) => ({
    queues: queues.map(({ name, producers, consumers }) => [name, producers, consumers]),
    instances: instances.map(({ step, inQueue, outQueues }) => [step, inQueue, outQueues]),
  })

  test('each reader has its own', () => {
    expect(
      ends(plan([loader(), end({ queue_groups: [{ gpus: [0, 1], in_queue: 0 }] }), end({ inputs: [0] })])),
    ).toEqual({
      queues: [
        ['filename', 1, 1],
        ['step0-step1 queue 0', 1, 2],
        ['step0-step2 queue 0', 1, 1],
      ],
      instances: [
        [0, 0, [1, 2]],
        [1, 1, []],
        [1, 1, []],
        [2, 2, []],
      ],
    })
  })

  test('a join has one for all that it reads from', () => {
    const pipeline = [
      loader(),
      middle(),
      middle({ inputs: [0] }),
      aggregator({ inputs: [1, 2], aggregate: 2 }),
    ]
    expect(ends(plan(pipeline)).queues).toEqual([
      ['filename', 1, 1],
      ['step0-step1 queue 0', 1, 1],
      ['step0-step2 queue 0', 1, 1],
      ['step1+step2-step3 queue 0', 2, 1],
    ])
    expect(plan(pipeline, { bulk: true }).queues.map(({ capacity }) => capacity)).toEqual([
      2000, 2000, 2000, 4000,
    ])
  })

  test('for each GPU, every branch must have both ends', () => {
    const perGpuQueue = true
    const pipeline = (gpus: number[]) => [
      loader({ queue_groups: [{ gpus: [0, 1], out_queues: [0] }] }),
      end({ queue_groups: [{ gpus: [0, 1], in_queue: 0 }] }),
      end({ inputs: [0], queue_groups: [{ gpus, in_queue: 0 }] }),
    ]
    expect(plan(pipeline([0, 1]), { perGpuQueue }).queues).toHaveLength(5)
    expect(() => plan(pipeline([1]), { perGpuQueue })).toThrow(
      'step 0 puts into queue 0, but no instance of step 2 takes from it, on gpu 0',
    )
    expect(() => plan(pipeline([0, 1, 2]), { perGpuQueue })).toThrow(
      'step 2 takes from queue 0, but no instance of step 0 puts into it, on gpu 2',
    )
  })
})

test('a plan in words shows who reads from whom, where steps do not simply follow each other', () => {
  const words = describePlan(plan([loader(), end({ name: 'actions' }), end({ inputs: [0] })]))
  expect(words.filter(line => line.startsWith('  step'))).toEqual([
    '  step 0: loader (reads from the client, feeds steps 1, 2)',
    '  step 1: actions, a network (reads from step 0, gives results)',
    '  step 2: network (reads from step 0, gives results)',
  ])
  expect(describePlan(plan([loader(), end()]))[1]).toBe('  step 0: loader')
})

/** Steps each of which reads from one or, if it joins, several of those before it. */
const trees = fc
  .array(fc.tuple(fc.nat(), fc.nat(), fc.boolean()), { minLength: 1, maxLength: 7 })
  .map(picks => {
    const sources: number[][] = [[]]
    for (const [a, b, joins] of picks) {
      const pool = sources.length
      sources.push(joins ? [...new Set([a % pool, b % pool])] : [a % pool])
    }
    return sources
  })

test('any graph: queues have both ends, parts add up, what nobody reads from gives results', () => {
  fc.assert(
    fc.property(trees, sources => {
      const readers = sources.map((_, s) => sources.flatMap((mine, r) => (mine.includes(s) ? [r] : [])))
      const pipeline = sources.map((mine, s) => ({
        model: s === 0 ? 'loader' : mine.length > 1 ? 'join' : 'open',
        ...(s > 0 && { inputs: mine }),
        ...(mine.length > 1 && { aggregate: mine.length }),
        queue_groups: [
          { gpus: [0], ...(s > 0 && { in_queue: 0 }), ...(readers[s]!.length > 0 && { out_queues: [0] }) },
        ],
      }))
      const { steps, queues, instances } = plan(pipeline)
      for (const { index, sources: mine, readers: theirs, parts, last } of steps) {
        expect([...mine]).toEqual(sources[index]!)
        expect([...theirs]).toEqual(readers[index]!)
        expect(parts).toBe(Math.max(1, mine.length))
        expect(last).toBe(theirs.length === 0)
        expect(instances[index]!.outQueues).toHaveLength(theirs.length)
      }
      for (const { id, producers, consumers } of queues) {
        expect(consumers).toBe(1)
        const into = instances.filter(({ outQueues }) => outQueues.includes(id))
        expect(into).toHaveLength(id === 0 ? 0 : producers)
      }
    }),
  )
})
