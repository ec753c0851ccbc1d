import { expect, test } from 'bun:test'
import { builtin } from '../../src/pipeline/builtin.ts'
import { sameRun } from '../../src/planner/plan-of.ts'
import { networkReader } from '../../src/planner/profile/networks.ts'
import type { Arrangement, PipelineFile } from '../../src/planner/types.ts'

const host = { registry: builtin, gpus: 1, networks: networkReader(builtin) }
const file = (loader: object = {}, network: object = {}): PipelineFile => ({
  pipeline: [
    {
      model: 'loader',
      queue_groups: [{ gpus: [0], out_queues: [0] }],
      num_shared_tensors: 20,
      num_clips_population: [1],
      num_clips_weights: [1],
      ...loader,
    },
    { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0 }], ...network },
  ],
})
const given: Arrangement = {
  config: file(),
  batch: 1,
  maxBatchDelayMs: 5,
  perGpuQueue: false,
  queueSize: 500,
}

test('two files that say the same in other words are one run', () => {
  const words = file({ in_flight: 16, cpu_decoders: 0 }, { start_index: 1, end_index: 5 })
  expect(sameRun(given, { ...given, config: { ...words, name: 'another' }, queueSize: 900 }, host)).toBe(true)
  // Without batches, nothing is delayed.
  expect(sameRun(given, { ...given, maxBatchDelayMs: 0 }, host)).toBe(true)
})

test('what changes a run is told', () => {
  const other = (change: Partial<Arrangement>) => sameRun(given, { ...given, ...change }, host)
  expect(other({ batch: 2 })).toBe(false)
  expect(other({ config: file({ in_flight: 8 }) })).toBe(false)
  expect(other({ config: file({ cpu_decoders: 2 }) })).toBe(false)
  expect(other({ config: file({ num_shared_tensors: 21 }) })).toBe(false)
  expect(other({ config: file({}, { kernels: 'cudnn' }) })).toBe(false)
  const batched = { ...given, batch: 4 }
  expect(sameRun(batched, { ...batched, maxBatchDelayMs: 0 }, host)).toBe(false)
})
