import { expect, test } from 'bun:test'
import { Metrics } from '../../ffi/cupti/counters.ts'
import { cuptiStatus } from '../../ffi/cupti/library.ts'
import { countersOfKernels, METRICS } from '../../src/profile/metrics.ts'

const cupti = cuptiStatus()
if (!cupti.ok) console.warn(`skipped: metrics of chips: ${cupti.problem}`)

// What CUPTI knows of chips, it knows without one.
test.skipIf(!cupti.ok).each(['GH100', 'GA100', 'AD102', 'GA102'])('CUPTI has the metrics of %s', chip => {
  const metrics = new Metrics(chip, Object.values(METRICS))
  expect(metrics.image.length).toBeGreaterThan(1000)
  metrics.close()
})

test.skipIf(!cupti.ok)('a chip or a metric that CUPTI does not know is an error by name', () => {
  expect(() => new Metrics('GH000', Object.values(METRICS))).toThrow('CUPTI_ERROR_INVALID_CHIP_NAME')
  expect(() => new Metrics('GH100', ['sm__nothing.sum'])).toThrow('cuptiProfilerHostConfigAddMetrics')
})

test('kernels of a launch weigh as much as they take', () => {
  // In the order of the metrics: percentages, and ns.
  const read = countersOfKernels([
    [50, 90, 10, 3000],
    [10, 0, 50, 1000],
  ])
  expect(read).toEqual({ occupancy: 0.4, tensor: 0.675, dram: 0.2 })
  expect(countersOfKernels([])).toBeUndefined()
})
