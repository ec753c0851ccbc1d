import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { SummaryLine } from '../../src/results/schema.ts'
import { demo, loader, network, oneClip, pipeline, rnb, run, scratch } from './rnb.ts'

test('a full filename queue: status 3, which queue, what the load was, and RnB’s flag in the logs', async () => {
  const logs = scratch()
  const outcome = await run(oneClip(), ['-v', '200', '-mi', '0.01', '-qs', '1', '--log-dir', logs])
  expect(outcome.status).toBe(3)
  expect(outcome.summary.exit).toMatchObject({ status: 3, reason: 'queue_full' })
  for (const said of [outcome.stderr, outcome.summary.exit.message]) {
    expect(said).toContain("the queue 'filename' was full (1 item)")
    expect(said).toContain('100000 requests/s')
  }
  const { requests } = outcome.summary
  expect(requests.arrived).toBeLessThan(200)
  expect(requests.completed).toBe(outcome.results.length)
  const [folder] = readdirSync(logs)
  expect(readFileSync(join(logs, folder!, 'log-meta.txt'), 'utf8')).toContain('Termination flag: 1')
})

test('a full queue between steps: its name, and RnB’s other flag', async () => {
  const logs = scratch()
  // One video puts four parts at once into a queue of one, and the network takes none as fast.
  const config = pipeline([
    loader({ num_clips_population: [4], num_segments: 4 }),
    network({ queue_groups: [{ gpus: [-1], in_queue: 0, out_queues: [0] }] }),
    { model: 'aggregator', queue_groups: [{ gpus: [-1], in_queue: 0 }], aggregate: 4 },
  ])
  const { status, stderr, summary } = await run(config, [
    '-v',
    '3',
    '-mi',
    '1000',
    '-qs',
    '1',
    '--log-dir',
    logs,
  ])
  expect(status).toBe(3)
  expect(stderr).toContain("the queue 'step0-step1 queue 0' was full (1 item)")
  expect(summary.queues.find(({ name }) => name === 'step0-step1 queue 0')!.high_water).toBe(1)
  const [folder] = readdirSync(logs)
  expect(readFileSync(join(logs, folder!, 'log-meta.txt'), 'utf8')).toContain('Termination flag: 2')
})

test('a network of several steps gives what it gives in one', async () => {
  const between = (in_queue: number) => [{ gpus: [-1], in_queue, out_queues: [0] }]
  const flags = ['-v', '6', '-mi', '0', '--top', '8', '--seed', '2']
  const whole = await run(oneClip(), flags)
  // Every cut that there is, each once, and all of them at once.
  for (const ends of [
    [1, 5],
    [2, 4, 5],
    [3, 5],
    [1, 2, 3, 4, 5],
  ]) {
    const networks = ends.map((end_index, i) =>
      network({
        start_index: i === 0 ? 1 : ends[i - 1]! + 1,
        end_index,
        ...(end_index < 5 && { queue_groups: between(0) }),
      }),
    )
    const cut = await run(pipeline([loader(), ...networks]), flags)
    expect(cut.results).toHaveLength(6)
    for (const [i, { top, steps }] of cut.results.entries()) {
      expect(steps.map(({ kind }) => kind)).toEqual(['loader', ...ends.map(() => 'network')])
      const scores = new Map(whole.results[i]!.top.map(({ index, score }) => [index, score]))
      for (const { index, score } of top) expect(score).toBeCloseTo(scores.get(index)!, 5)
    }
  }
})

/** How many videos ran together in the network after a batcher, by id. */
async function batchesOf(keys: Record<string, unknown>, flags: readonly string[]): Promise<number[]> {
  const { status, results } = await run(
    pipeline([
      loader(),
      { model: 'batcher', queue_groups: [{ gpus: [-1], in_queue: 0, out_queues: [0] }], ...keys },
      network(),
    ]),
    flags,
  )
  expect(status).toBe(0)
  return results.map(({ steps }) => steps.at(-1)!.batch)
}

test('a batcher lets its last batch go although it is not full', async () => {
  const batches = await batchesOf({ batch: 5, max_batch_delay_ms: 1e6 }, ['-v', '12', '-mi', '0'])
  expect(batches.sort()).toEqual([...Array<number>(2).fill(2), ...Array<number>(10).fill(5)])
})

test('a batcher lets a batch that is not full go after a delay', async () => {
  // The second video comes so much later that no slow machine would join them.
  const flags = ['-v', '2', '--arrival', 'constant', '-mi', '3000', '--max-batch-delay-ms', '1']
  expect(await batchesOf({ batch: 5 }, flags)).toEqual([1, 1])
})

test('a batcher joins no more clips than it may', async () => {
  const two = pipeline([
    loader({ num_clips_population: [2] }),
    {
      model: 'batcher',
      queue_groups: [{ gpus: [-1], in_queue: 0, out_queues: [0] }],
      batch: 4,
      max_clips: 6,
      max_batch_delay_ms: 1e6,
    },
    network(),
  ])
  const { results } = await run(two, ['-v', '8', '-mi', '0'])
  // Fours come in; three of two clips fit, and the fourth goes alone.
  expect(results.map(({ steps }) => steps.at(-1)!.batch).sort()).toEqual([1, 1, 3, 3, 3, 3, 3, 3])
})

test('a pipeline that ends before its network does gives no classes', async () => {
  const features = pipeline([loader(), network({ end_index: 4 })])
  const clips = pipeline([loader({ queue_groups: [{ gpus: [-1] }] })], {
    weights: undefined,
    labels: undefined,
  })
  for (const config of [features, clips]) {
    const { status, results, summary } = await run(config, ['-v', '2', '-mi', '0'])
    expect(status).toBe(0)
    expect(results.map(({ top }) => top)).toEqual([[], []])
    expect(summary.requests.completed).toBe(2)
  }
})

test('per-GPU queues give the same on the CPU', async () => {
  const flags = ['-v', '4', '-mi', '0', '--seed', '2']
  const [plain, apart] = [await run(demo.config, flags), await run(demo.config, [...flags, '-p'])]
  expect(apart.results.map(({ video, top }) => [video, top[0]!.label])).toEqual(
    plain.results.map(({ video, top }) => [video, top[0]!.label]),
  )
  const used = ({ arguments: flags, queues }: SummaryLine) => [
    flags.per_gpu_queue,
    queues.map(({ name }) => name),
  ]
  expect(used(plain.summary)).toEqual([false, ['filename', 'step0-step1 queue 0']])
  expect(used(apart.summary)).toEqual([true, ['filename', 'step0-step1 queue 0 cpu']])
})

test('per-GPU queues, and a GPU that nothing takes from: wrong configuration, step and GPU named', async () => {
  expect((await rnb(['config', 'check', 'r2p1d-segment'])).status).toBe(0)
  const { status, stderr, stdout } = await rnb(['config', 'check', '-p', 'r2p1d-segment'])
  expect([status, stdout]).toEqual([2, ''])
  expect(stderr).toContain('step 0 puts into queue 0, but no instance of step 1 takes from it, on gpu 0')
})
