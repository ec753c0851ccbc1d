import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { drawSchedule } from '../../src/client/schedule.ts'
import { UsageError } from '../../src/errors.ts'
import { syntheticService } from '../../src/simulator/service.ts'
import { simulate } from '../../src/simulator/simulate.ts'
import { planOf } from '../pipeline/random/execute.ts'
import { type RandomRun, randomRun } from '../pipeline/random/pipelines.ts'

function planned(run: RandomRun) {
  try {
    return planOf(run)
  } catch (error) {
    if (error instanceof UsageError) return undefined
    throw error
  }
}

function simulatedRun(run: RandomRun, { plan, settings }: ReturnType<typeof planOf>) {
  const arrival =
    run.intervalMs === 0
      ? { kind: 'bulk' as const }
      : { kind: 'poisson' as const, meanIntervalMs: run.intervalMs }
  return simulate({
    plan,
    settings,
    overload: { onFull: run.onFull, timeoutNs: run.timeoutMs * 1e6 },
    schedule: drawSchedule(arrival, { videos: run.requests, seed: run.seed }),
    service: syntheticService(run.seed),
    ...(run.concurrency !== undefined && { concurrency: run.concurrency }),
  })
}

/** With times as their bits: no NaN equals another. */
const bits = (result: ReturnType<typeof simulate>) => ({
  ...result,
  endNs: new BigUint64Array(result.endNs.slice().buffer),
})

test('any pipeline ends, loses nothing, keeps its bounds, and does the same again', () => {
  let plans = 0
  fc.assert(
    fc.property(randomRun, run => {
      const planning = planned(run)
      if (!planning) return
      plans++
      const { plan } = planning
      const result = simulatedRun(run, planning)
      plan.queues.forEach(({ capacity }, id) => {
        expect(result.highWater[id]).toBeLessThanOrEqual(capacity)
      })
      expect(bits(simulatedRun(run, planning))).toEqual(bits(result))
      if (result.ending.kind === 'full') {
        expect(run.onFull).toBe('abort')
        expect(result.highWater[result.ending.queue]).toBe(plan.queues[result.ending.queue]!.capacity)
        return
      }
      expect(result.waiting).toBe(0)
      expect(result.slotsHeld).toEqual(plan.instances.map(() => 0))
      expect(result.endNs.every((end, request) => end >= result.intendedNs[request]!)).toBeTrue()
      // A request that has no result has a reason, in one of its branches at least.
      const lost = result.succeeded.filter(done => done === 0).length
      const reasons = [...result.failures.values()].reduce((sum, count) => sum + count, 0)
      expect(reasons).toBeGreaterThanOrEqual(lost)
      expect(lost > 0).toBe(reasons > 0)
      if (run.onFull !== 'drop') expect(result.failures.has('queue_full')).toBeFalse()
      if (run.timeoutMs === Number.POSITIVE_INFINITY) expect(result.failures.has('timeout')).toBeFalse()
    }),
    { numRuns: 400 },
  )
  expect(plans).toBeGreaterThan(200)
}, 60_000)
