import { describe, expect, test } from 'bun:test'
import { Clock } from '../../src/simulator/clock.ts'
import type { Call } from '../../src/simulator/service.ts'
import { SimulatedTeam } from '../../src/simulator/team.ts'
import { alone, simulated } from './plans.ts'

/** Latencies in ms. */
const latencies = ({ endNs, intendedNs }: ReturnType<typeof simulated>): number[] =>
  Array.from(endNs, (end, request) => (end - intendedNs[request]!) / 1e6)

/** One loader whose threads share: each clip is a piece. */
const sharing = (threads: number, clips: number, ms: number) =>
  alone(1, ms, {
    in_flight: threads,
    share_clips: true,
    num_clips_population: [clips],
    num_clips_weights: [1],
  })

describe('threads that share a call', () => {
  test.each([
    [1, 8, 80],
    [2, 8, 40],
    [4, 8, 20],
    [3, 8, 30],
    [16, 8, 10],
  ])('%d threads, a call of %d clips and 80 ms: %d ms', (threads, clips, ms) => {
    const [latency] = latencies(
      simulated({ pipeline: [sharing(threads, clips, 80)], requests: 1, intervalMs: 0 }),
    )
    expect(latency).toBeCloseTo(ms, 9)
  })

  test('one clip is nobody else’s', () => {
    const run = simulated({ pipeline: [sharing(4, 1, 80)], requests: 2, intervalMs: 0 })
    for (const latency of latencies(run)) expect(latency).toBeCloseTo(80, 9)
  })

  test('what waits comes before help, and nobody is idle while there is any: all is done in the time that it takes', () => {
    const run = simulated({ pipeline: [sharing(2, 4, 40)], requests: 5, intervalMs: 0 })
    // Two at a time, each on its own thread; the last one on both.
    for (const [i, ms] of [40, 40, 80, 80, 100].entries()) expect(latencies(run)[i]).toBeCloseTo(ms, 9)
    expect(run.waiting).toBe(0)
    expect(run.slotsHeld).toEqual([0])
  })

  test('the model is told who has a piece: the owner its first or another one, or a helper', () => {
    const asked = { pipeline: [sharing(2, 4, 40)], requests: 1, intervalMs: 0 }
    const service = {
      stretches: ({ part = 1, by }: Pick<Call, 'part' | 'by'>) => [
        { ms: 40 * part + { owner: 0, beginner: 1, helper: 3 }[by!] },
      ],
    }
    // Pieces of 10 ms: the helper has had two after 26, the owner two after 21.
    expect(latencies(simulated({ ...asked, service }))[0]).toBeCloseTo(26, 9)
  })
})

test('decoders on the host help their like alone, and take the smallest pieces', () => {
  const team = new SimulatedTeam(new Clock(), { decoders: 2 })
  const shares = [0.5, 0.3, 0.2]
  team.offer(0, { request: 7, clips: 15, shares })
  expect([1, 2, 3].map(worker => team.asked(worker))).toEqual([true, false, false])
  expect(team.take(2)).toBeUndefined()
  expect(team.own(0)).toBe(0.5)
  expect(team.take(1)).toEqual({ owner: 0, request: 7, clips: 15, share: 0.3 })
  team.offer(3, { request: 8, clips: 15, shares })
  expect(team.own(3)).toBe(0.2)
  expect(team.take(2)).toEqual({ owner: 3, request: 8, clips: 15, share: 0.3 })
  expect(team.take(0)).toEqual({ owner: 3, request: 8, clips: 15, share: 0.5 })
  expect(team.asked(2)).toBeFalse()
})
