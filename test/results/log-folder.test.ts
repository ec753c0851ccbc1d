import { afterAll, describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import fc from 'fast-check'
import { Collector } from '../../src/results/collector.ts'
import type { RunFacts } from '../../src/results/facts.ts'
import { argumentsLine, jobName, LogFolder, TERMINATION } from '../../src/results/log-folder.ts'
import { parseArguments, readLogs } from '../../src/results/read-logs.ts'
import { UnixClock } from '../../src/results/unix-clock.ts'
import { Rng, seedOf } from '../../src/rng.ts'
import { FLAGS, factsOf, fakeRun, filesOf, pass, SPLIT_STEPS, START_NS } from './fake-run.ts'

const root = mkdtempSync(join(tmpdir(), 'rnb-logs-'))
afterAll(() => rmSync(root, { recursive: true }))

const clock = new UnixClock(1_795_385_532, 598_764_000)
const END_NS = START_NS + 7_000_000_001

function open(name: string): LogFolder {
  const folder = LogFolder.open(root, name)
  if (!(folder instanceof LogFolder)) throw new Error(folder.warning)
  return folder
}

/** Writes the logs of a run whose requests complete in this order. */
async function write(folder: LogFolder, facts: RunFacts, order: number[], file = 'config/pipeline.json') {
  const collector = new Collector(facts, [folder.results.lines])
  collector.start(START_NS)
  for (const request of order) collector.complete(request)
  await collector.written()
  const summary = collector.summary({
    status: 0,
    reason: 'done',
    endNs: END_NS,
    clock,
    highWater: [],
    logDir: folder.path,
  })
  return folder.finish({
    facts,
    cards: collector.cards,
    done: collector.done,
    flags: FLAGS,
    clock,
    startNs: START_NS,
    endNs: END_NS,
    termination: TERMINATION.targetReached,
    config: { file, text: '{ "pipeline": [] }' },
    summary,
  })
}

describe("the folder's name", () => {
  const at = new Date(2026, 10, 2, 3, 4, 5)
  test("is RnB's", () => expect(jobName(FLAGS, at)).toBe('261102_030405-mi90-b1-v500-qs500-p0'))
  test('keeps fractions of an interval', () =>
    expect(jobName({ ...FLAGS, mean_interval_ms: 1000 / 3000, per_gpu_queue: true }, at)).toBe(
      '261102_030405-mi0.333-b1-v500-qs500-p1',
    ))
})

describe('the line of arguments', () => {
  test("is Python's", () =>
    expect(argumentsLine(FLAGS)).toBe(
      "Args: Namespace(batch_size=1, check=False, config_file_path='config/r2p1d-whole.json', " +
        'mean_interval_ms=90, per_gpu_queue=False, queue_size=500, videos=500)',
    ))

  test('reads back, whatever the path', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.double({ min: 0, max: 1e6, noNaN: true }),
        fc.boolean(),
        (path, interval, perGpu) => {
          const flags = {
            ...FLAGS,
            config_file_path: path,
            mean_interval_ms: interval + 0,
            per_gpu_queue: perGpu,
          }
          expect(parseArguments(argumentsLine(flags))).toEqual({ ...flags })
        },
      ),
    )
  })
})

test('a run reads back from its folder, to the quarter microsecond of a float64', async () => {
  const { facts, truths } = fakeRun(40)
  const folder = open('round-trip')
  const order = [...new Rng(seedOf('order')).permutation(40)].filter(id => id !== 7)
  expect(await write(folder, facts, order)).toEqual([])
  expect(filesOf(folder.path)).toEqual([
    'g-1-r0.txt',
    'g-1-r1.txt',
    'log-meta.txt',
    'pipeline.json',
    'results.jsonl',
    'summary.json',
  ])
  const logs = readLogs(folder.path)
  expect(logs.flags).toEqual({ ...FLAGS })
  expect(logs.termination).toBe(0)
  expect(logs.start).toBeCloseTo(clock.seconds(START_NS), 6)
  expect(logs.end - logs.start).toBeCloseTo(7.000000001, 6)
  expect(logs.warnings).toEqual([])
  expect(logs.instances.map(({ gpu, replica }) => [gpu, replica])).toEqual([
    [-1, 0],
    [-1, 1],
  ])
  for (const { replica, columns, gpuColumns, times, gpus } of logs.instances) {
    expect(columns).toEqual([
      'enqueue_filename',
      ...[0, 1].flatMap(step => [`runner${step}_start`, `inference${step}_start`, `inference${step}_finish`]),
    ])
    expect(gpuColumns).toEqual(['gpu0', 'gpu1'])
    const ids = order.filter(id => facts.ledger.replica(id, 0, 1) === replica)
    expect(times).toHaveLength(ids.length)
    ids.forEach((id, row) => {
      const { actual, cells } = truths[id]!
      const expected = [
        actual,
        ...cells.flatMap(([cell]) => [cell!.runnerStart, cell!.inferenceStart, cell!.inferenceFinish]),
      ]
      expected.forEach((ns, c) => {
        const unix = (START_NS + ns) / 1e9 + 1_795_385_532.598764
        expect(Math.abs(times[row]![c]! - unix)).toBeLessThan(1e-6)
      })
      expect([...gpus[row]!]).toEqual([-1, -1])
    })
  }
  const lines = readFileSync(join(folder.path, 'results.jsonl'), 'utf8').trimEnd().split('\n')
  expect(lines.map(line => JSON.parse(line).id)).toEqual(order)
  expect(JSON.parse(readFileSync(join(folder.path, 'summary.json'), 'utf8'))).toMatchObject({
    type: 'summary',
    log_dir: folder.path,
  })
  expect(readFileSync(join(folder.path, 'pipeline.json'), 'utf8')).toBe('{ "pipeline": [] }')
  expect(readFileSync(join(folder.path, 'log-meta.txt'), 'utf8').split('\n')[2]).toBe('Termination flag: 0')
})

test('nine decimals are true', () => {
  expect(clock.text(0)).toBe('1795385532.598764000')
  expect(clock.text(401_235_999)).toBe('1795385532.999999999')
  expect(clock.text(401_236_000)).toBe('1795385533.000000000')
  expect(clock.text(7_000_000_000)).toBe('1795385539.598764000')
  expect(clock.text(Number.NaN)).toBe('nan')
})

test('parts that are absent read nan, and rows have as many values as the header', async () => {
  const facts = factsOf(3, SPLIT_STEPS)
  const rng = new Rng(seedOf('parts'))
  for (const request of [0, 1, 2]) pass(facts, request, request * 1e6, rng, request + 1)
  const folder = open('parts')
  expect(await write(folder, facts, [0, 1, 2])).toEqual([])
  const { instances, warnings } = readLogs(folder.path)
  expect(warnings).toEqual([])
  const rows = instances.flatMap(({ columns, gpuColumns, times, gpus }) =>
    times.map((row, i) => ({
      start: [0, 1, 2].map(part => row[columns.indexOf(`runner1_start-${part}`)]!),
      gpu: [0, 1, 2].map(part => gpus[i]![gpuColumns.indexOf(`gpu1-${part}`)]!),
    })),
  )
  rows.sort((a, b) => a.start.filter(Number.isNaN).length - b.start.filter(Number.isNaN).length)
  expect(rows.map(({ start }) => start.map(Number.isNaN))).toEqual([
    [false, false, false],
    [false, false, true],
    [false, true, true],
  ])
  expect(rows.map(({ gpu }) => gpu)).toEqual([
    [-1, -1, -1],
    [-1, -1, Number.NaN],
    [-1, Number.NaN, Number.NaN],
  ])
})

test('a second run in the same second gets its own folder; a discarded one leaves nothing', () => {
  const first = open('same')
  const second = open('same')
  expect(basename(second.path)).toBe('same-2')
  second.discard()
  first.discard()
  expect(filesOf(root)).not.toContain('same')
  expect(filesOf(root)).not.toContain('same-2')
})

test("a configuration named like one of the folder's files does not replace it", async () => {
  const { facts } = fakeRun(1)
  const folder = open('names')
  expect(await write(folder, facts, [0], '/some/where/summary.json')).toEqual([])
  expect(filesOf(folder.path)).toContain('config-summary.json')
  expect(JSON.parse(readFileSync(join(folder.path, 'summary.json'), 'utf8')).type).toBe('summary')
})

test('a folder that cannot be written is a warning at once', () => {
  const file = join(root, 'a-file')
  writeFileSync(file, '')
  for (const where of [file, join(file, 'below'), '/proc/rnb-logs']) {
    const opened = LogFolder.open(where, 'run')
    expect(opened).toEqual({ warning: expect.stringContaining(`no logs can be written to ${where}: E`) })
  }
})

test('a file that cannot be written at the end is a warning, and the others are there', async () => {
  const { facts } = fakeRun(2)
  const folder = open('taken')
  // A folder stands where the file should be.
  mkdirSync(join(folder.path, 'g-1-r0.txt'))
  const warnings = await write(folder, facts, [0, 1])
  expect(warnings).toHaveLength(1)
  expect(warnings[0]).toContain(join(folder.path, 'g-1-r0.txt'))
  expect(filesOf(folder.path)).toEqual([
    'g-1-r0.txt',
    'g-1-r1.txt',
    'log-meta.txt',
    'pipeline.json',
    'results.jsonl',
    'summary.json',
  ])
})

describe("RnB's own folders", () => {
  function folderOf(name: string, files: Record<string, string>): string {
    const path = join(root, name)
    mkdirSync(path)
    for (const [file, text] of Object.entries(files)) writeFileSync(join(path, file), text)
    return path
  }
  const meta =
    "Args: Namespace(batch_size=1, config_file_path='config/r2p1d-whole.json', loaders=1, mean_interval_ms=100, queue_size=500, videos=2)\n" +
    '1553666151.042721 1553666159.479689\nTermination flag: 0\n'

  test('of one loader and runners of a GPU', () => {
    const path = folderOf('rnb-1', {
      'log-meta.txt': meta,
      'g0-r1.txt':
        'enqueue_filename runner0_start inference0_start inference0_finish\n' +
        '1553666151.5 1553666151.625 1553666151.75 1553666152.0\n1553666152.5 1553666152.625 1553666152.75 1553666153.0\n',
      'r2p1d-whole.json': '[]',
    })
    const logs = readLogs(path)
    expect(logs).toMatchObject({
      start: 1553666151.042721,
      end: 1553666159.479689,
      termination: 0,
      warnings: [],
    })
    expect(logs.flags).toMatchObject({ mean_interval_ms: 100, loaders: 1, videos: 2 })
    expect(logs.instances).toHaveLength(1)
    expect(logs.instances[0]).toMatchObject({ gpu: 0, replica: 1, gpuColumns: [] })
    expect(logs.instances[0]!.times.map(row => row[3])).toEqual([1553666152, 1553666153])
  })

  test('of queue groups, with GPUs that differ between parts, and a row that was cut off', () => {
    const path = folderOf('rnb-2', {
      'log-meta.txt': meta,
      'g-1-group0-2.txt':
        'enqueue_filename runner0_start runner1_start-0 runner1_start-1 gpu0 gpu1-0 gpu1-1\n' +
        '1.5 2.5 3.5 4.5 0 1 2\n1.5 2.5 3.5 4.5 0 1\n1.5 2.5\n1.5 2.5 oops 4.5 0 1 2\n',
    })
    const { instances, warnings } = readLogs(path)
    expect(instances[0]).toMatchObject({ gpu: -1, group: 0, replica: 2 })
    expect(instances[0]!.times).toHaveLength(2)
    expect(instances[0]!.gpus.map(row => [...row])).toEqual([
      [0, 1, 2],
      [Number.NaN, Number.NaN, Number.NaN],
    ])
    expect(warnings).toEqual([
      'g-1-group0-2.txt, line 4 is no row of 7 numbers',
      'g-1-group0-2.txt, line 5 is no row of 7 numbers',
    ])
  })

  test('what is no such folder is refused', () => {
    expect(() => readLogs(join(root, 'nowhere'))).toThrow('is no log folder')
    const path = folderOf('other', { 'log-meta.txt': 'hello\n' })
    expect(() => readLogs(path)).toThrow("is not in RnB's format")
  })
})
