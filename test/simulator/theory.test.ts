import { expect, test } from 'bun:test'
import { alone, loader, network, simulated } from './plans.ts'

const REQUESTS = 60_000
const WARM_UP = 2_000
const BATCHES = 29
/** Student's t with 28 degrees of freedom, two-sided 99.9 %. */
const T = 3.674

/** Mean of all latencies in ms, and half the width of its 99.9 % confidence interval by batch means. */
function meanLatency({ endNs, intendedNs }: ReturnType<typeof simulated>) {
  const size = (REQUESTS - WARM_UP) / BATCHES
  const means = Array.from({ length: BATCHES }, (_, batch) => {
    let sum = 0
    for (let i = 0; i < size; i++) {
      const request = WARM_UP + batch * size + i
      sum += (endNs[request]! - intendedNs[request]!) / 1e6
    }
    return sum / size
  })
  const mean = means.reduce((a, b) => a + b, 0) / BATCHES
  const variance = means.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (BATCHES - 1)
  return { mean, half: T * Math.sqrt(variance / BATCHES) }
}

/** Erlang's C: the probability of having to wait for one of `servers`. */
function erlangC(servers: number, load: number): number {
  let blocked = 1
  for (let n = 1; n <= servers; n++) blocked = (load * blocked) / (n + load * blocked)
  return blocked / (1 - (load / servers) * (1 - blocked))
}

const MEAN = { exponential: 1 }
/** At 70 % load, unless it says otherwise; mean service 1 ms. */
const BETWEEN = 1 / 0.7
const mm1 = 1 / (1 - 0.7)
const busy = { busy: true }

test.each([
  { name: 'M/M/1', pipeline: [alone(1, MEAN)], intervalMs: BETWEEN, expected: mm1 },
  { name: 'M/M/3', pipeline: [alone(3, MEAN)], intervalMs: BETWEEN / 3, expected: 1 + erlangC(3, 2.1) / 0.9 },
  {
    name: 'M/M/3 as one instance of three threads',
    pipeline: [alone(1, MEAN, { in_flight: 3 })],
    intervalMs: BETWEEN / 3,
    expected: 1 + erlangC(3, 2.1) / 0.9,
  },
  { name: 'M/D/1', pipeline: [alone(1, 1)], intervalMs: BETWEEN, expected: 1 + 0.7 / (2 * 0.3) },
  {
    name: 'M/M/1 twice in a row',
    pipeline: [loader(1, MEAN, REQUESTS), network(1, { exponential: 0.8 })],
    intervalMs: BETWEEN,
    expected: mm1 + 0.8 / (1 - 0.7 * 0.8),
  },
  // With a thread for each, calls wait for the servers that they share.
  {
    name: 'M/M/2 with two FIFO servers and 200 threads',
    pipeline: [alone(1, MEAN, { in_flight: 200, ...busy })],
    intervalMs: BETWEEN / 2,
    resources: { host: { servers: 2, sharing: 'fifo' as const } },
    expected: 1 + erlangC(2, 1.4) / 0.6,
  },
  // Its mean depends on the mean service alone: 1/(1 - rho) with constant times too.
  {
    name: 'M/D/1 with processor sharing',
    pipeline: [alone(1, 1, { in_flight: 200, ...busy })],
    intervalMs: BETWEEN,
    resources: { host: { servers: 1, sharing: 'even' as const } },
    expected: mm1,
  },
])(
  '$name has the mean latency of theory',
  ({ name: _, expected, ...asked }) => {
    const run = simulated({ ...asked, requests: REQUESTS })
    const { mean, half } = meanLatency(run)
    // An interval so wide would agree with anything.
    expect(half / expected).toBeLessThan(0.15)
    expect(Math.abs(mean - expected)).toBeLessThan(half)
  },
  60_000,
)

test('the numbers in a system of bounded size are those of M/M/1/K', () => {
  // One in service, and four that wait: K = 5. Arrivals that find it full are lost.
  const run = simulated({
    pipeline: [alone(1, MEAN)],
    requests: REQUESTS,
    intervalMs: 1,
    queueSize: 4,
    overload: { onFull: 'drop' },
  })
  // At load 1 all of the K + 1 states are as likely.
  expect(Math.abs(run.failures.get('queue_full')! / REQUESTS - 1 / 6)).toBeLessThan(0.006)
}, 60_000)
