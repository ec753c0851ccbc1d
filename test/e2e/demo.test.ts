import { expect, test } from 'bun:test'
import { basename, dirname } from 'node:path'
import { demo, demoVideos, file, loader, network, oneClip, pipeline, rnb, run } from './rnb.ts'

const kindOf = (video: string): string => basename(dirname(video))

test('the demo names how shapes move: at least 15 of its 16 videos', async () => {
  const { status, stderr, results, errors, summary } = await run(demo.config, ['-v', '32', '-mi', '5'])
  expect({ status, stderr, errors }).toEqual({ status: 0, stderr: '', errors: [] })
  expect(results.map(({ id }) => id)).toEqual(Array.from({ length: 32 }, (_, id) => id))
  // All videos in some order, and again.
  expect(
    results
      .slice(0, 16)
      .map(({ video }) => video)
      .sort(),
  ).toEqual([...demoVideos])
  expect(results.slice(16).map(({ video }) => video)).toEqual(results.slice(0, 16).map(({ video }) => video))
  const right = results.filter(({ video, top }) => top[0]!.label === kindOf(video))
  expect(right.length).toBeGreaterThanOrEqual(30)
  expect(summary.requests).toMatchObject({ asked: 32, arrived: 32, completed: 32, failed: 0, unfinished: 0 })
  expect(summary.weights).toEndWith('demo.safetensors')
})

test('a result has classes by probability, steps in order, and times that add up', async () => {
  const { results } = await run(demo.config, ['-v', '4', '-mi', '0'])
  for (const result of results) {
    const scores = result.top.map(({ score }) => score)
    expect(scores).toHaveLength(5)
    expect(scores).toEqual(scores.toSorted((a, b) => b - a))
    expect(scores.reduce((a, b) => a + b, 0)).toBeLessThan(1 + 1e-6)
    expect(result.clips).toBe(2)
    expect(result.frames_needed).toBe(16)
    expect(result.frames_decoded).toBeGreaterThanOrEqual(16)
    expect(result.steps.map(({ step, kind, device }) => [step, kind, device])).toEqual([
      [0, 'loader', 'cpu'],
      [1, 'network', 'cpu'],
    ])
    const total = result.steps.reduce(
      (sum, { queue_ms, wait_ms, run_ms }) => sum + queue_ms + wait_ms + run_ms,
      0,
    )
    expect(total).toBeCloseTo(result.latency_ms, 3)
    expect(result).not.toHaveProperty('weights')
  }
})

test('people get the lines of RnB and a table, on standard error', async () => {
  const { status, stderr, lines } = await rnb([
    ...['run', '-c', demo.config, '--device', 'cpu'],
    ...['-v', '14', '-mi', '1', '-b', '1', '-qs', '50'],
  ])
  expect(status).toBe(0)
  expect(lines.map(({ type }) => type)).toEqual(['summary'])
  const places = [
    `Args: Namespace(batch_size=1, check=False, config_file_path='${demo.config}', mean_interval_ms=1, per_gpu_queue=False, queue_size=50, videos=14)`,
    'START! ',
    'Finished processing 14 videos',
    'FINISH! ',
    'That took ',
    'Average time between enqueue_filename and runner0_start: ',
    'Average time between inference1_start and inference1_finish: ',
    'p99.9',
    '14 results, 0 errors of 14 videos',
  ].map(text => stderr.indexOf(text))
  expect(places).not.toContain(-1)
  expect(places).toEqual(places.toSorted((a, b) => a - b))
  // Nothing that only a terminal understands.
  expect(stderr).not.toContain('\u001b')
})

test('flags without a command run, too', async () => {
  const { status, summary } = await rnb([
    '-c',
    demo.config,
    '-v',
    '2',
    '-mi',
    '5',
    '--device',
    'cpu',
    '--log-dir',
    '/dev/null/x',
  ])
  expect(status).toBe(0)
  expect(summary.requests.completed).toBe(2)
})

test('infer takes each video once, in the order given', async () => {
  const videos = [demoVideos[9]!, demoVideos[2]!]
  const { status, stderr, results, lines } = await rnb([
    'infer',
    ...videos,
    '-c',
    demo.config,
    '--device',
    'cpu',
    '--quiet',
  ])
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expect(results.map(({ video, top }) => [video, top[0]!.label])).toEqual(
    videos.map(video => [video, kindOf(video)]),
  )
  expect(lines).toHaveLength(3)
})

test('--top says how many classes, at most all', async () => {
  const config = oneClip()
  const [three, many] = await Promise.all([
    run(config, ['-v', '2', '--top', '3']),
    run(config, ['-v', '2', '--top', '1000']),
  ])
  expect(three.results.map(({ top }) => top.length)).toEqual([3, 3])
  expect(many.results.map(({ top }) => top.length)).toEqual([8, 8])
  for (const { top } of many.results) {
    expect(top.map(({ index }) => index).sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    expect(top.reduce((sum, { score }) => sum + score, 0)).toBeCloseTo(1, 5)
  }
})

test('without labels, classes go by their numbers', async () => {
  const { results } = await run(pipeline([loader(), network()], { labels: undefined }), ['-v', '2'])
  for (const { top } of results) for (const { label, index } of top) expect(label).toBe(String(index))
})

test('--labels names them otherwise', async () => {
  const labels = Array.from({ length: 8 }, (_, index) => `class ${index}`).join('\r\n')

  const { results } = await run(oneClip(), ['-v', '2', '--labels', file('labels.txt', labels)])
  for (const { top } of results) for (const { label, index } of top) expect(label).toBe(`class ${index}`)
})

test('--warmup leaves requests out of statistics only', async () => {
  const { results, summary } = await run(oneClip(), ['-v', '6', '--warmup', '4'])
  expect(results.map(({ warmup }) => warmup)).toEqual([true, true, true, true, false, false])
  expect(summary.requests).toMatchObject({ completed: 6, warmup: 4, measured: 2 })
  expect(summary.latency_ms?.count).toBe(2)
})
