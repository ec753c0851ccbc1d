import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { SyntheticPredictor } from '../../src/planner/synthetic.ts'
import type { Arrangement } from '../../src/planner/types.ts'

const time = fc.oneof(
  fc.integer({ min: 0, max: 20 }),
  fc.record({ exponential: fc.integer({ min: 1, max: 20 }) }),
  fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 3 }).map(of => ({ of })),
)
const network = (gpus: number[], more: object) => ({
  model: 'synthetic-network',
  queue_groups: [{ gpus, in_queue: 0 }],
  num_classes: 2,
  ...more,
})
const loader = (gpus: number[], more: object) => ({
  model: 'synthetic-loader',
  queue_groups: [{ gpus, out_queues: [0] }],
  ...more,
})
const arranged = (pipeline: Arrangement['config']['pipeline'], batch = 1): Arrangement => ({
  config: { pipeline },
  batch,
  maxBatchDelayMs: 0,
  perGpuQueue: false,
  queueSize: 1000,
})

describe('a predictor of synthetic steps', () => {
  test('gives a line of two steps the rate and the use that its slower step has', () => {
    const predictor = new SyntheticPredictor({ gpus: 0, gpu: {}, host: {} })
    const { videosPerS, use, p50Ms, completed } = predictor.predict(
      arranged([
        loader([-1, -1], { service_ms: 8, num_clips_population: [1], num_clips_weights: [1] }),
        network([-1], { service_ms: 5 }),
      ]),
      { requests: 1000, seed: 1 },
    )
    // The first is loaded after 8 ms; from there on the loaders finish two every 8 ms, and the network one every 5.
    expect(videosPerS).toBeCloseTo(1000 / 5.008, 6)
    expect(use['step 1 (synthetic-network) on cpu, replica 0']).toBeCloseTo(5 / 5.008, 9)
    expect(p50Ms).toBeCloseTo(8 + 500 * 5, 6)
    expect(completed).toBe(1000)
  })

  test('shares what is shared, and says how much of it is at work', () => {
    const machine = { gpus: 1, gpu: { compute: 1 }, host: { cores: 2 } }
    const { videosPerS, use } = new SyntheticPredictor(machine).predict(
      arranged([
        loader([-1, -1, -1], {
          service_ms: 3,
          busy: true,
          num_clips_population: [1],
          num_clips_weights: [1],
        }),
        network([0, 0], { service_ms: 1 }),
      ]),
      { requests: 3000, seed: 1 },
    )
    // Two cores for three loaders: two in 3 ms.
    expect(videosPerS).toBeGreaterThan(660)
    expect(videosPerS).toBeLessThan(667)
    expect(use['host cores']).toBeCloseTo(1, 2)
    expect(use['gpu 0 compute']).toBeCloseTo(2 / 3, 2)
  })

  test('never demands more than any arrangement spends', () => {
    fc.assert(
      fc.property(
        time,
        time,
        fc.integer({ min: 0, max: 4 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 3 }),
        fc.nat(),
        (loads, computes, perClip, batch, segments, loaders, networks, seed) => {
          const predictor = new SyntheticPredictor({ gpus: 1, gpu: { compute: 1 }, host: { cores: 1 } })
          const load = { requests: 60, seed }
          const pipeline = [
            loader(new Array(loaders).fill(-1), {
              service_ms: loads,
              service_ms_per_clip: perClip,
              busy: true,
              num_clips_population: [1, 4],
              num_clips_weights: [1, 1],
              num_segments: segments,
            }),
            {
              ...network(new Array(networks).fill(0), { service_ms: computes, service_ms_per_clip: perClip }),
              queue_groups: [{ gpus: new Array(networks).fill(0), in_queue: 0, out_queues: [0] }],
            },
            {
              model: 'aggregator',
              queue_groups: [{ gpus: [-1], in_queue: 0 }],
              aggregate: segments,
            },
          ]
          const arrangement = arranged(pipeline, batch)
          const { videosPerS, p99Ms } = predictor.predict(arrangement, load)
          const { config } = arrangement
          const [[first], [second]] = [
            predictor.demand({ config, step: 0, device: -1, mostBatch: batch }, load),
            predictor.demand({ config, step: 1, device: 0, mostBatch: batch }, load),
          ]
          const rounding = 1 + 1e-9
          expect(videosPerS * first!.threadMs).toBeLessThanOrEqual(1000 * loaders * rounding)
          expect(videosPerS * (first!.host.cores ?? 0)).toBeLessThanOrEqual(1000 * rounding)
          expect(videosPerS * second!.threadMs).toBeLessThanOrEqual(1000 * networks * rounding)
          expect(videosPerS * (second!.gpu.compute ?? 0)).toBeLessThanOrEqual(1000 * rounding)
          const least = first!.leastMs.map((ms, request) => ms + second!.leastMs[request]!).sort()
          expect(p99Ms * rounding).toBeGreaterThanOrEqual(least[Math.ceil(0.99 * 60) - 1]!)
        },
      ),
    )
  })
})

test('figures leave a warm-up out as the program does: until so many are done', () => {
  const predictor = new SyntheticPredictor({ gpus: 0, gpu: {}, host: {} })
  const alone = arranged([
    {
      model: 'synthetic-loader',
      queue_groups: [{ gpus: [-1] }],
      service_ms: 5,
      num_clips_population: [1],
      num_clips_weights: [1],
    },
  ])
  const { videosPerS, p50Ms, completed } = predictor.predict(alone, { requests: 100, seed: 1, warmup: 10 })
  expect(videosPerS).toBeCloseTo(200, 9)
  expect(p50Ms).toBeCloseTo(55 * 5, 9)
  expect(completed).toBe(100)
})
