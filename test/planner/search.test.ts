import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { builtin } from '../../src/pipeline/builtin.ts'
import { Bounds } from '../../src/planner/bound/bounds.ts'
import { NotMeasured } from '../../src/planner/not-measured.ts'
import { findPlan, runsOn, usableSpace } from '../../src/planner/search/find.ts'
import { type Goal, objectiveOf } from '../../src/planner/search/objective.ts'
import { keyOf } from '../../src/planner/space/choice.ts'
import { templateOf } from '../../src/planner/space/template.ts'
import { SyntheticPredictor } from '../../src/planner/synthetic.ts'
import type { Arrangement } from '../../src/planner/types.ts'
import { CPU } from '../../src/steps/step.ts'
import { chain, everyPlan, narrow, sorting } from './spaces.ts'

const time = fc.oneof(
  fc.integer({ min: 1, max: 12 }),
  fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 3 }).map(of => ({ of })),
)
const step = fc.record({
  service_ms: time,
  service_ms_per_clip: fc.integer({ min: 0, max: 3 }),
  busy: fc.boolean(),
})
const clips = fc.constantFrom(
  { num_clips_population: [1], num_clips_weights: [1] },
  { num_clips_population: [1, 4], num_clips_weights: [2, 1] },
)
const some = <T>(...values: T[]) => fc.subarray(values, { minLength: 1 })
const goal: fc.Arbitrary<Goal> = fc.oneof(
  fc.constant({ kind: 'throughput' } as const),
  fc.integer({ min: 20, max: 400 }).map(ratePerS => ({ kind: 'p99', ratePerS }) as const),
)

describe('the search', () => {
  test('returns the optimum of every space that is small enough to try all of it', () => {
    let [spaces, plans, tried] = [0, 0, 0]
    fc.assert(
      fc.property(
        fc.tuple(step, clips, fc.array(step, { minLength: 1, maxLength: 2 })),
        fc.record({
          gpus: fc.constantFrom([], [0], [0, 1]),
          replicas: fc.integer({ min: 1, max: 2 }),
          cpuReplicas: some(1, 2, 3),
          inFlight: some(1, 3),
          batches: some(1, 2, 3),
          delaysMs: some(0, 5),
          segments: some(1, 2),
          selectors: fc.subarray(['shortest', 'round-robin', 'same-gpu']),
          perGpuQueues: fc.boolean(),
        }),
        fc.record({
          compute: fc.constantFrom(1, 2),
          decoders: fc.constantFrom(1, 3),
          cores: fc.constantFrom(1, 2),
        }),
        goal,
        fc.nat(),
        fc.boolean(),
        ([loader, population, networks], wide, { cores, ...gpu }, goal, seed, sorts) => {
          const plain = chain({ ...loader, ...population }, ...networks)
          const template = sorts ? sorting(plain) : plain
          const limits = { ...narrow, ...wide }
          const predictor = new SyntheticPredictor({ gpus: limits.gpus.length, gpu, host: { cores } })
          const { space } = usableSpace(template, limits, runsOn(predictor))
          fc.pre(space.size < 400)
          const objective = objectiveOf(goal, { requests: 40, seed })
          const found = findPlan(space, predictor, objective)
          const bounds = new Bounds(space, predictor, objective.load)
          let best = Number.NEGATIVE_INFINITY
          for (const choice of everyPlan(space)) {
            plans++
            if (objective.bound(bounds, choice) === Number.NEGATIVE_INFINITY) continue
            try {
              const value = objective.value(predictor.predict(space.arrangement(choice), objective.load))
              best = Math.max(best, value)
            } catch {
              // The program would not run it.
            }
          }
          spaces++
          tried += found.evaluated
          expect(found.beyondBound).toBe(0)
          expect(found.ended).toBe('proven')
          expect(found.best?.value ?? Number.NEGATIVE_INFINITY).toBe(best)
          expect(found.bound).toBeGreaterThanOrEqual(best)
        },
      ),
      { numRuns: 30 },
    )
    expect(spaces).toBeGreaterThan(10)
    // Else nothing was ever cut off.
    expect(tried).toBeLessThan(plans)
  }, 60_000)

  test('counts the plans of a space, each of which the tree has once', () => {
    const predictor = new SyntheticPredictor({ gpus: 3, gpu: {}, host: {} })
    const limits = {
      ...narrow,
      gpus: [0, 1, 2],
      replicas: 2,
      batches: [1, 2, 4],
      delaysMs: [0, 5],
      inFlight: [1, 2],
    }
    const { space } = usableSpace(chain({}, {}), limits, runsOn(predictor))
    const keys = [...everyPlan(space)].map(keyOf)
    expect(new Set(keys).size).toBe(keys.length)
    // Some put no instance of a step anywhere.
    expect(keys.length).toBeLessThanOrEqual(space.size)
    // Both steps on GPUs: 165 ways to give three equal GPUs one of nine roles, but for those that leave a step out: 10 each, and 1 both.
    const both = keys.filter(key => key.startsWith('0/'))
    expect(both.length).toBe((165 - 2 * 10 + 1) * 2 * (1 + 2 * 2))
  })
})

describe('a space', () => {
  const template = templateOf(
    {
      pipeline: [
        { model: 'loader', queue_groups: [{ gpus: [0], out_queues: [0] }] },
        { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0 }] },
      ],
    },
    builtin,
  )
  const limits = { ...narrow, gpus: [0], networksOn: ['gpu'] as const, cpuDecoders: [0, 4] }
  const check = (unknown: (loader: Arrangement['config']['pipeline'][number]) => boolean) => {
    return ({ config }: Arrangement) => {
      if (unknown(config.pipeline[0]!)) throw new NotMeasured('the loader was not measured')
    }
  }

  test('has what was measured, and says what was not', () => {
    const all = usableSpace(
      template,
      limits,
      check(() => false),
    )
    expect([all.space.lists.length, all.unknown]).toEqual([2, []])
    const onGpu = usableSpace(
      template,
      limits,
      check(({ queue_groups: [group] }) => group!.gpus![0] === CPU),
    )
    expect(onGpu.space.lists).toHaveLength(1)
    expect(onGpu.unknown).toEqual([expect.stringContaining('loader: 1 on the CPU')])
    const noDecoders = usableSpace(
      template,
      limits,
      check(({ cpu_decoders: count = 0 }) => Number(count) > 0),
    )
    expect(noDecoders.space.lists).toHaveLength(2)
    expect(noDecoders.space.limits.cpuDecoders).toEqual([0])
    expect(noDecoders.unknown).toEqual(['decoders on the host beside those of a GPU'])
    expect(() =>
      usableSpace(
        template,
        limits,
        check(() => true),
      ),
    ).toThrow(/was measured whole \(of 2\); raise --budget/)
  })
})
