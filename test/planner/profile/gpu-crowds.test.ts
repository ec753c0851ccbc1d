import { afterAll, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findVideos } from '../../../src/client/videos.ts'
import { builtin } from '../../../src/pipeline/builtin.ts'
import { experimentsOf } from '../../../src/planner/profile/experiments.ts'
import { Measurement } from '../../../src/planner/profile/measurement.ts'
import type { PipelineFile } from '../../../src/planner/types.ts'
import type { ResultLine, SummaryLine } from '../../../src/results/schema.ts'
import { clipsDrawn } from '../../../src/steps/synthetic/loader.ts'
import type { Flags } from '../../../src/sweep/grid.ts'

const folder = mkdtempSync(join(tmpdir(), 'rnb-crowds-'))
afterAll(() => rmSync(folder, { recursive: true }))

const [{ path: video }] = findVideos(join(import.meta.dir, '../../../models/demo/videos')) as [
  { path: string },
]
const drawing = { num_clips_population: [1, 3], num_clips_weights: [10, 1] }
const clipsOf = (id: number): number =>
  clipsDrawn(drawing as unknown as Parameters<typeof clipsDrawn>[0], 0, id)
const pipeline: PipelineFile = {
  pipeline: [
    {
      model: 'loader',
      queue_groups: [{ gpus: [0], out_queues: [0] }],
      num_shared_tensors: 8,
      ...drawing,
    },
    { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0 }] },
  ],
}

const REQUESTS = 6000
const PER_S = 200
const LOAD_MS = new Map([
  [1, 10],
  [3, 30],
])

/** A run in which results come at equal distances, and calls of a size take equally long. */
const lines = (longer: number): string =>
  Array.from({ length: REQUESTS }, (_, id): ResultLine => {
    const clips = clipsOf(id)
    const at = (1000 * id) / PER_S
    const runMs = longer * LOAD_MS.get(clips)!
    const step = { device: 'cuda:0', batch: 1, queue_ms: 0, wait_ms: 0 } as const
    return {
      type: 'result',
      id,
      video,
      top: [],
      clips,
      decoder: 'nvdec',
      frames_needed: 4,
      frames_decoded: 4,
      load_cpu_ms: runMs / 4,
      steps: [
        { step: 0, kind: 'loader', ...step, run_ms: runMs },
        { step: 1, kind: 'network', ...step, run_ms: 1 },
      ],
      intended_ms: at,
      actual_ms: at,
      latency_ms: 50,
      latency_actual_ms: 50,
      warmup: false,
    }
  })
    .map(line => JSON.stringify(line))
    .join('\n')

const runner = {
  out: folder,
  ran: () => false,
  async run(name: string, _flags: Flags) {
    mkdirSync(join(folder, name), { recursive: true })
    writeFileSync(join(folder, name, 'results.jsonl'), `${lines(name.includes('batch') ? 1 : 1.5)}\n`)
    return { kind: 'measured', earlier: false, summary: { exit: { status: 0 } } as SummaryLine } as const
  },
}

test('a crowd on a GPU is compared as if all its requests were like those that are simulated, and its fit takes time', async () => {
  const measurement = new Measurement({
    runner,
    flags: {},
    registry: builtin,
    about: { rnb: '0', cpu: 'made up', cores: 4, gpus: ['made up'], networks: 'random', videos: 'none' },
    videos: [video],
  })
  expect(await measurement.fitS()).toBe(0)
  const experiments = experimentsOf('a', pipeline, { batches: [1], crowds: [4] })
  const names = ['a-batch-1', 'a-crowd-4', 'a-sharing-4']
  for (const name of names) {
    const experiment = experiments.find(other => other.name === name)!
    expect(await measurement.run({ experiment, seed: 0, short: false })).toBeTrue()
  }
  expect(await measurement.fitS()).toBeGreaterThan(0)
  const profile = await measurement.profile([])
  expect(profile.fitted.map(({ name }) => name)).toEqual(names.slice(1))
  // The second half counts, but for the last eight, which none followed; of these the last 2000 are simulated.
  const ids = Array.from({ length: REQUESTS }, (_, id) => id)
  const counted = ids.slice(Math.floor((REQUESTS - 1) / 2) + 1, -8)
  const meanOf = (of: number[]) => of.reduce((sum, id) => sum + clipsOf(id), 0) / of.length
  const larger = meanOf(counted.slice(-2000)) / meanOf(counted)
  expect(larger).not.toBeCloseTo(1, 4)
  expect(profile.fitted[0]!.measured!.videosPerS).toBeCloseTo(PER_S / larger, 6)
  // Shared calls took longer than their parts: something comes before all clips.
  expect(profile.sharing!.beginMs).toBeGreaterThan(0)
}, 60_000)
