import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { demo, loader, network, oneClip, pipeline, run, scratch } from './rnb.ts'

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
  const split = pipeline([
    loader(),
    network({ end_index: 2, queue_groups: between(0) }),
    network({ start_index: 3, end_index: 4, queue_groups: between(0) }),
    network({ start_index: 5 }),
  ])
  const flags = ['-v', '6', '-mi', '0', '--top', '8', '--seed', '2']
  const [whole, cut] = [await run(oneClip(), flags), await run(split, flags)]
  expect(cut.results).toHaveLength(6)
  for (const [i, { top, steps }] of cut.results.entries()) {
    expect(steps.map(({ kind }) => kind)).toEqual(['loader', 'network', 'network', 'network'])
    const scores = new Map(whole.results[i]!.top.map(({ index, score }) => [index, score]))
    for (const { index, score } of top) expect(score).toBeCloseTo(scores.get(index)!, 5)
  }
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
})
