import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { readLogs } from '../../src/results/read-logs.ts'
import type { SummaryLine } from '../../src/results/schema.ts'
import { type Outcome, rnbConfigs, root, scratch } from '../e2e/rnb.ts'
import { forTheseGpus, GPUS, onRealGpus, releaseGpus, runOnGpus, type Step } from './pipelines.ts'

afterAll(releaseGpus)
setDefaultTimeout(120_000)

const VIDEOS = onRealGpus ? 32 : 4
const FLAGS = ['-v', String(VIDEOS), '-mi', '0', '--seed', '5']
const oneClip = { num_clips_population: [1], num_clips_weights: [1] }

/** What a run must agree on with any other of the same requests. */
const facts = ({ results }: Outcome) =>
  results.map(({ id, video, clips, top }) => [id, video, clips, top[0]!.label])

/** One step on one GPU: nothing of a pipeline that could go wrong. */
const single =
  GPUS > 0 ? runOnGpus(forTheseGpus([{ model: 'single', queue_groups: [{ gpus: [0] }] }]), FLAGS) : undefined

/** A sound run, with the same results as the single step's. */
async function expectSame(outcome: Outcome): Promise<void> {
  expect({ status: outcome.status, stderr: outcome.stderr }).toEqual({ status: 0, stderr: '' })
  expect(facts(outcome)).toEqual(facts(await single!))
  for (const { high_water, capacity } of outcome.summary.queues)
    expect(high_water).toBeLessThanOrEqual(capacity)
}

const copiesOf = ({ copies }: SummaryLine) =>
  Object.fromEntries(copies!.map(({ path, bytes }) => [path, bytes]))

/** Bytes of a clip for networks on a GPU: 8 frames of 112 x 112 pixels, each of 8 channels in float16. */
const CLIP = 8 * 112 * 112 * 8 * 2
/** After the demo's second layer: 8 channels in place of 3. */
const FEATURES = 8 * 56 * 56 * 8 * 2

describe.skipIf(GPUS === 0)('pipelines on GPUs', () => {
  test('the single step names how the shapes move', async () => {
    const { status, stderr, results } = await single!
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(results).toHaveLength(VIDEOS)
    const right = results.filter(({ video, top }) => top[0]!.label === basename(dirname(video)))
    // On the CPU it is wrong about one of its sixteen at most.
    expect(right.length).toBeGreaterThanOrEqual(Math.floor((VIDEOS * 15) / 16))
  })

  const files = rnbConfigs ? readdirSync(rnbConfigs).filter(name => name.endsWith('.json')) : []
  test.each(files)('RnB’s %s, on the GPUs at hand: results of the single step, logs of RnB’s', async name => {
    const { pipeline } = JSON.parse(readFileSync(join(rnbConfigs!, name), 'utf8')) as { pipeline: Step[] }
    const logs = scratch()
    const outcome = await runOnGpus(forTheseGpus(pipeline), [...FLAGS, '--log-dir', logs])
    await expectSame(outcome)
    const read = readLogs(join(logs, readdirSync(logs)[0]!))
    expect(read.instances.reduce((sum, { times }) => sum + times.length, 0)).toBe(VIDEOS)
    expect(read.warnings).toEqual([])
  })

  const clipsOf = ({ results }: Outcome) => results.reduce((sum, { clips }) => sum + clips, 0)
  /** Nothing where the GPU decodes; else frames, whose sizes are the videos'. */
  const uploaded = ({ summary }: Outcome) => {
    const { upload } = copiesOf(summary)
    expect(upload! > 0).toBe(!onRealGpus)
    return upload!
  }

  test('within a GPU the one gather is all that is copied', async () => {
    const pipeline = forTheseGpus([
      { model: 'loader', queue_groups: [{ gpus: [0], out_queues: [0] }] },
      { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0 }] },
    ])
    const outcome = await runOnGpus(pipeline, [...FLAGS, '-b', '2'])
    await expectSame(outcome)
    const clips = clipsOf(outcome)
    expect(copiesOf(outcome.summary)).toEqual({
      gather: clips * CLIP,
      peer: 0,
      pinned: 0,
      upload: uploaded(outcome),
      // Eight classes in float32.
      download: clips * 8 * 4,
    })
  })

  test('threads on engines and on the host that share clips give what one thread does', async () => {
    const pipeline = forTheseGpus([
      {
        model: 'loader',
        queue_groups: [{ gpus: [0], out_queues: [0] }],
        in_flight: 4,
        cpu_decoders: 2,
        share_clips: true,
      },
      { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0 }] },
    ])
    // One request at a time: all threads but one have nothing to do but to help.
    const outcome = await runOnGpus(pipeline, ['-v', String(VIDEOS), '--concurrency', '1', '--seed', '5'])
    await expectSame(outcome)
    expect(outcome.summary.notes).toContainEqual(
      // The stand-in's four videos have so few pieces that one thread may have done them all.
      expect.stringMatching(
        onRealGpus ? /^step 0 .*: of \d+ pieces .* took [1-9]\d* off others$/ : /^step 0 .*: of \d+ pieces/,
      ),
    )
  })

  const across: Step[] = [
    { model: 'loader', queue_groups: [{ gpus: [0], out_queues: [0] }] },
    {
      model: 'network',
      queue_groups: [{ gpus: [1], in_queue: 0, out_queues: [0] }],
      start_index: 1,
      end_index: 2,
    },
    { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0 }], start_index: 3, end_index: 5 },
  ]
  test
    .skipIf(GPUS < 2)
    .each([
      ['peer', 'peer to peer', {}],
      ['pinned', 'through pinned memory of the host', { RNB_P2P: '0' }],
      ...(onRealGpus
        ? []
        : [['pinned', 'through pinned memory of the host', { FAKE_NO_PEER: '1' }] as const]),
    ] as const)(
    'a network over two GPUs: each tensor passes between them once (%s: %s, %o)',
    async (path, words, env) => {
      const outcome = await runOnGpus(forTheseGpus(across), [...FLAGS, '-b', '2'], env)
      await expectSame(outcome)
      const clips = clipsOf(outcome)
      const moved = clips * (CLIP + FEATURES)
      expect(copiesOf(outcome.summary)).toEqual({
        gather: moved,
        peer: 0,
        pinned: 0,
        [path]: moved,
        upload: uploaded(outcome),
        download: clips * 8 * 4,
      })
      expect(outcome.summary.notes).toContain(`gpu 0 to gpu 1: ${words}`)
      expect(outcome.summary.notes).toContain(`gpu 1 to gpu 0: ${words}`)
    },
  )

  test.skipIf(GPUS < 2)('one decode feeds networks on two GPUs: clips pass to the other once', async () => {
    const pipeline = forTheseGpus([
      { model: 'loader', queue_groups: [{ gpus: [0], out_queues: [0] }], num_shared_tensors: 1 },
      { model: 'network', name: 'near', queue_groups: [{ gpus: [0], in_queue: 0 }] },
      { model: 'network', name: 'far', inputs: ['loader'], queue_groups: [{ gpus: [1], in_queue: 0 }] },
    ])
    const outcome = await runOnGpus(pipeline, FLAGS)
    await expectSame(outcome)
    for (const { branches, top } of outcome.results) {
      expect(branches!.map(({ name }) => name)).toEqual(['near', 'far'])
      for (const branch of branches!) {
        // Each GPU measured for itself which of cuDNN's ways is fast: sums are in another order.
        expect(branch.top![0]!.label).toBe(top[0]!.label)
        expect(Math.abs(branch.top![0]!.score - top[0]!.score)).toBeLessThan(2e-3)
      }
    }
    const clips = clipsOf(outcome)
    expect(copiesOf(outcome.summary)).toEqual({
      gather: 2 * clips * CLIP,
      peer: clips * CLIP,
      pinned: 0,
      upload: uploaded(outcome),
      download: 2 * clips * 8 * 4,
    })
  })

  test('two networks go on from the features of one, and an aggregator joins them', async () => {
    const last = Math.max(0, Math.min(1, GPUS - 1))
    const between = (gpu: number) => [{ gpus: [gpu], in_queue: 0, out_queues: [0] }]
    const pipeline = forTheseGpus([
      { model: 'loader', queue_groups: [{ gpus: [0], out_queues: [0] }], num_segments: 2 },
      { model: 'network', name: 'trunk', queue_groups: between(0), end_index: 2, num_shared_tensors: 2 },
      { model: 'network', name: 'a', queue_groups: between(0), start_index: 3 },
      { model: 'network', name: 'b', inputs: ['trunk'], queue_groups: between(last), start_index: 3 },
      { model: 'aggregator', inputs: ['a', 'b'], aggregate: 4, queue_groups: [{ gpus: [-1], in_queue: 0 }] },
    ])
    await expectSame(await runOnGpus(pipeline, FLAGS))
  })

  const built = GPUS < 2 ? [] : ['apart', 'split']
  test.each(built)('2-gpus/%s, which comes with the program', async name => {
    const text = readFileSync(join(root, 'config/2-gpus', `${name}.json`), 'utf8')
    const { pipeline } = JSON.parse(text) as { pipeline: Step[] }
    await expectSame(await runOnGpus(forTheseGpus(pipeline), FLAGS))
  })

  test.skipIf(GPUS < 2)('a batcher brings items of another GPU to its own', async () => {
    const pipeline = forTheseGpus([
      { model: 'loader', queue_groups: [{ gpus: [0], out_queues: [0] }], ...oneClip },
      { model: 'batcher', queue_groups: [{ gpus: [1], in_queue: 0, out_queues: [0] }], batch: 3 },
      { model: 'network', queue_groups: [{ gpus: [1], in_queue: 0 }] },
    ])
    for (const [path, env] of [
      ['peer', {}],
      ['pinned', { RNB_P2P: '0' }],
    ] as const) {
      const { status, stderr, summary } = await runOnGpus(pipeline, FLAGS, env)
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
      expect(copiesOf(summary)).toMatchObject({ gather: VIDEOS * CLIP, [path]: VIDEOS * CLIP })
    }
  })
})
