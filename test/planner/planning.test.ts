import { describe, expect, test } from 'bun:test'
import { UsageError } from '../../src/errors.ts'
import { type Ask, planFor } from '../../src/planner/planning.ts'
import { usualLimits } from '../../src/planner/space/limits.ts'
import { SyntheticPredictor } from '../../src/planner/synthetic.ts'
import { chain, narrow } from './spaces.ts'

const sample = { requests: 300, seed: 1 }
const ask = (goal: Ask['goal'], more: Partial<Ask> = {}): Ask => ({ goal, sample, tolerance: 0, ...more })
const bulk = { kind: 'throughput' } as const
const at = (ratePerS: number) => ({ kind: 'p99', ratePerS }) as const

describe('a plan', () => {
  test('gives each step as many instances as its time asks for', () => {
    const predictor = new SyntheticPredictor({ gpus: 0, gpu: {}, host: {} })
    // 8 ms and 2 ms, with at most six instances each: the six loaders limit it, and two networks keep up with them.
    const template = chain({ service_ms: 8 }, { service_ms: 2 })
    const { plans, found, limit, advice } = planFor(
      template,
      { ...narrow, cpuReplicas: [1, 2, 3, 4, 5, 6] },
      predictor,
      ask(bulk),
    )
    expect(found.ended).toBe('proven')
    expect(limit.perS).toBeCloseTo(6 / 0.008, 6)
    expect(Object.keys(limit.shares)).toEqual(['threads of step 0'])
    const [loaders, networks] = plans[0].arrangement.config.pipeline.map(
      step => step.queue_groups[0]!.gpus!.length,
    )
    expect(loaders).toBe(6)
    expect(networks).toBeGreaterThan(1)
    const by = Object.fromEntries(advice.map(({ what, value }) => [what.slice(0, 26), value]))
    expect(by['one more replica of step 0']).toBeGreaterThan(1.1 * plans[0].value)
    expect(by['one more replica of step 1']).toBeLessThan(1.01 * plans[0].value)
  })

  test('says what is full, and what one more GPU or core would change', () => {
    const machine = { gpus: 1, gpu: { decoders: 2, compute: 1 }, host: { cores: 4 } }
    const predictor = new SyntheticPredictor(machine)
    const template = chain({ service_ms: 10 }, { service_ms: 1 })
    const limits = {
      ...narrow,
      gpus: [0],
      inFlight: [1, 2, 4],
      replicas: 2,
      loadersOn: ['gpu'] as const,
      networksOn: ['gpu'] as const,
    }
    const { plans, limit, advice } = planFor(template, limits, predictor, ask(bulk))
    expect(limit.shares).toEqual({ 'GPU decoders': expect.closeTo(1, 6) })
    expect(plans[0].value).toBeGreaterThan(195)
    const gpu = advice.find(({ what }) => what === 'one more GPU')
    expect(gpu!.value).toBeGreaterThan(1.9 * plans[0].value)
    const core = advice.find(({ what }) => what === 'one more core of the host')
    expect(core!.value).toBe(plans[0].value)
  })

  test('one more core carries what each of them does, not a whole one', () => {
    // Two cores that carry 1.2: threads of one core, say.
    const machine = { gpus: 0, gpu: {}, host: { cores: 1.2 }, cores: 2 }
    const predictor = new SyntheticPredictor(machine)
    const template = chain({ service_ms: 10, busy: true }, { service_ms: 0.1 })
    const { plans, advice } = planFor(template, { ...narrow, cpuReplicas: [4] }, predictor, ask(bulk))
    const core = advice.find(({ what }) => what === 'one more core of the host')
    expect(core!.value / plans[0].value).toBeCloseTo(1.5, 1)
  })

  test('takes as few GPUs as meet the rate and the latency', () => {
    const machine = { gpus: 4, gpu: { decoders: 4, compute: 1 }, host: {} }
    const predictor = new SyntheticPredictor(machine)
    const template = chain({ service_ms: 10 }, { service_ms: 5 })
    // 200/s a GPU; at 300/s two are three quarters busy.
    const limits = {
      ...narrow,
      gpus: [0, 1, 2, 3],
      inFlight: [4],
      networksOn: ['gpu'] as const,
      loadersOn: ['gpu'] as const,
    }
    const { plans, space } = planFor(template, limits, predictor, ask(at(300), { sloMs: 60 }))
    expect(space.limits.gpus).toEqual([0, 1])
    expect(plans[0].atRate.p99Ms).toBeLessThan(60)
  })

  test('of a demand that cannot be met says why, and what could be', () => {
    const predictor = new SyntheticPredictor({ gpus: 1, gpu: { decoders: 1, compute: 1 }, host: {} })
    const template = chain({ service_ms: 10 }, { service_ms: 2 })
    const limits = {
      ...narrow,
      gpus: [0],
      inFlight: [1, 2],
      loadersOn: ['gpu'] as const,
      networksOn: ['gpu'] as const,
    }
    const failure = (asked: Ask): string => {
      try {
        planFor(template, limits, predictor, asked)
      } catch (error) {
        expect(error).toBeInstanceOf(UsageError)
        return (error as UsageError).message
      }
      throw new Error('a plan was found')
    }
    const rate = failure(ask(at(150)))
    expect(rate).toContain('no plan carries 150 videos/s on 1 GPU')
    expect(rate).toContain('GPU decoders limits every plan to 100')
    expect(Number(/--rate ([\d.]+)/.exec(rate)![1])).toBeLessThanOrEqual(100)
    const least = failure(ask(at(10), { sloMs: 11 }))
    expect(least).toContain('the time in the steps alone, without any wait, has a p99 of 12 ms')
    const slow = failure(ask(at(80), { sloMs: 15 }))
    expect(slow).toContain('p99 within 15 ms')
    const [nearRate, nearSlo] = [/--rate ([\d.]+)/, /--slo-ms ([\d.]+)/].map(of => Number(of.exec(slow)![1]))
    // What it says could be met can be met.
    expect(
      planFor(template, limits, predictor, ask(at(nearRate!), { sloMs: 15 })).plans[0].atRate.p99Ms,
    ).toBeLessThanOrEqual(15)
    expect(
      planFor(template, limits, predictor, ask(at(80), { sloMs: nearSlo! })).plans[0].atRate.p99Ms,
    ).toBeLessThanOrEqual(nearSlo!)
  })

  test('keeps to its time on eight GPUs, and says how far from the best it may be', () => {
    const machine = { gpus: 8, gpu: { decoders: 7, compute: 1 }, host: { cores: 16 } }
    const predictor = new SyntheticPredictor(machine)
    const template = chain({ service_ms: 12 }, { service_ms: 1.5 })
    const limits = { ...usualLimits([0, 1, 2, 3, 4, 5, 6, 7], 16), loadersOn: ['gpu'] as const }
    // A clock that only its readers move: so much for each look.
    let looks = 0
    const { plans, found } = planFor(
      template,
      limits,
      predictor,
      ask(bulk, { searchMs: 60, tolerance: 0.02, now: () => looks++ }),
    )
    expect(found.bound).toBeGreaterThanOrEqual(plans[0].value)
    expect(found.size).toBeGreaterThan(1e5)
    expect(found.evaluated).toBeLessThan(100)
    expect(plans.some(({ onFront }) => onFront)).toBe(true)
    expect(
      new Set(plans[0].arrangement.config.pipeline[1]!.queue_groups.flatMap(({ gpus }) => gpus)).size,
    ).toBeGreaterThan(3)
  })
})
