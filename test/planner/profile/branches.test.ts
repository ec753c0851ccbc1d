import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { builtin } from '../../../src/pipeline/builtin.ts'
import { branchesOf } from '../../../src/planner/profile/branches.ts'
import { experimentsOf } from '../../../src/planner/profile/experiments.ts'
import { measureProfile } from '../../../src/planner/profile/measure.ts'
import { ProfilePredictor } from '../../../src/planner/profile/predictor.ts'
import type { PipelineFile } from '../../../src/planner/types.ts'
import { Runner } from '../../../src/sweep/runner.ts'
import { StandIn } from './stand-in.ts'

const folder = mkdtempSync(join(tmpdir(), 'rnb-branches-test-'))
afterAll(() => rmSync(folder, { recursive: true }))

const [LOAD_MS, SCENES_MS, PEOPLE_MS] = [4, 3, 7]
const group = { gpus: [-1], in_queue: 0 }
const network = (name: string, service_ms: number) => ({
  model: 'synthetic-network',
  name,
  inputs: [0],
  num_classes: 3,
  service_ms,
  busy: true,
})

/** One loader that feeds two networks. */
const forked: PipelineFile = {
  pipeline: [
    {
      model: 'synthetic-loader',
      queue_groups: [{ gpus: [-1], out_queues: [0] }],
      num_clips_population: [1],
      num_clips_weights: [1],
      num_shared_tensors: 8,
      service_ms: LOAD_MS,
      busy: true,
    },
    { ...network('scenes', SCENES_MS), queue_groups: [group] },
    { ...network('people', PEOPLE_MS), queue_groups: [group] },
  ],
}

/** The same, with what both say joined. */
const joined: PipelineFile = {
  pipeline: [
    forked.pipeline[0]!,
    ...forked.pipeline.slice(1).map(step => ({
      ...step,
      queue_groups: [{ ...group, out_queues: [0] }],
      num_shared_tensors: 8,
    })),
    { model: 'aggregator', inputs: [1, 2], aggregate: 2, queue_groups: [group] },
  ],
}
const about = { rnb: '0', cpu: 'stand-in', cores: 1, gpus: [], networks: 'none', videos: 'none' }
const options = { flags: { on_full: 'wait' }, registry: builtin, about, videos: ['none'], confidence: 1e9 }
const sizes = { batches: [1], crowds: [3] }

test('steps that one step feeds are measured one without the other', async () => {
  // On the one core, what runs at once takes twice as long.
  const runner = new StandIn(join(folder, 'forked'), { requests: 60, cores: 1, handOverMs: 0.01 })
  const experiments = experimentsOf('fork', forked, sizes)
  const profile = (await measureProfile({
    ...options,
    runner,
    experiments,
    budgetS: 1000,
    say: () => {},
  }))!
  const msOf = (title: string) =>
    profile.steps
      .filter(step => step.title.startsWith(title))
      .flatMap(({ calls }) => calls.flatMap(({ ms }) => ms))
  for (const [title, expected] of [
    ['synthetic-loader', LOAD_MS],
    ['scenes', SCENES_MS],
    ['people', PEOPLE_MS],
  ] as const) {
    expect(msOf(title).length).toBeGreaterThan(10)
    for (const ms of msOf(title)) expect(ms).toBeCloseTo(expected, 6)
  }
  // All three share the core.
  const { videosPerS } = new ProfilePredictor(profile, { registry: builtin }).predict(
    { config: forked, batch: 1, maxBatchDelayMs: 0, perGpuQueue: false, queueSize: 1000 },
    { requests: 500, seed: 1 },
  )
  expect(videosPerS / (1000 / (LOAD_MS + SCENES_MS + PEOPLE_MS))).toBeCloseTo(1, 1)
})

test('each way through a pipeline is one of its own, and then what joins them', () => {
  const ways = branchesOf(joined).map(({ file, only }) => ({
    steps: file.pipeline.map(({ name, model }) => name ?? model),
    inputs: file.pipeline.map(({ inputs }) => inputs),
    only,
  }))
  expect(ways).toEqual([
    { steps: ['synthetic-loader', 'scenes'], inputs: [undefined, [0]], only: undefined },
    { steps: ['synthetic-loader', 'people'], inputs: [undefined, [0]], only: undefined },
    {
      steps: ['synthetic-loader', 'scenes', 'people', 'aggregator'],
      inputs: [undefined, [0], [0], [1, 2]],
      only: [3],
    },
  ])
  const chain = { pipeline: forked.pipeline.slice(0, 2) }
  expect(branchesOf(chain)).toEqual([{ file: chain }])
})

test('the program runs each way, and every step is known from it', async () => {
  const main = new URL('../../../src/main.ts', import.meta.url).pathname
  const asleep = { pipeline: joined.pipeline.map(({ busy: _, ...step }) => step) } as PipelineFile
  const profile = (await measureProfile({
    ...options,
    runner: new Runner([process.execPath, main], join(folder, 'program')),
    experiments: experimentsOf('join', asleep, sizes).map(experiment => ({ ...experiment, seconds: 0.4 })),
    flags: { ...options.flags, device: 'cpu' },
    budgetS: 600,
    say: () => {},
  }))!
  const least = (title: string) =>
    Math.min(
      ...profile.steps
        .filter(step => step.title.startsWith(title))
        .flatMap(({ calls }) => calls.flatMap(({ clips, ms }) => (clips === 1 ? ms : []))),
    )
  // A step never takes less than it says.
  expect(least('synthetic-loader')).toBeGreaterThanOrEqual(LOAD_MS)
  expect(least('scenes')).toBeGreaterThanOrEqual(SCENES_MS)
  expect(least('people')).toBeGreaterThanOrEqual(PEOPLE_MS)
  expect(least('aggregator')).toBeLessThan(Number.POSITIVE_INFINITY)
}, 60_000)
