import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { builtin } from '../../../src/pipeline/builtin.ts'
import { experimentsOf } from '../../../src/planner/profile/experiments.ts'
import { measureProfile } from '../../../src/planner/profile/measure.ts'
import { ProfilePredictor } from '../../../src/planner/profile/predictor.ts'
import type { PipelineFile } from '../../../src/planner/types.ts'
import { Runner } from '../../../src/sweep/runner.ts'

const out = mkdtempSync(join(tmpdir(), 'rnb-profile-program-'))
afterAll(() => rmSync(out, { recursive: true }))

const LOAD_MS = 2
const NETWORK_MS = 3
const pipeline: PipelineFile = {
  pipeline: [
    {
      model: 'synthetic-loader',
      queue_groups: [{ gpus: [-1], out_queues: [0] }],
      num_clips_population: [1],
      num_clips_weights: [1],
      service_ms: LOAD_MS,
    },
    {
      model: 'synthetic-network',
      queue_groups: [{ gpus: [-1], in_queue: 0 }],
      num_classes: 3,
      service_ms: NETWORK_MS,
    },
  ],
}

test('the program is run, what it says is read, and it is not run again', async () => {
  const main = new URL('../../../src/main.ts', import.meta.url).pathname
  const runner = new Runner([process.execPath, main], out)
  const said: string[] = []
  const options = {
    runner,
    experiments: experimentsOf('p', pipeline, { batches: [1, 2], crowds: [2] }).map(experiment => ({
      ...experiment,
      seconds: 0.4,
    })),
    flags: { device: 'cpu', on_full: 'wait' },
    registry: builtin,
    about: { rnb: '0', cpu: 'this one', cores: 1, gpus: [], networks: 'none', videos: 'none' },
    videos: ['none'],
    budgetS: 600,
    // However noisy the host is.
    confidence: 1e9,
    say: (line: string) => said.push(line),
  }
  const profile = (await measureProfile(options))!
  expect(said.map(line => line.split(':')[0])).toEqual([1, 2, 3].map(n => `measuring ${n} of 3`))
  const [loader, network] = profile.steps
  for (const { clips, video, ms } of loader!.calls) {
    expect({ clips, video }).toEqual({ clips: 1, video: 0 })
    // A step never takes less than it says.
    for (const value of ms) expect(value).toBeGreaterThanOrEqual(LOAD_MS)
  }
  expect(network!.calls.map(({ clips }) => clips).sort()).toEqual([1, 2])
  for (const { ms } of network!.calls)
    for (const value of ms) expect(value).toBeGreaterThanOrEqual(NETWORK_MS)
  expect(profile.fitted.map(({ name }) => name)).toEqual(['p-crowd-2'])
  for (const name of ['p-batch-1-0', 'p-batch-2-0', 'p-crowd-2-0']) expect(runner.ran(name)).toBeTrue()
  // A command that is not there: nothing is run.
  const again = await measureProfile({ ...options, runner: new Runner(['/nowhere'], out) })
  expect(again!.steps).toEqual(profile.steps)
  const load = { requests: 50, seed: 1 }
  const arrangement = { config: pipeline, batch: 1, maxBatchDelayMs: 5, perGpuQueue: false, queueSize: 50 }
  const { completed, videosPerS } = new ProfilePredictor(profile, { registry: builtin }).predict(
    arrangement,
    load,
  )
  expect(completed).toBe(50)
  expect(videosPerS).toBeLessThanOrEqual(1000 / NETWORK_MS)
}, 60_000)
