import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ProofOptions, prove } from '../../src/planner/proof/prove.ts'
import type { Arrangement } from '../../src/planner/types.ts'
import type { SummaryLine } from '../../src/results/schema.ts'
import type { Flags } from '../../src/sweep/grid.ts'
import type { PointEnd } from '../../src/sweep/runner.ts'

const folder = mkdtempSync(join(tmpdir(), 'rnb-prove-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const arrangement: Arrangement = {
  config: { pipeline: [] },
  batch: 2,
  maxBatchDelayMs: 5,
  perGpuQueue: true,
  queueSize: 10,
}

/** As much of a summary as is looked at. */
const summaryOf = (videosPerS: number, p99: number, status = 0): SummaryLine =>
  ({
    exit: { status, reason: status === 0 ? 'done' : 'queue_full' },
    throughput: { videos_per_s: videosPerS },
    latency_ms: { p50: p99 / 2, p99 },
  }) as unknown as SummaryLine

interface Run extends Flags {
  entrant: string
}

/** Runs nothing: each run takes a second, and comes to what `figures` says. */
function proving(
  entrants: string[],
  figures: (entrant: string, flags: Flags) => PointEnd,
  more: Partial<ProofOptions> = {},
) {
  const runs: Run[] = []
  let clock = 0
  const proven = prove({
    entrants: entrants.map(name => ({ name, arrangement })),
    goal: { kind: 'throughput' },
    runner: {
      out: folder,
      async run(name, flags) {
        const entrant = name.slice(0, name.indexOf('-seed'))
        runs.push({ ...flags, entrant })
        clock += 1000
        return figures(entrant, flags)
      },
    },
    flags: { device: 'cpu' },
    videosPerS: 100,
    seed: 50,
    budgetMs: 60_000,
    tolerance: 0.01,
    now: () => clock,
    say: () => {},
    ...more,
  })
  return { proven, runs }
}

const measured = (videosPerS: number, p99: number, status?: number): PointEnd => ({
  kind: 'measured',
  summary: summaryOf(videosPerS, p99, status),
  earlier: false,
})

describe('a proof', () => {
  test('runs all under the same seeds, and the winner under one that no run before had', async () => {
    const speeds: Record<string, number> = { a: 100, b: 120, c: 90 }
    const { proven, runs } = proving(['a', 'b', 'c'], (entrant, { seed, rate }) =>
      measured(speeds[entrant]! + Number(seed) / 10, rate ? 10 : 500),
    )
    const { end, seeds, heldOut, requests } = await proven
    expect(end.winner).toBe(1)
    expect(end.verdict).toBe('better')
    expect(seeds).toEqual([50, 51, 52])
    expect(runs.map(({ entrant, seed }) => `${entrant}${seed}`)).toEqual([
      'a50',
      'b50',
      'c50',
      'a51',
      'b51',
      'a52',
      'b52',
      'b58',
      'b58',
    ])
    const [first, ...others] = runs
    expect(first).toMatchObject({
      arrival: 'bulk',
      batch_size: '2',
      max_batch_delay_ms: '5',
      per_gpu_queue: 'true',
      device: 'cpu',
    })
    // All at once, every queue has to have room for them.
    expect(Number(first!.queue_size)).toBe(requests)
    const last = others.at(-1)!
    expect(last).toMatchObject({ rate: '88.06', queue_size: '10' })
    expect(heldOut).toMatchObject({
      seed: 58,
      bulk: { videosPerS: 125.8 },
      atRate: { ratePerS: 88.06, p99Ms: 10 },
    })
  })

  test('at a rate, takes the lowest p99, and leaves out what filled a queue or failed', async () => {
    const { proven, runs } = proving(
      ['full', 'slow', 'fast', 'broken'],
      entrant => {
        if (entrant === 'broken') return { kind: 'failed', message: 'out of memory' }
        return entrant === 'full' ? measured(50, 1, 3) : measured(50, entrant === 'slow' ? 40 : 20)
      },
      { goal: { kind: 'p99', ratePerS: 50 } },
    )
    const { end } = await proven
    expect(end.winner).toBe(2)
    expect(end.left.map(left => left?.reason)).toEqual(['failed', 'test', undefined, 'failed'])
    expect(runs[0]!.rate).toBe('50')
  })

  test('keeps time for the held-out seed, and has at least one run', async () => {
    const short = proving(['a', 'b', 'c'], () => measured(10, 10), { budgetMs: 4500 })
    const { end, heldOut } = await short.proven
    expect(short.runs).toHaveLength(4)
    expect(end.values).toEqual([[10], [10], []])
    expect(heldOut!.bulk!.videosPerS).toBe(10)
    const none = proving(['a', 'b'], () => measured(10, 10), { budgetMs: 0 })
    expect((await none.proven).end).toMatchObject({ winner: 0, values: [[10], []] })
    expect(none.runs).toHaveLength(1)
    expect((await none.proven).heldOut).toBeUndefined()
  })

  test('with little time runs a second plan before the last run under the held-out seed', async () => {
    const loads = async (goal: ProofOptions['goal']) => {
      const { proven, runs } = proving(['a', 'b', 'c'], () => measured(10, 10), { goal, budgetMs: 3000 })
      const { heldOut } = await proven
      return {
        ran: runs.map(({ entrant, seed, rate }) => `${entrant}${seed} ${rate ?? 'bulk'}`),
        known: Object.keys(heldOut!),
      }
    }
    expect(await loads({ kind: 'throughput' })).toEqual({
      ran: ['a50 bulk', 'b50 bulk', 'a58 bulk'],
      known: ['seed', 'requests', 'bulk'],
    })
    expect(await loads({ kind: 'p99', ratePerS: 5 })).toEqual({
      ran: ['a50 5', 'b50 5', 'a58 5'],
      known: ['seed', 'requests', 'atRate'],
    })
  })

  test('ends where people ask for it', async () => {
    let asked = 0
    const { proven, runs } = proving(['a', 'b'], () =>
      ++asked < 2 ? measured(1, 1) : { kind: 'interrupted' },
    )
    expect((await proven).interrupted).toBe(true)
    expect(runs).toHaveLength(2)
  })
})
