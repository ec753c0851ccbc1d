import { describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { demo, type Outcome, pipeline, rnb, rnbConfigs, root, scratch } from './rnb.ts'
import { faultsOf, readRnbFolder, timeCardColumns } from './rnb-log.ts'

const flags = (videos: number) => [
  ...['--device', 'cpu', '--results', '-', '--quiet', '-v', String(videos), '-mi', '0', '--seed', '5'],
  ...['--video-root', demo.videos],
]
const demoFlags = ['--weights', demo.weights, '--labels', demo.labels]

/** One step, one instance: nothing of a pipeline that could go wrong. RnB's defaults otherwise. */
const alone = (args: readonly string[]): Promise<Outcome> =>
  rnb([
    'run',
    '-c',
    pipeline([{ model: 'single', queue_groups: [{ gpus: [-1] }] }], {
      weights: undefined,
      labels: undefined,
    }),
    ...args,
  ])

/** Runs a configuration: each video has one result, the one of a single step, within the bounds of the queues. */
async function same(config: string, args: readonly string[], expected: Outcome): Promise<string> {
  const logs = scratch()
  const outcome = await rnb(['run', '-c', config, ...args, '--log-dir', logs])
  expect({ status: outcome.status, stderr: outcome.stderr }).toEqual({ status: 0, stderr: '' })
  const facts = ({ results }: Outcome) =>
    results.map(({ id, video, clips, top }) => [id, video, clips, top[0]!.label])
  expect(facts(outcome)).toEqual(facts(expected))
  for (const [i, { top }] of outcome.results.entries()) {
    const scores = new Map(expected.results[i]!.top.map(({ index, score }) => [index, score]))
    for (const { index, score } of top.slice(0, 2)) expect(score).toBeCloseTo(scores.get(index)!, 4)
  }
  for (const { high_water, capacity } of outcome.summary.queues)
    expect(high_water).toBeLessThanOrEqual(capacity)
  expect(outcome.summary.requests).toMatchObject({
    completed: expected.results.length,
    failed: 0,
    unfinished: 0,
  })
  const [folder] = readdirSync(logs)
  return join(logs, folder!)
}

/** Checks a log folder against what RnB would have written for this pipeline file. */
function checkLogs(folder: string, file: string, videos: number): void {
  const text = readFileSync(file, 'utf8')
  const read = readRnbFolder(folder)
  expect(read.termination).toBe(0)
  expect(read.start).toBeLessThan(read.end)
  expect(read.arguments.get('videos')).toBe(String(videos))
  expect(read.logs.reduce((sum, { rows }) => sum + rows.length, 0)).toBe(videos)
  const columns = timeCardColumns(JSON.parse(text))
  for (const log of read.logs) {
    expect(log.gpu).toBe(-1)
    expect(log.columns).toEqual(columns)
    for (const row of log.rows) {
      expect(faultsOf(row, read.start, read.end)).toEqual([])
      for (const [column, value] of row)
        if (column.startsWith('gpu')) expect(value === -1 || Number.isNaN(value)).toBeTrue()
    }
  }
  expect(read.logs.map(({ replica }) => replica).sort((a, b) => a - b)).toEqual([...read.logs.keys()])
}

const rnbFiles = rnbConfigs ? readdirSync(rnbConfigs).filter(name => name.endsWith('.json')) : []
const ownFolder = join(root, 'config/cpu')
// What decodes nothing and classifies nothing has results of its own.
const ownFiles = readdirSync(ownFolder).filter(name => name !== 'synthetic.json')

const VIDEOS = 12
const expected = alone([...flags(VIDEOS), ...demoFlags])

describe.skipIf(!rnbConfigs)('RnB’s own pipeline files, on the CPU', () => {
  test('there are eight', () => expect(rnbFiles).toHaveLength(8))

  test.each(rnbFiles)('%s: one result for each video, as a single step gives it; RnB’s logs', async name => {
    const file = join(rnbConfigs!, name)
    const folder = await same(file, [...flags(VIDEOS), ...demoFlags], await expected)
    checkLogs(folder, file, VIDEOS)
    expect(readFileSync(join(folder, name), 'utf8')).toBe(readFileSync(file, 'utf8'))
  })
})

describe('the pipelines for the CPU that come with the program', () => {
  const branched = ['two-networks.json']

  test.each(ownFiles.filter(name => !branched.includes(name)))(
    'cpu/%s gives what a single step gives',
    async name => {
      const folder = await same(`cpu/${name}`, [...flags(VIDEOS), ...demoFlags, '-b', '2'], await expected)
      checkLogs(folder, join(ownFolder, name), VIDEOS)
    },
  )

  test('cpu/two-networks.json too, and each branch has the logs of a pipeline that ends there', async () => {
    const folder = await same('cpu/two-networks', [...flags(VIDEOS), ...demoFlags], await expected)
    for (const [name, step] of [
      ['step1-first', 1],
      ['step2-second', 2],
    ] as const) {
      const read = readRnbFolder(join(folder, name))
      expect(read.logs.map(({ rows }) => rows.length)).toEqual([VIDEOS])
      const straight = timeCardColumns({ pipeline: [{ model: 'loader' }, { model: 'network' }] })
      expect(read.logs[0]!.columns).toEqual(straight.map(column => column.replace('1', String(step))))
      for (const row of read.logs[0]!.rows) expect(faultsOf(row, read.start, read.end)).toEqual([])
    }
  })
})

test('segments that a video has too few clips for read nan, and the columns stay', async () => {
  const file = pipeline([
    {
      model: 'loader',
      queue_groups: [{ gpus: [-1], out_queues: [0] }],
      num_clips_population: [1, 2, 5],
      num_clips_weights: [1, 1, 1],
      num_segments: 4,
    },
    { model: 'network', queue_groups: [{ gpus: [-1, -1], in_queue: 0, out_queues: [0] }] },
    { model: 'aggregator', queue_groups: [{ gpus: [-1], in_queue: 0 }], aggregate: 4 },
  ])
  const logs = scratch()
  const outcome = await rnb(['run', '-c', file, ...flags(VIDEOS), '--log-dir', logs])
  expect(outcome.status).toBe(0)
  const [name] = readdirSync(logs)
  const folder = join(logs, name!)
  checkLogs(folder, file, VIDEOS)
  const [log] = readRnbFolder(folder).logs
  const parts = log!.rows.map(row =>
    [0, 1, 2, 3].filter(part => !Number.isNaN(row.get(`runner1_start-${part}`))),
  )
  // As many parts as clips, up to four, and the first ones: the aggregator's rows are in the order of completion.
  const clips = outcome.results.map(result => Math.min(4, result.clips))
  expect(parts.map(present => present.length).sort()).toEqual(clips.sort())
  for (const present of parts) expect(present).toEqual([...present.keys()])
  expect(new Set(clips).size).toBe(3)
})

const slow = process.env.RNB_SLOW !== undefined
if (!slow) console.warn('skipped: R(2+1)D-18 through all configurations (minutes; RNB_SLOW=1 runs it)')

describe.skipIf(!slow || !rnbConfigs)('R(2+1)D-18 with weights from the seed', () => {
  const videos = 5
  const args = [...flags(videos), '-mi', '0']
  const single = slow && rnbConfigs ? alone(args) : undefined

  test.each(rnbFiles)(
    '%s gives what a single step gives',
    async name => {
      const file = join(rnbConfigs!, name)
      checkLogs(await same(file, args, await single!), file, videos)
    },
    600_000,
  )
})
