import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { UsageError } from '../../src/errors.ts'
import { builtin } from '../../src/pipeline/builtin.ts'
import { builtinFiles } from '../../src/pipeline/builtin-files.ts'
import { loadConfig } from '../../src/pipeline/config.ts'
import { givenFile } from '../../src/planner/given.ts'
import { planOf } from '../../src/planner/plan-of.ts'
import { networkReader } from '../../src/planner/profile/networks.ts'
import { usableSpace } from '../../src/planner/search/find.ts'
import { type Choice, keyOf } from '../../src/planner/space/choice.ts'
import { coveringStructures } from '../../src/planner/space/cover.ts'
import { usualLimits } from '../../src/planner/space/limits.ts'
import { Space } from '../../src/planner/space/space.ts'
import { templateOf } from '../../src/planner/space/template.ts'

const load = { requests: 4, seed: 0, ratePerS: 1 }
const CORES = 8
const networks = networkReader(builtin)
const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)

/** The space of a pipeline that comes along, on a host with so many GPUs. */
function spaceOf(path: string, gpus: number): Space {
  const template = templateOf(givenFile(loadConfig(path, builtin, gpus), {}), builtin)
  const limits = { ...usualLimits(numbers(gpus), CORES), pieces: 2 }
  return usableSpace(template, limits, arrangement => {
    planOf(arrangement, load, { registry: builtin, gpus, networks })
  }).space
}

/** Some plan of a space: at each level the child that a number says. None where that leads to GPUs without some step. */
function somePlan(space: Space, turns: readonly number[]): Choice | undefined {
  let choice = space.roots[turns[0]! % space.roots.length]!
  for (let depth = 1; ; depth++) {
    const children = space.children(choice)
    if (!children) return choice
    if (children.length === 0) return undefined
    choice = children[turns[depth % turns.length]! % children.length]!
  }
}

const turns = fc.array(fc.nat(), { minLength: 5, maxLength: 20 })

describe('the space of each pipeline that comes along', () => {
  const files = builtinFiles().map(({ path }) => path)

  test.each([0, 1, 2, 3])('on %d GPUs has plans that the program takes', gpus => {
    for (const path of files) {
      const space = spaceOf(path, Math.max(gpus, 0))
      let refused = 0
      fc.assert(
        fc.property(turns, order => {
          const choice = somePlan(space, order)
          fc.pre(choice !== undefined)
          const arrangement = space.arrangement(choice)
          try {
            const { plan } = planOf(arrangement, load, { registry: builtin, gpus, networks })
            expect(plan.instances.length).toBe(
              space.counts(choice).reduce((sum, count, step) => sum + count * space.groups(choice, step), 0),
            )
          } catch (error) {
            if (!(error instanceof UsageError)) throw error
            // Only queues for each GPU can be impossible: where one GPU has but one end of them.
            expect(arrangement.perGpuQueue || arrangement.config.pipeline.length > 2).toBe(true)
            refused++
          }
        }),
        { numRuns: 12 },
      )
      expect(refused).toBeLessThan(12)
    }
  })

  test.each([1, 2, 8])('on %d GPUs decodes on no more threads at once than were ever seen to', gpus => {
    const space = spaceOf('config/1-gpu/whole.json', gpus)
    const seen = { onGpu: [] as number[], onHost: [] as number[] }
    fc.assert(
      fc.property(turns, order => {
        const choice = somePlan(space, order)
        fc.pre(choice !== undefined)
        const [loader] = space.arrangement(choice).config.pipeline
        const on = loader!.queue_groups.flatMap(group => group.gpus!).filter(gpu => gpu >= 0)
        const { in_flight: inFlight = 0, cpu_decoders: cpuDecoders = 0 } = loader as Record<string, unknown>
        for (const gpu of new Set(on))
          seen.onGpu.push(Number(inFlight) * on.filter(other => other === gpu).length)
        seen.onHost.push(Number(cpuDecoders) * on.length)
      }),
      { numRuns: 60 },
    )
    expect(Math.max(...seen.onGpu)).toBeLessThanOrEqual(32)
    expect(Math.max(...seen.onGpu)).toBeGreaterThan(0)
    expect(Math.max(...seen.onHost)).toBeLessThanOrEqual(CORES)
  })

  test('has the same plans whichever of them it is made from', () => {
    const marks = (path: string) =>
      spaceOf(path, 1).lists.map(({ structure }) =>
        structure.steps.map(({ kind, place, segments }) => [kind, place, segments]),
      )
    expect(marks('config/1-gpu/segmented.json')).toEqual(marks('config/1-gpu/whole.json'))
    expect(marks('config/1-gpu/split.json')).toEqual(marks('config/1-gpu/whole.json'))
    // With a batcher in it, also those that sort videos by their size: loaders on the GPU or the CPU, the network whole or cut.
    const sorting = marks('config/1-gpu/batched.json')
    const usual = marks('config/1-gpu/whole.json')
    expect(sorting.slice(0, usual.length)).toEqual(usual)
    for (const steps of sorting.slice(usual.length)) expect(steps[1]![0]).toBe('batcher')
    expect(sorting.length).toBeGreaterThan(usual.length)
  })

  test('has neighbours that are plans of the space, each once, and not the plan itself', () => {
    const space = spaceOf('config/2-gpus/replicated.json', 2)
    fc.assert(
      fc.property(turns, order => {
        const choice = somePlan(space, order)
        fc.pre(choice !== undefined)
        const near = space.neighbours(choice)
        const keys = near.map(keyOf)
        expect(new Set(keys).size).toBe(keys.length)
        expect(keys).not.toContain(keyOf(choice))
        for (const other of near) {
          expect(space.children(other)).toBeUndefined()
          expect(space.counts(other).every(count => count > 0)).toBe(true)
          expect([...other.roles].sort((a, b) => a - b)).toEqual([...other.roles])
          space.arrangement(other)
        }
      }),
      { numRuns: 40 },
    )
  })

  test('splits no video into more parts than it has clips', () => {
    const segments = (clips: number[]) => {
      const file = givenFile(loadConfig('config/cpu/whole.json', builtin, 0), {})
      file.pipeline[0]!.num_clips_population = clips
      file.pipeline[0]!.num_clips_weights = clips.map(() => 1)
      const { lists } = new Space(templateOf(file, builtin), usualLimits([], 2))
      return lists.map(({ structure }) => structure.steps[0]!.segments)
    }
    expect(segments([1])).toEqual([1])
    expect(segments([1, 2])).toEqual([1, 2])
    expect(segments([15])).toEqual([1, 2, 3])
  })

  test('is measured by few of its structures, which have every step that any of them has', () => {
    const space = spaceOf('config/1-gpu/whole.json', 1)
    const covering = coveringStructures(space)
    const steps = (of: readonly number[]) =>
      new Set(
        of.flatMap(at =>
          space.lists[at]!.structure.steps.map(({ kind, place, options }) =>
            JSON.stringify([kind, place, options.start_index, options.end_index]),
          ),
        ),
      )
    expect(steps(covering)).toEqual(steps(numbers(space.lists.length)))
    // The whole, four ways to cut it, a loader on the CPU, and one that joins segments.
    expect(covering).toHaveLength(7)
  })
})
