import { expect, test } from 'bun:test'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { readLogs } from '../../src/results/read-logs.ts'
import { file, loader, network, pipeline, rnb, scratch } from './rnb.ts'

const VIDEOS = 6

const args = (config: string, logs: string, ...more: string[]) => [
  ...['run', '-c', config, '--device', 'cpu', '-mi', '0', '-v', String(VIDEOS), '--log-dir', logs, ...more],
]

test('a run leaves RnB’s log folder: meta, a file an instance of the last step, configuration, results, summary', async () => {
  const logs = scratch()
  const config = pipeline([loader(), network({ queue_groups: [{ gpus: [-1, -1], in_queue: 0 }] })])
  const outcome = await rnb(args(config, logs, '-b', '2', '-qs', '50', '-p', '--results', '-', '--quiet'))
  expect(outcome.status).toBe(0)
  const [name, ...others] = readdirSync(logs)
  expect(others).toEqual([])
  expect(name).toMatch(/^\d{6}_\d{6}-mi0-b2-v6-qs50-p1$/)
  const folder = join(logs, name!)
  expect(readdirSync(folder).sort()).toEqual([
    'g-1-r0.txt',
    'g-1-r1.txt',
    'log-meta.txt',
    'pipeline.json',
    'results.jsonl',
    'summary.json',
  ])
  expect(readFileSync(join(folder, 'pipeline.json'), 'utf8')).toBe(readFileSync(config, 'utf8'))
  expect(JSON.parse(readFileSync(join(folder, 'summary.json'), 'utf8'))).toEqual(outcome.summary)
  expect(readFileSync(join(folder, 'results.jsonl'), 'utf8').split('\n').sort()).toEqual(
    outcome.stdout.split('\n').sort(),
  )

  const read = readLogs(folder)
  expect(read.warnings).toEqual([])
  expect(read.flags).toMatchObject({ batch_size: 2, videos: VIDEOS, queue_size: 50, per_gpu_queue: true })
  const rows = read.instances.flatMap(({ times }) => times)
  expect(rows).toHaveLength(VIDEOS)
  // Within the run, and in the order of the columns: enqueued, taken, begun, finished, and so on.
  for (const row of rows) {
    expect([...row]).toEqual([...row].sort((a, b) => a - b))
    expect(row[0]).toBeGreaterThanOrEqual(read.start)
    expect(row.at(-1)).toBeLessThanOrEqual(read.end)
  }
})

test('people read RnB’s lines and a table on standard error, and nothing else goes to standard output', async () => {
  const outcome = await rnb(args(pipeline([loader(), network()]), scratch()))
  expect(outcome.lines).toHaveLength(1)
  for (const line of [
    'Args: Namespace(batch_size=1, ',
    'START! ',
    `Finished processing ${VIDEOS} videos`,
    'FINISH! ',
    'That took ',
    'p99.9',
  ])
    expect(outcome.stderr).toContain(line)
})

test('a folder that cannot be written is said at once; results come all the same', async () => {
  const outcome = await rnb(args(pipeline([loader(), network()]), '/dev/null/logs', '--results', '-'))
  expect(outcome.status).toBe(0)
  expect(outcome.results).toHaveLength(VIDEOS)
  expect(outcome.summary.warnings.join()).toContain('/dev/null/logs')
  expect(outcome.stderr.indexOf('warning: ')).toBeLessThan(outcome.stderr.indexOf('START!'))
  expect(outcome.stderr).toContain('/dev/null/logs')
})

test('--results FILE has every line when it appears, and does not stand beside an unfinished one', async () => {
  const folder = scratch()
  const path = join(folder, 'out.jsonl')
  const outcome = await rnb(args(pipeline([loader(), network()]), scratch(), '--results', path, '--quiet'))
  expect(outcome.lines).toHaveLength(1)
  expect(readdirSync(folder)).toEqual(['out.jsonl'])
  const lines = readFileSync(path, 'utf8').trim().split('\n')
  expect(lines).toHaveLength(VIDEOS + 1)
  expect(JSON.parse(lines.at(-1)!)).toEqual(outcome.summary)
  expect(statSync(path).size).toBeGreaterThan(0)
})

test('--results that cannot be written is wrong use', async () => {
  const taken = file('taken', 'not a folder')
  const path = join(taken, 'out.jsonl')
  const outcome = await rnb(args(pipeline([loader(), network()]), scratch(), '--results', path))
  expect(outcome.status).toBe(2)
  expect(outcome.stderr).toContain(path)
  expect(outcome.stdout).toBe('')
})
