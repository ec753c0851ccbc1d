import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { demoVideos, file, listOf, loader, network, oneClip, pipeline, run, scratch } from './rnb.ts'

const config = oneClip()
const intended = (outcome: Awaited<ReturnType<typeof run>>): number[] =>
  outcome.results.map(({ intended_ms }) => intended_ms)

/** To a nanosecond: a float64 of the system's clock holds no more. */
const DIGITS = 5

test('--arrival constant spaces requests evenly', async () => {
  const outcome = await run(config, ['-v', '5', '-mi', '12.5', '--arrival', 'constant', '--warmup', '0'])
  const times = intended(outcome)
  expect(times).toHaveLength(5)
  for (const [i, time] of times.entries()) expect(time).toBeCloseTo(i * 12.5, DIGITS)
  expect(outcome.summary.rate.offered_per_s).toBeCloseTo(80, 3)
})

test('an interval of 0 is bulk: all requests at the start, in queues that hold them', async () => {
  const [zero, bulk] = await Promise.all([
    run(config, ['-v', '6', '-mi', '0', '-qs', '2']),
    run(config, ['-v', '6', '-mi', '9', '-qs', '2', '--arrival', 'bulk']),
  ])
  for (const outcome of [zero, bulk]) {
    expect(outcome.status).toBe(0)
    expect(intended(outcome)).toEqual([0, 0, 0, 0, 0, 0])
    for (const { capacity } of outcome.summary.queues) expect(capacity).toBeGreaterThanOrEqual(6)
  }
})

test('arrivals are drawn from the seed, and --rate says the same as an interval', async () => {
  const [interval, rate, other] = await Promise.all([
    run(config, ['-v', '6', '-mi', '10', '--seed', '3']),
    run(config, ['-v', '6', '--rate', '100', '--seed', '3']),
    run(config, ['-v', '6', '-mi', '10', '--seed', '4']),
  ])
  const times = intended(interval)
  expect(times).toEqual(times.toSorted((a, b) => a - b))
  expect(new Set(times).size).toBe(6)
  for (const [i, time] of intended(rate).entries()) expect(time).toBeCloseTo(times[i]!, DIGITS)
  expect(intended(other)).not.toEqual(times)
})

test('nobody arrives early', async () => {
  const { results } = await run(config, ['-v', '8', '-mi', '5'])
  for (const { intended_ms, actual_ms, latency_ms, latency_actual_ms } of results) {
    expect(actual_ms).toBeGreaterThanOrEqual(intended_ms)
    expect(latency_ms - latency_actual_ms).toBeCloseTo(actual_ms - intended_ms, DIGITS)
  }
})

test('--duration ends arrivals, alone or before --videos does', async () => {
  const even = ['-mi', '20', '--arrival', 'constant', '--duration', '0.1']
  const [alone, more, fewer] = await Promise.all([
    run(config, even),
    run(config, [...even, '-v', '100']),
    run(config, [...even, '-v', '3']),
  ])
  // At 0, 20, 40, 60 and 80 ms; 100 ms is over.
  expect(intended(alone)).toHaveLength(5)
  expect(intended(more)).toHaveLength(5)
  expect(intended(fewer)).toHaveLength(3)
})

test('a duration in which nobody arrives is a run all the same', async () => {
  const { status, summary } = await run(config, ['-mi', '1e6', '--duration', '0.001'])
  expect(status).toBe(0)
  expect(summary.requests).toMatchObject({ asked: 0, arrived: 0, completed: 0, failed: 0 })
  expect(summary.latency_ms).toBeNull()
})

test('--slo-ms counts who was in time', async () => {
  const [generous, strict] = await Promise.all([
    run(config, ['-v', '4', '--warmup', '1', '--slo-ms', '1e6']),
    run(config, ['-v', '4', '--warmup', '1', '--slo-ms', '1e-6']),
  ])
  expect(generous.summary.goodput).toMatchObject({ slo_ms: 1e6, within: 3, fraction: 1 })
  expect(strict.summary.goodput).toMatchObject({ slo_ms: 1e-6, within: 0, fraction: 0 })
})

test('a trace repeats an earlier run: times, videos, clips and so labels; and errors too', async () => {
  const results = join(scratch(), 'results.jsonl')
  const videos = listOf([...demoVideos.slice(0, 5), '/nowhere/gone.mp4'])
  const flags = ['-mi', '4', '--seed', '8', '-v', '12']
  const first = await run(config, [...flags, '--video-root', videos, '--results', results])
  const again = await run(config, ['--seed', '8', '--arrival', `trace:${results}`])
  const part = await run(config, ['--seed', '8', '-v', '4', '--arrival', `trace:${results}`])
  const earlier = await Bun.file(results).text()
  const kept = earlier.split('\n').filter(line => /"type":"(result|error)"/.test(line))
  const outcome = (line: Record<string, unknown>) => [
    line.id,
    line.video,
    line.intended_ms,
    line.top,
    line.code,
  ]
  const expected = kept.map(line => JSON.parse(line)).sort((a, b) => a.id - b.id)
  expect(expected).toHaveLength(12)
  expect(first.status).toBe(0)
  for (const [replayed, count] of [
    [again, 12],
    [part, 4],
  ] as const) {
    expect(replayed.status).toBe(0)
    const lines = [...replayed.results, ...replayed.errors].sort((a, b) => a.id - b.id)
    expect(lines.map(outcome)).toEqual(expected.slice(0, count).map(outcome))
    expect(replayed.summary.load).toEqual({ loop: 'open', arrival: `trace:${results}` })
  }
  expect(again.errors).toHaveLength(2)
})

test('a trace of times alone takes videos as ever; its folder is named by its mean interval', async () => {
  const trace = file('times.jsonl', '{"at_ms": 6}\n{"at_ms": 0.5}\n{"at_ms": 2}\n')
  const logs = scratch()
  const outcome = await run(config, ['--arrival', `trace:${trace}`, '--log-dir', logs])
  expect(intended(outcome)).toEqual([0.5, 2, 6])
  expect(outcome.summary.log_dir).toContain('-mi2.75-')
  expect(outcome.summary.requests).toMatchObject({ asked: 3, completed: 3 })
})

test('bursts come from the seed', async () => {
  const bursts = ['-v', '12', '--arrival', 'mmpp:20@100,2000@5', '--seed', '3', '--warmup', '0']
  const [one, same] = await Promise.all([run(config, bursts), run(config, bursts)])
  expect(one.status).toBe(0)
  expect(intended(one)).toHaveLength(12)
  expect(intended(same)).toEqual(intended(one))
  expect(one.summary.load).toEqual({ loop: 'open', arrival: 'mmpp:20@100,2000@5' })
})

test('a closed loop keeps so many in flight, whatever comes of them, and says what it is', async () => {
  const fork = pipeline([loader(), network({ name: 'a' }), network({ name: 'b', inputs: ['loader'] })])
  const videos = listOf([...demoVideos.slice(0, 3), '/nowhere/gone.mp4'])
  for (const concurrency of [1, 3]) {
    const outcome = await run(fork, [
      ...['-v', '20', '--concurrency', String(concurrency), '--video-root', videos, '--warmup', '0'],
      ...['-qs', String(concurrency)],
    ])
    expect({ status: outcome.status, stderr: outcome.stderr }).toEqual({ status: 0, stderr: '' })
    const { results, errors, summary } = outcome
    expect([results.length, errors.length]).toEqual([15, 5])
    const spans = results.map(({ actual_ms, latency_actual_ms }) => [
      actual_ms,
      actual_ms + latency_actual_ms,
    ])
    for (const [start] of spans) {
      const others = spans.filter(([from, until]) => from! < start! && until! > start!)
      expect(others.length).toBeLessThan(concurrency)
    }
    for (const { intended_ms, actual_ms } of results) expect(intended_ms).toBe(actual_ms)
    expect(summary.load).toEqual({ loop: 'closed', concurrency })
    expect(summary.rate.offered_per_s).toBeNull()
    expect(summary.notes.join()).toContain('closed loop')
  }
})

test('a duration ends a closed loop', async () => {
  const outcome = await run(config, ['--concurrency', '2', '--duration', '0.3', '-v', '100000'])
  expect(outcome.status).toBe(0)
  expect(outcome.results.length).toBe(outcome.summary.requests.arrived)
  for (const { actual_ms } of outcome.results) expect(actual_ms).toBeLessThan(300)
})
