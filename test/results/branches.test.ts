import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Collector } from '../../src/results/collector.ts'
import type { RunFacts } from '../../src/results/facts.ts'
import { Ledger, STATE } from '../../src/results/ledger.ts'
import { LogFolder, TERMINATION } from '../../src/results/log-folder.ts'
import { Outcomes } from '../../src/results/outcome.ts'
import { averageLines, closingLines } from '../../src/results/people.ts'
import { readLogs } from '../../src/results/read-logs.ts'
import { leavesOf, pathTo, type StepFlow, TimeCards } from '../../src/results/time-card.ts'
import { UnixClock } from '../../src/results/unix-clock.ts'
import { FLAGS, factsOf, filesOf, START_NS } from './fake-run.ts'

const one = { parts: 1, segments: 1, leaving: 1 }
/** One loader, two networks. */
const FORK: StepFlow[] = [
  { ...one, sources: [] },
  { ...one, sources: [0] },
  { ...one, sources: [0] },
]
/** A loader that splits in two; of two networks one is joined alone, and both together. */
const WEB: StepFlow[] = [
  { parts: 1, segments: 2, leaving: 2, sources: [] },
  { parts: 2, segments: 1, leaving: 2, sources: [0] },
  { parts: 2, segments: 1, leaving: 2, sources: [0] },
  { parts: 2, segments: 1, leaving: 1, sources: [1] },
  { parts: 4, segments: 1, leaving: 1, sources: [1, 2] },
]

function facts(steps: StepFlow[], requests: number, more: Partial<RunFacts> = {}): RunFacts {
  const plain = factsOf(requests, steps)
  const leaves = leavesOf(steps).length
  return {
    ...plain,
    ledger: new Ledger(Ledger.create({ requests, parts: steps.map(({ parts }) => parts), top: 2, leaves })),
    ...more,
  }
}

/** Stamps a part's events in a step: begins and finishes so many ms after the start; 0: it does not finish. */
function stamp(
  { ledger }: RunFacts,
  request: number,
  step: number,
  part: number,
  began: number,
  finished: number,
) {
  ledger.place(request, part, step, -1, 0, 1)
  ledger.stamp(request, part, step, 'runnerStart', START_NS + began * 1e6)
  ledger.stamp(request, part, step, 'inferenceStart', START_NS + began * 1e6)
  if (finished > 0) ledger.stamp(request, part, step, 'inferenceFinish', START_NS + finished * 1e6)
}

const end = {
  status: 0,
  reason: 'done',
  endNs: START_NS + 1e9,
  clock: new UnixClock(1_795_385_532, 0),
  highWater: [],
} as const

describe('time cards', () => {
  test('last steps, and the ways to them', () => {
    expect(leavesOf(WEB)).toEqual([3, 4])
    expect(pathTo(WEB, 3)).toEqual([0, 1, 3])
    expect(pathTo(WEB, 4)).toEqual([0, 1, 2, 4])
  })

  test('columns of a way are those of a pipeline that has no other', () => {
    const cards = new TimeCards(facts(WEB, 1).ledger, WEB)
    const names = (step: number) =>
      [...cards.columns(pathTo(WEB, step)), ...cards.deviceColumns(pathTo(WEB, step))]
        .map(({ name }) => name)
        .join(' ')
    expect(names(3)).toBe(
      'enqueue_filename runner0_start inference0_start inference0_finish runner1_start-0 runner1_start-1 ' +
        'inference1_start-0 inference1_start-1 inference1_finish-0 inference1_finish-1 runner3_start-0 runner3_start-1 ' +
        'inference3_start-0 inference3_start-1 inference3_finish gpu0 gpu1-0 gpu1-1 gpu3',
    )
    expect(names(4)).toEndWith(
      'runner4_start-0 runner4_start-1 runner4_start-2 runner4_start-3 inference4_start-0 inference4_start-1 ' +
        'inference4_start-2 inference4_start-3 inference4_finish gpu0 gpu1-0 gpu1-1 gpu2-0 gpu2-1 gpu4',
    )
  })

  test('stages go back along what was waited for, and cover every step', () => {
    const run = facts(WEB, 1)
    run.ledger.arrive(0, START_NS, START_NS)
    stamp(run, 0, 0, 0, 1, 10)
    stamp(run, 0, 1, 0, 11, 20)
    stamp(run, 0, 1, 1, 12, 30)
    stamp(run, 0, 2, 0, 13, 40)
    stamp(run, 0, 2, 1, 14, 60)
    stamp(run, 0, 3, 0, 21, 33)
    stamp(run, 0, 3, 1, 32, 0)
    stamp(run, 0, 4, 0, 22, 65)
    stamp(run, 0, 4, 1, 31, 0)
    stamp(run, 0, 4, 2, 41, 0)
    stamp(run, 0, 4, 3, 61, 0)
    const cards = new TimeCards(run.ledger, WEB)
    expect(cards.finish(0)).toBe(START_NS + 65e6)
    expect([3, 4].map(step => cards.finishOf(0, step))).toEqual([START_NS + 33e6, START_NS + 65e6])
    const ms = (ns: number) => Math.round(ns / 1e6)
    expect(cards.stages(0).map(({ queue, wait, run }) => [ms(queue), ms(wait), ms(run)])).toEqual([
      [1, 0, 9],
      // The second part, for which step 3 waited.
      [2, 0, 18],
      // The second part again, for which step 4 waited.
      [4, 0, 46],
      [2, 0, 1],
      [1, 0, 4],
    ])
  })
})

describe('one decode, two networks', () => {
  const labels = [
    ['left', 'right'],
    ['day', 'night'],
  ]
  /** Three requests: both branches give results; the second branch fails; the loader fails. */
  function collected(writers: ConstructorParameters<typeof Collector>[1] = []) {
    const run = facts(FORK, 3, { labels })
    const collector = new Collector(run, writers)
    collector.start(START_NS)
    for (let request = 0; request < 3; request++) {
      run.ledger.arrive(request, START_NS, START_NS)
      stamp(run, request, 0, 0, 1, request === 2 ? 0 : 2)
    }
    const finish = (request: number, leaf: number, ms: number) => {
      stamp(run, request, 1 + leaf, 0, 3, ms)
      run.ledger.finish(request, [{ index: leaf, score: 0.5 + leaf / 4 }], leaf)
      return collector.complete(request, leaf)
    }
    return { run, collector, finish }
  }

  test('a request is done when both are, with each result under its step', () => {
    const { run, collector, finish } = collected()
    expect(finish(0, 1, 20)).toBe(true)
    expect(collector.completed).toBe(0)
    expect(run.ledger.state(0, 0)).toBe(STATE.pending)
    expect(finish(0, 0, 10)).toBe(true)
    expect(collector.complete(0, 1)).toBe(false)
    expect(collector.completed).toBe(1)
    const line = new Outcomes(run, collector.cards).result(0, START_NS)
    expect(line.latency_ms).toBe(20)
    expect(line.top).toEqual([{ label: 'left', index: 0, score: 0.5 }])
    expect(line.branches).toEqual([
      { step: 1, name: 'kind1', top: [{ label: 'left', index: 0, score: 0.5 }], latency_ms: 10 },
      { step: 2, name: 'kind2', top: [{ label: 'night', index: 1, score: 0.75 }], latency_ms: 20 },
    ])
  })

  test('what fails one keeps the other; what fails before the fork fails both, once', () => {
    const { run, collector, finish } = collected()
    const late = new Outcomes(run, collector.cards).error(1, START_NS, {
      step: 2,
      code: 'late',
      message: 'too late',
    })
    const errors = new Map([[1, late]])
    for (const failsFirst of [true, false]) {
      const request = failsFirst ? 0 : 1
      if (!failsFirst) finish(request, 0, 10)
      expect(collector.fail(request, 2, 'late', 'too late')).toBe(true)
      expect(collector.fail(request, 2, 'late', 'again')).toBe(false)
      if (failsFirst) finish(request, 0, 10)
    }
    expect(collector.fail(2, 0, 'damaged', 'no frames')).toBe(true)
    expect([collector.completed, collector.failed]).toEqual([2, 1])
    expect(new Outcomes(run, collector.cards).result(1, START_NS, errors).branches).toEqual([
      { step: 1, name: 'kind1', top: [{ label: 'left', index: 0, score: 0.5 }], latency_ms: 10 },
      { step: 2, name: 'kind2', error: { step: 2, kind: 'kind2', code: 'late', message: 'too late' } },
    ])
    const summary = collector.summary(end)
    expect(summary.requests).toMatchObject({ completed: 2, failed: 1, unfinished: 0 })
    expect(summary.failures).toEqual({ damaged: 1, late: 2 })
    expect(summary.branches).toMatchObject([
      { step: 1, name: 'kind1', completed: 2, failed: 1, latency_ms: { count: 2, p50: 10 } },
      { step: 2, name: 'kind2', completed: 0, failed: 3, latency_ms: null },
    ])
    expect(summary.steps[2]).toMatchObject({ queue_ms: null, batch_mean: null })
    expect(closingLines(summary)).toContain('step 2 (kind2): 0 results, 3 errors')
  })

  test('a request whose branches failed each by itself is an error', () => {
    const { collector } = collected()
    collector.fail(0, 2, 'late', '')
    expect(collector.failed).toBe(0)
    collector.fail(0, 1, 'early', '')
    expect([collector.completed, collector.failed]).toEqual([0, 1])
  })

  test('lines of averages follow each way, and say what they share once', () => {
    const { collector, finish } = collected()
    finish(0, 0, 10)
    finish(0, 1, 20)
    const lines = averageLines(collector.cards, Uint32Array.of(0), 1)
    expect(lines).toHaveLength(3 + 3 + 3)
    expect(lines).toContain('Average time between inference0_finish and runner2_start: 1.000000 ms')
    expect(lines.join()).not.toContain('inference1_finish and runner2_start')
  })

  const root = mkdtempSync(join(tmpdir(), 'rnb-branches-'))
  afterAll(() => rmSync(root, { recursive: true }))

  test('each last step has a folder of logs, as a pipeline that ends there would leave', async () => {
    const folder = LogFolder.open(root, 'job') as LogFolder
    const { run, collector, finish } = collected([folder.results.lines])
    finish(0, 0, 10)
    finish(0, 1, 20)
    finish(1, 0, 11)
    collector.fail(1, 2, 'late', 'too late')
    await collector.written()
    const summary = collector.summary(end)
    const warnings = await folder.finish({
      facts: run,
      cards: collector.cards,
      done: collector.done,
      flags: FLAGS,
      clock: end.clock,
      startNs: START_NS,
      endNs: end.endNs,
      termination: TERMINATION.targetReached,
      config: { file: 'x.json', text: '{}' },
      summary,
    })
    expect(warnings).toEqual([])
    expect(filesOf(folder.path)).toEqual(
      ['log-meta.txt', 'results.jsonl', 'step1-kind1', 'step2-kind2', 'summary.json', 'x.json'].sort(),
    )
    const rows = ['step1-kind1', 'step2-kind2'].map(name =>
      readLogs(join(folder.path, name)).instances.map(({ times }) => times.length),
    )
    expect(rows).toEqual([
      [2, 0],
      [1, 0],
    ])
    const [first] = readLogs(join(folder.path, 'step2-kind2')).instances
    expect([...first!.columns, ...first!.gpuColumns].join(' ')).toBe(
      'enqueue_filename runner0_start inference0_start inference0_finish ' +
        'runner2_start inference2_start inference2_finish gpu0 gpu2',
    )
    const lines = readFileSync(join(folder.path, 'results.jsonl'), 'utf8').trim().split('\n')
    expect(JSON.parse(lines[1]!)).toMatchObject({
      id: 1,
      branches: [{ step: 1 }, { error: { code: 'late' } }],
    })
  })
})
