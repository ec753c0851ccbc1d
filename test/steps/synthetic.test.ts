import { describe, expect, test } from 'bun:test'
import * as v from 'valibot'
import { monotonicNs } from '../../ffi/libc.ts'
import { Rng } from '../../src/rng.ts'
import { drawService, Service, type ServiceTime, serviceTime } from '../../src/steps/synthetic/service.ts'

const draws = (time: ServiceTime, count = 20_000): number[] => {
  const rng = Rng.of(1, 'service times')
  return Array.from({ length: count }, () => drawService(time, () => rng))
}
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length

describe('a service time', () => {
  test('has the moments of its distribution', () => {
    expect(draws(3, 10)).toEqual(new Array(10).fill(3))
    // Standard errors of the means of 20000: 0.035 and 0.004.
    const exponential = draws({ exponential: 5 })
    expect(mean(exponential)).toBeCloseTo(5, 0)
    expect(mean(exponential.map(ms => ms * ms))).toBeGreaterThan(45)
    expect(mean(exponential.map(ms => ms * ms))).toBeLessThan(55)
    const uniform = draws({ uniform: [1, 3] })
    expect(mean(uniform)).toBeCloseTo(2, 1)
    expect(Math.min(...uniform)).toBeGreaterThanOrEqual(1)
    expect(Math.max(...uniform)).toBeLessThanOrEqual(3)
    expect(new Set(draws({ of: [1, 2, 4] }))).toEqual(new Set([1, 2, 4]))
  })
  test.each([-1, 'x', { exponential: -1 }, { uniform: [3, 1] }, { of: [] }, { of: [1], uniform: [0, 1] }])(
    '%p is none',
    time => expect(v.safeParse(serviceTime, time).success).toBeFalse(),
  )
})

describe('a service', () => {
  test.each([true, false])('takes no less than its time (busy: %p)', busy => {
    const service = new Service({ service_ms: 2, service_ms_per_clip: 0.5, busy }, 1, 0)
    const start = monotonicNs()
    service.take(0, 4)
    expect(monotonicNs() - start).toBeGreaterThanOrEqual(4e6)
  })
})
