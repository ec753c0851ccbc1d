import { describe, expect, test } from 'bun:test'
import { Collector } from '../../src/results/collector.ts'
import { averageLines, closingLines, endLines, percentileTable, startLine } from '../../src/results/people.ts'
import { People } from '../../src/results/progress.ts'
import { textTable } from '../../src/results/table.ts'
import { TimeCards } from '../../src/results/time-card.ts'
import { UnixClock } from '../../src/results/unix-clock.ts'
import { fakeRun, SPLIT_STEPS, START_NS } from './fake-run.ts'
import { Screen } from './screen.ts'

const clock = new UnixClock(1_553_666_146, 42_720_877)

test("lines of a job are RnB's", () => {
  expect(startLine(clock, START_NS)).toBe('START! 1553671146.042721')
  expect(endLines(clock, START_NS, START_NS + 8_436_968_000, 100)).toEqual([
    'Finished processing 100 videos',
    'FINISH! 1553671154.479689',
    'That took 8.436968 seconds',
  ])
  expect(endLines(clock, START_NS, START_NS + 1)).toHaveLength(2)
})

test('averages are of neighbouring columns', () => {
  const { facts, truths } = fakeRun(20)
  const cards = new TimeCards(facts.ledger, facts.plan.steps)
  const lines = averageLines(
    cards,
    Uint32Array.from({ length: 10 }, (_, i) => i + 10),
    20,
  )
  expect(lines.map(line => line.replace(/: .*/, ''))).toEqual([
    'Average time between enqueue_filename and runner0_start',
    'Average time between runner0_start and inference0_start',
    'Average time between inference0_start and inference0_finish',
    'Average time between inference0_finish and runner1_start',
    'Average time between runner1_start and inference1_start',
    'Average time between inference1_start and inference1_finish',
  ])
  const waits = truths.slice(10).map(({ actual, cells }) => cells[0]![0]!.runnerStart - actual)
  const average = waits.reduce((sum, ns) => sum + ns, 0) / 10 / 1e6
  expect(lines[0]).toEndWith(`: ${average.toFixed(6)} ms`)
  expect(averageLines(cards, new Uint32Array(0), 3)).toEqual([
    'Not enough log entries (3 records) to print summary!',
  ])
})

test('a table has a row a stage, in columns', () => {
  const { facts } = fakeRun(50, SPLIT_STEPS, { sloMs: 1 })
  const collector = new Collector(facts)
  collector.start(START_NS)
  for (let request = 0; request < 49; request++) collector.complete(request)
  collector.fail(49, 0, 'damaged', '')
  const end = { status: 0, reason: 'done', endNs: START_NS + 1e9, clock, highWater: [] } as const
  const summary = collector.summary(end)
  const rows = percentileTable(summary).split('\n')
  expect(rows).toHaveLength(1 + 3 * 3 + 2)
  expect(rows[0]).toMatch(/^ms +mean +p50 +p90 +p95 +p99 +p99\.9 +max$/)
  expect(new Set(rows.map(row => row.length)).size).toBe(1)
  expect(rows.at(-2)).toContain(summary.latency_ms!.p99.toFixed(3))
  const closing = closingLines(summary)
  expect(closing[0]).toBe('49 results, 1 errors (1 damaged) of 50 videos')
  expect(closing.some(line => line.startsWith('goodput'))).toBe(true)
  expect(closing.some(line => line.startsWith('warning: 49 measured'))).toBe(true)
})

test('columns are aligned', () => {
  expect(
    textTable([
      ['a', 'bcd'],
      ['efg', 'h'],
      ['i', ''],
    ]),
  ).toBe('a    bcd\nefg    h\ni')
  expect(textTable([])).toBe('')
})

describe('text for people', () => {
  function show(quiet: boolean, isTTY: boolean): string {
    const screen = new Screen(isTTY)
    const people = new People(quiet, screen)
    people.say('before')
    people.startBar(10)
    people.update(3, 1)
    people.say('between')
    people.stopBar()
    people.say('after')
    return screen.text
  }

  test('has no bar where there is no terminal', () =>
    expect(show(false, false)).toBe('before\nbetween\nafter\n'))
  test('is nothing if quiet', () => {
    expect(show(true, true)).toBe('')
    expect(show(true, false)).toBe('')
  })
  test('has a bar below it on a terminal', () => {
    const text = show(false, true)
    expect(text).toContain('10 videos')
    expect(text).toContain('\r\x1b[Kbetween\n')
    expect(text).toEndWith('after\n')
  })
})
