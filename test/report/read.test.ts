import { afterAll, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readRuns } from '../../src/report/read.ts'
import { LinesFile } from '../../src/results/atomic-file.ts'
import { Collector } from '../../src/results/collector.ts'
import { UnixClock } from '../../src/results/unix-clock.ts'
import { fakeRun, SPLIT_STEPS, START_NS, TWO_STEPS } from '../results/fake-run.ts'

const root = mkdtempSync(join(tmpdir(), 'rnb-report-'))
afterAll(() => rmSync(root, { recursive: true }))

/** The lines of a run of 50 requests, three of them left out of statistics. */
async function results(name: string, steps = TWO_STEPS) {
  const path = join(root, name)
  const file = new LinesFile(path)
  const { facts } = fakeRun(50, steps, { warmup: 3 })
  const collector = new Collector(facts, [file.lines])
  collector.start(START_NS)
  for (let request = 49; request >= 0; request--) collector.complete(request)
  await collector.written()
  const clock = new UnixClock(1_795_385_532, 0)
  const summary = collector.summary({
    status: 0,
    reason: 'done',
    endNs: START_NS + 1e9,
    clock,
    highWater: [2, 1],
  })
  file.lines.write(JSON.stringify(summary))
  await file.finish()
  return { path, facts, summary }
}

test('a file of results has the figures of its summary', async () => {
  const { path, facts, summary } = await results('a.jsonl')
  const [run] = await readRuns([path])
  expect(run!.latencyMs.length).toBe(47)
  const mean = run!.latencyMs.reduce((sum, ms) => sum + ms, 0) / 47
  expect(mean).toBeCloseTo(summary.latency_ms!.mean, 5)
  expect(run!.arrivalS).toEqual(run!.arrivalS.slice().sort())
  expect(run!.stages.reduce((sum, { ms }) => sum + ms, 0)).toBeCloseTo(mean, 0)
  // Waiting for the first step ends when an instance takes the request.
  const [first] = run!.waits
  expect(first!.waits).toHaveLength(50)
  const taken = (facts.ledger.time(49, 0, 0, 'runnerStart') - START_NS) / 1e9
  expect(first!.waits[0]!.to).toBeCloseTo(taken, 5)
})

test('parts of a split request wait each for itself', async () => {
  const { path, facts } = await results('split.jsonl', SPLIT_STEPS)
  const [run] = await readRuns([path])
  const network = run!.waits[1]!.waits
  const taken = Array.from({ length: 50 }, (_, request) =>
    [0, 1, 2].map(part => facts.ledger.time(request, part, 1, 'runnerStart')).filter(t => !Number.isNaN(t)),
  ).flat()
  const seconds = taken.map(t => Number(((t - START_NS) / 1e9).toFixed(6))).sort((a, b) => a - b)
  expect(network.map(({ to }) => Number(to.toFixed(6))).sort((a, b) => a - b)).toEqual(seconds)
})

test('a folder of RnB’s own is read by its times', async () => {
  const folder = join(root, '200102_030405-mi100-b1-v500-qs500-p0')
  mkdirSync(folder)
  const row = (at: number) => [at, at + 0.01, at + 0.02, at + 0.05].map(t => t.toFixed(6)).join(' ')
  const columns = 'enqueue_filename runner0_start inference0_start inference0_finish'
  const rows = Array.from({ length: 30 }, (_, i) => `${row(1000 + i / 10)} 0`)
  writeFileSync(
    join(folder, 'log-meta.txt'),
    "Args: Namespace(batch_size=1, config_file_path='config/r2p1d-whole.json', mean_interval_ms=100)\n1000.0 1003.0\nTermination flag: 0\n",
  )
  writeFileSync(join(folder, 'g0-r0.txt'), `${columns} gpu0\n${rows.join('\n')}\n`)
  const [run] = await readRuns([folder])
  expect(run).toMatchObject({
    name: 'r2p1d-whole mi100-b1-v500-qs500-p0',
    configuration: 'r2p1d-whole',
    offeredPerS: 10,
    completed: 30,
    end: 'done',
  })
  expect(run!.latencyMs.length).toBe(20)
  for (const ms of run!.latencyMs) expect(ms).toBeCloseTo(50, 2)
  expect(run!.stages.map(({ name, ms }) => [name, Math.round(ms)])).toEqual([
    ['to runner0_start', 10],
    ['to inference0_start', 10],
    ['to inference0_finish', 30],
  ])
})

test('runs of one name are told apart', async () => {
  const { path } = await results('b.jsonl')
  expect((await readRuns([path, path])).map(({ name }) => name)).toEqual(['b.jsonl', 'b.jsonl (2)'])
})

test('what is no run is named, with its line', async () => {
  const path = join(root, 'broken.jsonl')
  writeFileSync(path, '{"type":"result"\n')
  expect(readRuns([path])).rejects.toThrow(`${path}, line 1`)
  writeFileSync(path, '{"type":"result","id":-1}\n')
  expect(readRuns([path])).rejects.toThrow(/line 1: id/)
  writeFileSync(path, '')
  expect(readRuns([path])).rejects.toThrow('no summary')
  expect(readRuns([join(root, 'nowhere')])).rejects.toThrow('does not exist')
})
