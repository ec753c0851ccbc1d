import { expect, test } from 'bun:test'
import { readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { demo, loader, network, oneClip, pipeline, rnb, run, scratch } from './rnb.ts'

const VIDEOS = 12
const flags = ['-v', String(VIDEOS), '-mi', '0', '--seed', '3', '--top', '8']
const on = (queues: Record<string, unknown>) => ({ queue_groups: [{ gpus: [-1], ...queues }] })

test('one decode feeds two networks: both give what a network alone gives, and slots come back', async () => {
  const logs = scratch()
  const fork = pipeline([
    loader({ num_shared_tensors: 1 }),
    network({ name: 'first' }),
    network({ name: 'second', inputs: ['loader'] }),
  ])
  const [alone, both] = [await run(oneClip(), flags), await run(fork, [...flags, '--log-dir', logs])]
  expect({ status: both.status, stderr: both.stderr }).toEqual({ status: 0, stderr: '' })
  expect(both.results).toHaveLength(VIDEOS)
  for (const [i, { top, branches, frames_decoded, steps, latency_ms }] of both.results.entries()) {
    const expected = alone.results[i]!
    expect(top).toEqual(expected.top)
    expect(branches!.map(({ step, name }) => [step, name])).toEqual([
      [1, 'first'],
      [2, 'second'],
    ])
    for (const branch of branches!) expect(branch.top).toEqual(expected.top)
    expect(Math.max(...branches!.map(branch => branch.latency_ms!))).toBe(latency_ms)
    expect(frames_decoded).toBe(expected.frames_decoded)
    expect(steps.map(({ step, name }) => [step, name])).toEqual([
      [0, undefined],
      [1, 'first'],
      [2, 'second'],
    ])
  }
  expect(both.summary.branches!.map(({ completed, failed }) => [completed, failed])).toEqual([
    [VIDEOS, 0],
    [VIDEOS, 0],
  ])
  const [folder] = readdirSync(logs)
  expect(
    readdirSync(join(logs, folder!))
      .filter(name => name.startsWith('step'))
      .sort(),
  ).toEqual(['step1-first', 'step2-second'])
})

test('branches have networks and class names of their own', async () => {
  const two = pipeline([
    loader(),
    network({ name: 'shapes' }),
    network({ name: 'many', inputs: [0], weights: 'other.safetensors', labels: 'many.txt' }),
  ])
  const folder = dirname(two)
  const other = await rnb(['weights', 'convert', demo.weights, join(folder, 'other.safetensors')])
  expect(other.status).toBe(0)
  writeFileSync(join(folder, 'many.txt'), Array.from({ length: 8 }, (_, i) => `class ${i}\n`).join(''))
  const both = await run(two, flags)
  expect({ status: both.status, stderr: both.stderr }).toEqual({ status: 0, stderr: '' })
  expect(both.summary.weights).toBe(`${demo.weights}, ${join(folder, 'other.safetensors')}`)
  for (const { branches } of both.results) {
    const [shapes, many] = branches!.map(({ top }) => top!)
    expect(many!.map(({ index, score }) => [index, score])).toEqual(
      shapes!.map(({ index, score }) => [index, score]),
    )
    for (const { label, index } of many!) expect(label).toBe(`class ${index}`)
    for (const { label } of shapes!) expect(label).not.toStartWith('class')
  }
})

test('a branch without a checkpoint may have a network of another size', async () => {
  const sizes = pipeline(
    [
      loader(),
      network({ name: 'small', num_classes: 3, layer_sizes: [1, 1, 1, 1] }),
      network({ name: 'large', num_classes: 7, layer_sizes: [1, 1, 1, 1], inputs: [0] }),
    ],
    { weights: undefined, labels: undefined },
  )
  const { status, results, summary } = await run(sizes, ['-v', '2', '-mi', '0', '--top', '9'])
  expect([status, summary.weights]).toEqual([0, 'random:0, random:0'])
  for (const { branches, weights } of results) {
    expect(branches!.map(({ top }) => top!.length)).toEqual([3, 7])
    expect(weights).toBe('random:0, random:0')
  }
})

test('segments, batches, several queues, a layer that two heads share, and a join', async () => {
  const web = pipeline([
    loader({
      num_clips_population: [3],
      num_segments: 2,
      num_shared_tensors: 2,
      ...on({ out_queues: [0, 1] }),
    }),
    network({
      name: 'trunk',
      end_index: 2,
      num_segments: 2,
      queue_groups: [
        { gpus: [-1], in_queue: 0, out_queues: [0] },
        { gpus: [-1], in_queue: 1, out_queues: [0] },
      ],
    }),
    network({ name: 'a', start_index: 3, ...on({ in_queue: 0, out_queues: [0] }) }),
    network({ name: 'b', inputs: ['trunk'], start_index: 3, ...on({ in_queue: 0, out_queues: [0] }) }),
    { model: 'aggregator', name: 'a alone', inputs: ['a'], aggregate: 4, ...on({ in_queue: 0 }) },
    { model: 'aggregator', name: 'both', inputs: ['a', 'b'], aggregate: 8, ...on({ in_queue: 0 }) },
  ])
  const whole = pipeline([loader({ num_clips_population: [3] }), network()])
  const [alone, all] = [await run(whole, flags), await run(web, [...flags, '-b', '2'])]
  expect({ status: all.status, stderr: all.stderr }).toEqual({ status: 0, stderr: '' })
  expect(all.results).toHaveLength(VIDEOS)
  for (const [i, { branches }] of all.results.entries()) {
    const expected = new Map(alone.results[i]!.top.map(({ index, score }) => [index, score]))
    expect(branches!.map(({ name }) => name)).toEqual(['a alone', 'both'])
    for (const { top } of branches!)
      for (const { index, score } of top!) expect(score).toBeCloseTo(expected.get(index)!, 5)
  }
  for (const { high_water, capacity } of all.summary.queues) expect(high_water).toBeLessThanOrEqual(capacity)
})

test('a video that cannot be read fails both branches with one line', async () => {
  const fork = pipeline([loader(), network(), network({ inputs: [0] })])
  const { status, errors, summary } = await rnb([
    ...['infer', '-c', fork, '--device', 'cpu', '--quiet', '/no/such/video.mp4'],
  ])
  expect(status).toBe(4)
  expect(errors).toHaveLength(1)
  expect(errors[0]!.branches!.map(({ step, error }) => [step, error?.step])).toEqual([
    [1, 0],
    [2, 0],
  ])
  expect(summary.requests).toMatchObject({ completed: 0, failed: 1, unfinished: 0 })
})

/** A step of the user's that takes clips and refuses every third video. */
const REFUSES = `export default class {
  static shape() {
    return {}
  }
  run(inputs, card) {
    if (card.requests.some(({ id }) => id % 3 === 0)) throw card.refuse('not the third')
    return { values: card.requests.map(({ id }) => ({ id })) }
  }
}`

test('what fails one branch leaves the results of the other, and slots come back', async () => {
  const fork = pipeline([
    loader({ num_shared_tensors: 1 }),
    network({ name: 'shapes' }),
    { model: './refuses.ts', name: 'picky', inputs: ['loader'], ...on({ in_queue: 0 }) },
  ])
  writeFileSync(join(dirname(fork), 'refuses.ts'), REFUSES)
  const [alone, both] = [await run(oneClip(), flags), await run(fork, flags)]
  expect({ status: both.status, stderr: both.stderr }).toEqual({ status: 0, stderr: '' })
  expect([both.results.length, both.errors.length]).toEqual([VIDEOS, 0])
  for (const [id, { branches, steps, latency_ms }] of both.results.entries()) {
    const [shapes, picky] = branches!
    expect(shapes!.top).toEqual(alone.results[id]!.top)
    expect(picky!.name).toBe('picky')
    const values = steps.find(({ step }) => step === 2)?.values
    if (id % 3 === 0) {
      expect(picky!.error).toMatchObject({ step: 2, name: 'picky', message: 'not the third' })
      expect([picky!.top, values]).toEqual([undefined, undefined])
      expect(latency_ms).toBe(shapes!.latency_ms!)
    } else {
      expect([picky!.error, picky!.top, values]).toEqual([undefined, [], { id }])
    }
  }
  expect(both.summary.branches!.map(({ completed, failed }) => [completed, failed])).toEqual([
    [VIDEOS, 0],
    [VIDEOS - VIDEOS / 3, VIDEOS / 3],
  ])
  expect(both.summary.requests).toMatchObject({ completed: VIDEOS, failed: 0, unfinished: 0 })
  expect(both.summary.failures).toEqual({ [both.results[0]!.branches![1]!.error!.code]: VIDEOS / 3 })
})

/** A step of the user's that takes its time. */
const SLOW = `const never = new Int32Array(new SharedArrayBuffer(4))
export default class {
  static shape() {
    return {}
  }
  run() {
    Atomics.wait(never, 0, 0, 300)
  }
}`

test('where a full queue drops, every request has one line, and each branch its account of all', async () => {
  const fork = pipeline([
    loader(),
    network({ name: 'quick' }),
    { model: './slow.ts', name: 'slow', inputs: ['loader'], ...on({ in_queue: 0 }) },
  ])
  writeFileSync(join(dirname(fork), 'slow.ts'), SLOW)
  const dropping = ['-v', '20', '--arrival', 'constant', '-mi', '40', '-qs', '2', '--on-full', 'drop']
  const { status, results, errors, summary } = await run(fork, dropping)
  expect(status).toBe(0)
  const ids = [...results, ...errors].map(({ id }) => id).sort((a, b) => a - b)
  expect(ids).toEqual(Array.from({ length: 20 }, (_, id) => id))
  for (const { completed, failed } of summary.branches!) expect(completed + failed).toBe(20)
  const counts = (leaf: number) => results.filter(({ branches }) => branches![leaf]!.top !== undefined).length
  expect(summary.branches!.map(({ completed }) => completed)).toEqual([counts(0), counts(1)])
  for (const { branches } of results)
    for (const { error } of branches!) expect([undefined, 'queue_full']).toContain(error?.code)
})

test('a cycle is a wrong configuration: exit status 2, and which steps', async () => {
  const cycle = pipeline([
    loader(),
    network({ name: 'a', inputs: ['b'] }),
    network({ name: 'b', inputs: ['a'] }),
  ])
  const { status, stderr, stdout } = await run(cycle)
  expect([status, stdout]).toEqual([2, ''])
  expect(stderr).toContain(
    'pipeline[1].inputs is ["b"]: a cycle, in which each step waits for the next: 1 -> 2 -> 1',
  )
})
