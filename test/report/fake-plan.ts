import type { DocumentPlan, PlanDocument } from '../../src/planner/document.ts'

const one = (
  name: string,
  videos_per_s: number,
  p99_ms: number,
  measured: number[],
  on_front = true,
): DocumentPlan => ({
  name,
  summary: 'loader: 1 on gpu 0; network: 2 on gpu 0; batches of 4, 2 ms',
  predicted: { videos_per_s, rate_per_s: 200, p50_ms: p99_ms / 3, p99_ms },
  on_front,
  measured,
})

/** A plan such as `rnb plan` writes. */
export function fakePlan(more: Partial<PlanDocument> = {}): PlanDocument {
  const plans = [
    one('plan-1', 300, 40, [290, 295, 301]),
    one('plan-2', 280, 30, [280, 284, 288]),
    one('plan-3', 270, 35, [262], false),
    { ...one('given', 0, 0, [200], false), predicted: null },
  ]
  const config = { pipeline: [{ model: 'loader', queue_groups: [{ gpus: [0] }] }] }
  return {
    type: 'plan',
    version: '0.0.0',
    pipeline: 'whole.json',
    goal: { maximize: 'throughput', figure: 'videos_per_s' },
    machine: { gpus: 1, gpu: { compute: 1, nvdec: 7 }, host: { cores: 16 }, hosts: 1, simulated: false },
    sample: { requests: 1000, seed: 0 },
    search: {
      plans: 5000,
      tried: 120,
      ended: 'proven',
      bound: 303,
      gap: 0.01,
      refused: { 'no such plan': 3 },
      beyond_bound: 0,
    },
    winner: {
      ...plans[0]!,
      arrangement: { config, batch: 4, maxBatchDelayMs: 2, perGpuQueue: false, queueSize: 500 },
      use: { 'gpu 0 nvdec': 0.98, 'gpu 0 compute': 0.4, 'step 0 (loader) on gpu 0, replica 0': 0.7 },
      command: 'rnb run -c plan/pipeline.json --batch_size=4',
    },
    plans,
    bottleneck: { per_s: 303, shares: { 'GPU nvdec': 1 } },
    more: [
      { what: 'one more GPU', from: 300, to: 598 },
      { what: 'one more core of the host', from: 300, to: 304 },
    ],
    proof: {
      verdict: 'the winner is better than every other that was left, by the test',
      test: 'a test',
      seeds: [1000, 1001, 1002],
      requests: 2000,
      held_out: {
        seed: 1008,
        rate_per_s: 200,
        figures: {
          videos_per_s: { predicted: 300, measured: 296, error: 0.0135 },
          p50_ms: { predicted: 13, measured: 14, error: -0.071 },
          p99_ms: { predicted: 40, measured: 43, error: -0.07 },
        },
      },
      gain_over_given: 0.47,
    },
    seconds: { profile: 200, search: 60, proof: 300 },
    notes: [],
    ...more,
  }
}
