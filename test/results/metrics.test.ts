import { describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { Collector } from '../../src/results/collector.ts'
import { Metrics } from '../../src/results/metrics.ts'
import { fakeRun, TWO_STEPS } from './fake-run.ts'

const promtool = Bun.which('promtool')
if (!promtool)
  console.warn('skipped: promtool is not here to check metrics with (Debian: apt install prometheus)')

/** Value of a line, by its name and labels. */
function values(text: string): Map<string, number> {
  const lines = text.split('\n').filter(line => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map(line => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )
}

async function scrapes() {
  const { facts, truths } = fakeRun(40, TWO_STEPS)
  const collector = new Collector(facts)
  const metrics = new Metrics(facts, collector, () => [7, 2])
  const before = await metrics.text()
  for (let request = 0; request < 20; request++) collector.complete(request)
  const half = await metrics.text()
  for (let request = 20; request < 38; request++) collector.complete(request)
  collector.fail(38, 0, 'truncated', 'its end is missing')
  collector.fail(39, 0, 'truncated', 'its end is missing')
  return { facts, truths, collector, before, half, all: await metrics.text() }
}

describe('metrics', () => {
  test('count what has come so far', async () => {
    const { before, half, all } = await scrapes()
    expect(values(before).get('rnb_results_total')).toBe(0)
    expect(values(half).get('rnb_results_total')).toBe(20)
    expect(values(all).get('rnb_results_total')).toBe(38)
    expect(values(all).get('rnb_requests_total')).toBe(40)
    expect(values(all).get('rnb_errors_total{code="truncated"}')).toBe(2)
    expect(values(all).get('rnb_queue_depth{queue="filename"}')).toBe(7)
    expect(values(all).get('rnb_queue_capacity{queue="filename"}')).toBe(500)
  })
  test('have the latencies of the results', async () => {
    const { facts, collector, all } = await scrapes()
    const latencies = Array.from(
      { length: 38 },
      (_, r) => (collector.cards.finish(r) - facts.ledger.intended(r)) / 1e9,
    )
    const found = values(all)
    expect(found.get('rnb_request_latency_seconds_sum')).toBeCloseTo(
      latencies.reduce((a, b) => a + b),
      6,
    )
    for (const bound of [0.01, 0.05, 0.5])
      expect(found.get(`rnb_request_latency_seconds_bucket{le="${bound}"}`)).toBe(
        latencies.filter(s => s <= bound).length,
      )
    // Stages of all steps add up to the latency.
    const stages = [...found].filter(([name]) => name.startsWith('rnb_stage_seconds_sum'))
    expect(stages.length).toBe(6)
    expect(stages.reduce((sum, [, s]) => sum + s, 0)).toBeCloseTo(
      latencies.reduce((a, b) => a + b),
      6,
    )
  })
  test.skipIf(!promtool)('follow Prometheus’ rules', async () => {
    const { all } = await scrapes()
    const { status, stdout, stderr } = spawnSync(promtool!, ['check', 'metrics'], {
      input: all,
      encoding: 'utf8',
    })
    expect(stdout + stderr).toBe('')
    expect(status).toBe(0)
  })
})
