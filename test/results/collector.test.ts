import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import Ajv from 'ajv'
import * as v from 'valibot'
import { outputSchema } from '../../config/output-schema.ts'
import { Collector } from '../../src/results/collector.ts'
import type { LineWriter } from '../../src/results/line-writer.ts'
import { lineSchema, type ResultLine, type SummaryLine } from '../../src/results/schema.ts'
import { UnixClock } from '../../src/results/unix-clock.ts'
import { Rng, seedOf } from '../../src/rng.ts'
import { factsOf, fakeRun, linear, pass, SPLIT_STEPS, START_NS, TWO_STEPS } from './fake-run.ts'

const schemaFile = join(import.meta.dir, '../../config/output.schema.json')
const validate = new Ajv().compile(JSON.parse(readFileSync(schemaFile, 'utf8')))

/** Checks a line against the published schema, and that the schema knows all of its fields. */
function expectValid(line: unknown): void {
  const plain = JSON.parse(JSON.stringify(line))
  expect(validate(plain) || validate.errors).toBe(true)
  expect(v.parse(lineSchema, plain)).toEqual(plain)
}

/** Keeps lines; has room for as many as it is told. */
class Reader {
  lines: string[] = []
  capacity = Number.POSITIVE_INFINITY
  broken = false
  #wake: (() => void)[] = []
  get room(): boolean {
    return this.broken || this.lines.length < this.capacity
  }
  write(line: string): void {
    if (!this.broken) this.lines.push(line)
  }
  async drained(): Promise<void> {
    while (!this.room) await new Promise<void>(resolve => this.#wake.push(resolve))
  }
  async flushed(): Promise<void> {}
  open(capacity: number): void {
    this.capacity = capacity
    for (const wake of this.#wake.splice(0)) wake()
  }
  get parsed(): Record<string, unknown>[] {
    return this.lines.map(line => JSON.parse(line))
  }
}
const writers = (...readers: Reader[]): LineWriter[] => readers as unknown as LineWriter[]

const end = {
  status: 0,
  reason: 'done',
  endNs: START_NS + 60e9,
  clock: new UnixClock(0, 0),
  highWater: [7, 3],
} as const

test('the published schema is the current one', () => {
  expect(JSON.parse(readFileSync(schemaFile, 'utf8'))).toEqual(outputSchema())
})

describe('lines of requests', () => {
  test('say what the ledger holds', () => {
    const { facts, truths, finish } = fakeRun(2, TWO_STEPS, { warmup: 1, labels: [['a', 'b', 'c']] })
    const reader = new Reader()
    const collector = new Collector(facts, writers(reader))
    collector.start(START_NS)
    expect(collector.complete(1)).toBe(true)
    const [line] = reader.parsed as ResultLine[]
    const truth = truths[1]!
    const ms = (ns: number) => ns / 1e6
    expect(line).toEqual({
      type: 'result',
      id: 1,
      video: '/videos/1.mp4',
      top: [
        { label: '3', index: 3, score: 0.75 },
        { label: 'b', index: 1, score: 0.25 },
      ],
      clips: 2,
      decoder: 'fake h264',
      frames_needed: 16,
      frames_decoded: 21,
      steps: truth.cells.map(([cell], step) => ({
        step,
        kind: `kind${step}`,
        device: 'cpu',
        batch: 1 + step,
        queue_ms: ms(cell!.runnerStart - (step === 0 ? truth.intended : truth.cells[0]![0]!.inferenceFinish)),
        wait_ms: ms(cell!.inferenceStart - cell!.runnerStart),
        run_ms: ms(cell!.inferenceFinish - cell!.inferenceStart),
      })),
      intended_ms: ms(truth.intended),
      actual_ms: ms(truth.actual),
      latency_ms: ms(finish(1) - truth.intended),
      latency_actual_ms: ms(finish(1) - truth.actual),
      warmup: false,
      weights: 'random:1',
    })
    collector.complete(0)
    expect(reader.parsed[1]).toMatchObject({ id: 0, warmup: true })
    for (const line of reader.parsed) expectValid(line)
  })

  test('with trained weights do not name them', () => {
    const { facts } = fakeRun(1, TWO_STEPS, { weights: 'model.safetensors' })
    const reader = new Reader()
    new Collector(facts, writers(reader)).complete(0)
    expect(reader.parsed[0]).not.toHaveProperty('weights')
  })

  test('list each part of a video that was split', () => {
    const facts = factsOf(1, SPLIT_STEPS)
    pass(facts, 0, 0, new Rng(seedOf(3)), 2)
    const reader = new Reader()
    new Collector(facts, writers(reader)).complete(0)
    const { steps } = reader.parsed[0] as ResultLine
    expect(steps.map(({ step, part }) => [step, part])).toEqual([
      [0, undefined],
      [1, 0],
      [1, 1],
      [2, 0],
      [2, 1],
    ])
    expectValid(reader.parsed[0])
  })

  test('of an error', () => {
    const facts = factsOf(1, TWO_STEPS)
    const reader = new Reader()
    const collector = new Collector(facts, writers(reader))
    collector.start(START_NS)
    facts.ledger.arrive(0, START_NS + 5e6, START_NS + 6e6)
    expect(collector.fail(0, 0, 'damaged', 'line 1\nline "2"')).toBe(true)
    expect(reader.lines[0]).not.toContain('\n')
    expect(reader.parsed[0]).toEqual({
      type: 'error',
      id: 0,
      video: '/videos/0.mp4',
      step: 0,
      kind: 'kind0',
      code: 'damaged',
      message: 'line 1\nline "2"',
      intended_ms: 5,
    })
    expectValid(reader.parsed[0])
  })
})

describe('each request has one outcome', () => {
  test('the first', () => {
    const { facts } = fakeRun(3)
    const reader = new Reader()
    const collector = new Collector(facts, writers(reader))
    expect(collector.fail(0, 0, 'damaged', '')).toBe(true)
    expect(collector.complete(0)).toBe(false)
    expect(collector.fail(0, 1, 'timeout', '')).toBe(false)
    expect(collector.complete(2)).toBe(true)
    expect(collector.complete(2)).toBe(false)
    expect(collector.fail(2, 0, 'damaged', '')).toBe(false)
    expect(reader.lines).toHaveLength(2)
    expect([collector.completed, collector.failed]).toEqual([1, 1])
    expect([...collector.done]).toEqual([2])
    expect(collector.summary(end)).toMatchObject({
      requests: { asked: 3, arrived: 3, completed: 1, failed: 1, unfinished: 1 },
      failures: { damaged: 1 },
    })
  })

  test('a reader that is slow gets all of them in the end, in order', async () => {
    const { facts } = fakeRun(100)
    const slow = new Reader()
    const fast = new Reader()
    slow.capacity = 5
    const collector = new Collector(facts, writers(slow, fast))
    for (let request = 99; request >= 0; request--)
      if (request % 10 === 0) collector.fail(request, 1, 'timeout', `at ${request}`)
      else collector.complete(request)
    expect(slow.lines).toHaveLength(5)
    const written = collector.written()
    slow.open(50)
    slow.open(Number.POSITIVE_INFINITY)
    await written
    expect(slow.parsed.map(line => line.id)).toEqual(Array.from({ length: 100 }, (_, i) => 99 - i))
    expect(slow.parsed.map(line => line.type === 'error')).toEqual(
      slow.parsed.map(line => Number(line.id) % 10 === 0),
    )
    expect(fast.lines).toEqual(slow.lines)
  })

  test('a reader that has gone holds up nothing', async () => {
    const { facts } = fakeRun(10)
    const gone = new Reader()
    const there = new Reader()
    gone.broken = true
    const collector = new Collector(facts, writers(gone, there))
    for (let request = 0; request < 10; request++) collector.complete(request)
    await collector.written()
    expect(there.lines).toHaveLength(10)
  })
})

/** The least value with a share of at least p at or below it, by counting. */
const percentile = (values: number[], p: number): number =>
  values.toSorted((a, b) => a - b).find(v => values.filter(w => w <= v).length >= p * values.length - 1e-9)!
const average = (values: number[]): number => values.reduce((sum, v) => sum + v, 0) / values.length

describe('the summary', () => {
  test('has the figures of the requests after the warm-up', () => {
    const { facts, truths, finish } = fakeRun(60, TWO_STEPS, { warmup: 10, sloMs: 30 })
    const collector = new Collector(facts)
    collector.start(START_NS)
    for (let request = 0; request < 60; request++)
      if (request === 30) collector.fail(request, 1, 'damaged', '')
      else collector.complete(request)
    collector.note('a note')
    collector.note('a note')
    collector.warn('a warning')
    const summary: SummaryLine = collector.summary(end)
    expectValid(summary)

    const all = truths.map((_, id) => id).filter(id => id !== 30)
    const ids = all.filter(id => id >= 10)
    const latencies = ids.map(id => (finish(id) - truths[id]!.intended) / 1e6)
    expect(summary.latency_ms!.count).toBe(49)
    expect(summary.latency_ms!.mean).toBeCloseTo(average(latencies), 5)
    for (const [key, p] of [
      ['p50', 0.5],
      ['p90', 0.9],
      ['p95', 0.95],
      ['p99', 0.99],
      ['p99_9', 0.999],
      ['max', 1],
    ] as const)
      expect(summary.latency_ms![key]).toBe(percentile(latencies, p))
    const actual = ids.map(id => (finish(id) - truths[id]!.actual) / 1e6)
    expect(summary.latency_actual_ms!.p50).toBe(percentile(actual, 0.5))
    expect(summary.client_delay_ms!.max).toBe(
      Math.max(...ids.map(id => (truths[id]!.actual - truths[id]!.intended) / 1e6)),
    )
    const runs = ids.map(id => {
      const cell = truths[id]!.cells[1]![0]!
      return (cell.inferenceFinish - cell.inferenceStart) / 1e6
    })
    expect(summary.steps[1]!.run_ms!.p90).toBe(percentile(runs, 0.9))
    const queued = ids.map(
      id => (truths[id]!.cells[1]![0]!.runnerStart - truths[id]!.cells[0]![0]!.inferenceFinish) / 1e6,
    )
    expect(summary.steps[1]!.queue_ms!.mean).toBeCloseTo(average(queued), 5)
    expect(summary.steps[1]!.batch_mean).toBe(2)

    // The window opens with the tenth result.
    const ends = all.map(finish).sort((a, b) => a - b)
    const seconds = (ends.at(-1)! - ends[9]!) / 1e9
    expect(summary.throughput.window_s).toBeCloseTo(seconds, 7)
    expect(summary.throughput.videos_per_s).toBeCloseTo(49 / seconds, 5)
    expect(summary.throughput.clips_per_s).toBeCloseTo(98 / seconds, 5)
    expect(summary.rate.achieved_per_s).toBe(summary.throughput.videos_per_s)
    // A request every 10 ms.
    expect(summary.rate.offered_per_s).toBeCloseTo(100, 6)
    const sent = (truths[59]!.actual - truths[10]!.actual) / 1e9
    expect(summary.rate.sent_per_s).toBeCloseTo(49 / sent, 5)

    const within = latencies.filter(ms => ms <= 30).length
    expect(within).toBeGreaterThan(0)
    expect(within).toBeLessThan(49)
    expect(summary.goodput).toMatchObject({ slo_ms: 30, within, fraction: expect.closeTo(within / 50, 8) })
    const inTime = all.filter(id => finish(id) > ends[9]! && finish(id) - truths[id]!.intended <= 30e6).length
    expect(summary.goodput!.per_s).toBeCloseTo(inTime / seconds, 5)

    expect(summary).toMatchObject({
      exit: { status: 0, reason: 'done' },
      requests: { asked: 60, arrived: 60, completed: 59, failed: 1, unfinished: 0, warmup: 10, measured: 49 },
      duration_s: 60,
      clips: 118,
      frames_needed: 16 * 59,
      frames_decoded: all.reduce((total, id) => total + 20 + id, 0),
      failures: { damaged: 1 },
      queues: [
        { name: 'filename', capacity: 500, high_water: 7 },
        { name: 'step0-step1 queue 0', capacity: 20, high_water: 3 },
      ],
      weights: 'random:1',
      notes: ['a note'],
    })
    expect(summary.started).toBe(new Date(START_NS / 1e6).toISOString())
    expect(summary.instances.map(({ items }) => items).reduce((sum, items) => sum + items)).toBe(2 * 59)
    expect(summary.warnings[0]).toBe('a warning')
    expect(summary.warnings[1]).toContain('49 measured videos are too few for p90')
  })

  test('of a run that measured nothing has no figures, and says so', () => {
    const collector = new Collector(factsOf(5, TWO_STEPS, { warmup: 10 }))
    collector.start(START_NS)
    const summary = collector.summary({ ...end, status: 130, reason: 'interrupted', message: 'SIGINT' })
    expectValid(summary)
    expect(summary).toMatchObject({
      exit: { status: 130, reason: 'interrupted', message: 'SIGINT' },
      requests: { asked: 5, arrived: 0, completed: 0, failed: 0, unfinished: 0, warmup: 5, measured: 0 },
      latency_ms: null,
      throughput: { videos_per_s: null },
      rate: { offered_per_s: null, sent_per_s: null, achieved_per_s: null },
      goodput: null,
    })
    expect(summary.warnings[0]).toStartWith('0 measured videos are too few')
  })

  test('of all at once has no rate of arrival', () => {
    const { facts } = fakeRun(20, TWO_STEPS, { load: { loop: 'open', arrival: 'bulk' } })
    const collector = new Collector(facts)
    collector.start(START_NS)
    for (let request = 0; request < 20; request++) collector.complete(request)
    const { rate } = collector.summary(end)
    expect(rate).toMatchObject({ offered_per_s: null, sent_per_s: null })
    expect(rate.achieved_per_s).toBeGreaterThan(0)
  })

  test('warns of a client that was late', () => {
    const facts = factsOf(1, linear([{ parts: 1, segments: 1 }]))
    pass(facts, 0, 0, new Rng(seedOf(1)))
    facts.ledger.arrive(0, START_NS, START_NS + 5e6)
    const collector = new Collector(facts)
    collector.complete(0)
    expect(collector.summary(end).warnings.at(-1)).toBe(
      'the client put requests on their queue up to 5 ms late (p99 5 ms): latency_ms counts that time',
    )
  })
})
