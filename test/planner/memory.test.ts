import { expect, test } from 'bun:test'
import { builtin } from '../../src/pipeline/builtin.ts'
import { slotBytes, withinMemory } from '../../src/planner/memory.ts'
import { planOf } from '../../src/planner/plan-of.ts'
import { planFor } from '../../src/planner/planning.ts'
import { SyntheticPredictor } from '../../src/planner/synthetic.ts'
import type { Arrangement } from '../../src/planner/types.ts'
import { chain, narrow } from './spaces.ts'

/** Numbers in a clip: 4 MiB a slot. */
const ELEMENTS = 2 ** 20
const template = chain({ service_ms: 1, elements: ELEMENTS }, { service_ms: 8, num_classes: 2 })
const limits = { ...narrow, batches: [1, 4] }
const load = { requests: 100, seed: 1 }
const ask = { goal: { kind: 'throughput' } as const, sample: load, tolerance: 0 }
const plan = (arrangement: Arrangement) =>
  planOf(arrangement, { ...load, ratePerS: 1 }, { registry: builtin, gpus: 0 }).plan

test('a plan has no more slots than there is memory for, and says why others do not count', () => {
  const predictor = new SyntheticPredictor({ gpus: 0, gpu: {}, host: {} })
  const free = planFor(template, limits, predictor, ask)
  expect(free.plans[0].arrangement.batch).toBe(4)
  // One that is being loaded, and two batches of four; the networks' own outputs, which nobody takes, are small.
  const bytes = slotBytes(plan(free.plans[0].arrangement)).get(-1)!
  expect(Math.floor(bytes / (4 * ELEMENTS))).toBe(9)

  const tight = planFor(template, limits, withinMemory(predictor, { host: bytes - 1 }, plan), ask)
  expect(tight.plans[0].arrangement.batch).toBe(1)
  expect([...tight.refused.keys()].join()).toContain('more memory than the host has')
  const roomy = planFor(template, limits, withinMemory(predictor, { host: bytes }, plan), ask)
  expect(roomy.plans[0].arrangement.batch).toBe(4)
})
