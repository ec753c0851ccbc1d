import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import * as v from 'valibot'
import { cuptiStatus } from '../../ffi/cupti/library.ts'
import { kernelLineSchema, profileSchema } from '../../src/profile/schema.ts'
import { type Outcome, rnb } from '../e2e/rnb.ts'
import { forTheseGpus, GPUS, gpuEnv, onRealGpus, releaseGpus } from './pipelines.ts'

afterAll(releaseGpus)
setDefaultTimeout(180_000)

const cupti = onRealGpus ? cuptiStatus() : { ok: true as const }
if (!cupti.ok) console.warn(`skipped: profiles of GPUs: ${cupti.problem}`)

const VIDEOS = onRealGpus ? 200 : 2

const profiled = (args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> => {
  const config = forTheseGpus([
    { model: 'loader', queue_groups: [{ gpus: [0], out_queues: [0] }] },
    { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0 }] },
  ])
  const flags = ['-v', String(VIDEOS), '-mi', '0', '--warmup', '0', '--device', 'cuda', '--share-gpu']
  return rnb(['profile', '-c', config, ...flags, '--quiet', ...args], { env: { ...gpuEnv(), ...env } })
}

const linesOf = ({ stdout }: Outcome): { type: string }[] =>
  stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as { type: string })

const profileOf = (outcome: Outcome) =>
  v.parse(
    profileSchema,
    linesOf(outcome).find(({ type }) => type === 'profile'),
  )

describe.skipIf(GPUS === 0 || !cupti.ok)('profiles of GPUs', () => {
  test('kernels, launches and layers add up to each other and to the records they come from', async () => {
    const outcome = await profiled(['--json', '--kernels'])
    expect({ status: outcome.status, stderr: outcome.stderr }).toEqual({ status: 0, stderr: '' })
    const { kernels, layers, gpus, seconds, steps, records, problems } = profileOf(outcome)
    expect(problems).toEqual([])
    expect([records.gpu_dropped, gpus.length]).toEqual([0, 1])
    const lines = linesOf(outcome)
      .filter(({ type }) => type === 'kernel')
      .map(line => v.parse(kernelLineSchema, line))

    // Every piece of work is in one row, with the time of its lines.
    for (const { kind, name, calls, span_us, min_us, max_us, own_ms, occupancy } of kernels.filter(
      ({ how }) => how === undefined,
    )) {
      const own = lines.filter(line => line.name === name && line.launch === undefined)
      expect([name, calls]).toEqual([name, own.length])
      const total = own.reduce((sum, { start_s, end_s }) => sum + end_s - start_s, 0)
      expect(total * 1e6).toBeCloseTo(span_us * calls, -1)
      expect(own_ms).toBeLessThanOrEqual(total * 1e3 * 1.001)
      expect(min_us).toBeLessThanOrEqual(max_us)
      if (kind === 'kernel') expect(occupancy!).toBeWithin(0, 1.0001)
    }
    expect(kernels.reduce((sum, { calls }) => sum + calls, 0)).toBe(lines.length)
    expect(kernels.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 3)
    for (const { start_s, end_s } of lines) {
      expect(start_s).toBeGreaterThanOrEqual(0)
      expect(end_s).toBeLessThanOrEqual(seconds)
    }

    // The network's five layers, every launch once a video.
    expect(layers.map(({ step, layer }) => [step, layer])).toEqual([1, 2, 3, 4, 5].map(layer => [1, layer]))
    for (const layer of layers) {
      const sum = layer.launches.reduce((total, { own_ms }) => total + own_ms, 0)
      expect(sum / layer.own_ms).toBeCloseTo(1, 4)
      for (const { name, calls, tflops } of layer.launches) {
        expect([name, calls]).toEqual([name, VIDEOS])
        if (!name.endsWith('.picked')) expect(tflops!).toBeGreaterThan(0)
      }
    }
    const network = lines.filter(({ launch }) => launch !== undefined)
    const requests = new Set(network.map(({ request }) => request))
    expect(requests.size).toBe(VIDEOS)
    expect(layers.flatMap(({ launches }) => launches.map(({ name }) => name))).toEqual([
      ...new Set(network.map(({ launch }) => launch!)),
    ])

    expect(steps.map(({ step, kind, calls }) => [step, kind, calls])).toEqual([
      [0, 'loader', VIDEOS],
      [1, 'network', VIDEOS],
    ])
    // Counters of what was computed as in the run; cuDNN's ways are measured anew, and may be others.
    const counted = layers.flatMap(({ launches }) => launches.flatMap(({ counters }) => counters ?? []))
    expect(counted.length).toBeGreaterThan(2)
    for (const { occupancy, tensor, dram } of counted)
      for (const share of [occupancy, tensor, dram]) expect(share).toBeWithin(0, 1.0001)
  })

  test.skipIf(onRealGpus)(
    'without leave to read counters there is all the rest, and what to do',
    async () => {
      const outcome = await profiled(['--json'], { FAKE_COUNTERS_DENIED: '1' })
      expect(outcome.status).toBe(0)
      const { kernels, layers, problems } = profileOf(outcome)
      expect(problems).toHaveLength(1)
      expect(problems[0]).toContain('no counters of step 1')
      expect(problems[0]).toContain('CUPTI_ERROR_INSUFFICIENT_PRIVILEGES')
      expect(problems[0]).toContain('NVreg_RestrictProfilingToAdminUsers=0')
      expect([kernels.length > 3, layers.length]).toEqual([true, 5])
      for (const { counters } of kernels) expect(counters).toBeUndefined()
    },
  )

  test.skipIf(onRealGpus)('without CUPTI there are the steps, and what to install', async () => {
    const outcome = await profiled(['--json', '--counters=false'], { RNB_CUPTI: '/nowhere/libcupti.so.13' })
    expect(outcome.status).toBe(0)
    const { kernels, steps, problems } = profileOf(outcome)
    expect(kernels).toEqual([])
    expect(steps.map(({ calls }) => calls)).toEqual([VIDEOS, VIDEOS])
    expect(problems.join()).toContain('pip install nvidia-cuda-cupti')
  })
})
