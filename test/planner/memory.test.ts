import { expect, test } from 'bun:test'
import { builtin } from '../../src/pipeline/builtin.ts'
import { slotBytes, withinMemory } from '../../src/planner/memory.ts'
import { networkMemory } from '../../src/planner/network-memory.ts'
import { planOf } from '../../src/planner/plan-of.ts'
import { planFor } from '../../src/planner/planning.ts'
import { networkReader } from '../../src/planner/profile/networks.ts'
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
  expect(() => planFor(template, limits, withinMemory(predictor, { host: 1e6 }, plan), ask)).toThrow(
    // One slot that is loaded, and two batches of one.
    /no plan fits the memory: the smallest needs 1[23] MiB of the host, which has 1 MiB free/,
  )
  const roomy = planFor(template, limits, withinMemory(predictor, { host: bytes }, plan), ask)
  expect(roomy.plans[0].arrangement.batch).toBe(4)
})

test('networks on a GPU take their weights and activations for each instance, and more in larger batches', () => {
  const networks = networkReader(builtin)
  const needs = networkMemory(networks)
  const bytesOf = (replicas: number, batch: number) => {
    const config = {
      pipeline: [
        { model: 'loader', queue_groups: [{ gpus: [0], out_queues: [0] }], num_shared_tensors: 8 },
        { model: 'network', queue_groups: [{ gpus: new Array(replicas).fill(0), in_queue: 0 }] },
      ],
    }
    const arrangement = { config, batch, maxBatchDelayMs: 0, perGpuQueue: false, queueSize: 10 }
    const made = planOf(arrangement, { ...load, ratePerS: 1 }, { registry: builtin, gpus: 1, networks }).plan
    return { need: needs(config, made).get(0)!, clips: made.instances[0]!.outputs[0]!.shape[0]! }
  }
  const { need: one, clips } = bytesOf(1, 1)
  expect(bytesOf(2, 1).need).toBe(2 * one)
  // The convolutions of R(2+1)D-18 have over 31 million weights of 2 bytes.
  const weights = 2 * 31_000_000
  expect(one).toBeGreaterThan(weights)
  // The largest tensor is between the factors of the first stage: 144 channels of 8 x 56 x 56 for each clip.
  expect(bytesOf(1, 4).need - one).toBeGreaterThan(3 * clips * 2 * 144 * 8 * 56 * 56)
})
