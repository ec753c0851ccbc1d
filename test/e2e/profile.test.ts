import { expect, test } from 'bun:test'
import * as v from 'valibot'
import { profileSchema } from '../../src/profile/schema.ts'
import { lineSchema, type SummaryLine } from '../../src/results/schema.ts'
import { loader, network, type Outcome, oneClip, pipeline, rnb } from './rnb.ts'

const profile = (config: string, args: readonly string[]): Promise<Outcome> =>
  rnb(['profile', '-c', config, '--device', 'cpu', '-mi', '0', '--warmup', '0', ...args])

const lastLines = ({ stdout }: Outcome) => {
  const lines = stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as unknown)
  return {
    summary: v.parse(lineSchema, lines.at(-2)) as SummaryLine,
    profile: v.parse(profileSchema, lines.at(-1)),
  }
}

test('on the CPU it says what steps took, as the summary does, and why there are no kernels', async () => {
  const outcome = await profile(oneClip(), ['-v', '12', '--json', '--quiet'])
  expect([outcome.status, outcome.stderr]).toEqual([0, ''])
  const { summary, profile: made } = lastLines(outcome)
  expect([made.gpus, made.kernels, made.layers]).toEqual([[], [], []])
  expect(made.problems.join()).toContain('the pipeline runs on the CPU')
  expect(made.records.threads_lost).toBe(0)
  expect(made.steps.map(({ kind, calls }) => [kind, calls])).toEqual([
    ['loader', 12],
    ['network', 12],
  ])
  for (const { step, mean_ms, busy_ms, share, threads, parts } of made.steps) {
    // From a call's begin to its end; the summary's ends when the result is handed on, just before.
    const { run_ms } = summary.steps[step]!
    expect(mean_ms).toBeGreaterThanOrEqual(run_ms!.mean * 0.999)
    expect(busy_ms).toBeCloseTo(12 * mean_ms, 1)
    expect(share).toBeCloseTo(busy_ms / 1000 / made.seconds / threads, 3)
    expect(share).toBeLessThanOrEqual(1)
    for (const part of parts) expect(part.total_ms).toBeCloseTo(part.calls * part.mean_ms, 1)
  }
  const [load] = made.steps
  expect(load!.parts.map(({ name }) => name)).toContain('decode')
  // Frames are preprocessed as they are decoded.
  const inside = load!.parts.filter(({ name }) => name === 'open' || name === 'decode')
  expect(inside.reduce((sum, { total_ms }) => sum + total_ms, 0)).toBeLessThanOrEqual(load!.busy_ms)
})

test('a batch is one call, and tables are for people', async () => {
  const config = pipeline([loader(), network({ name: 'motions' })])
  const outcome = await profile(config, ['-v', '8', '-b', '4', '--max-batch-delay-ms', '10000', '--json'])
  expect(outcome.status).toBe(0)
  const { profile: made } = lastLines(outcome)
  expect(made.steps[1]).toMatchObject({ kind: 'network', name: 'motions', calls: 2 })
  expect(outcome.stderr).toContain('step 1 (motions)')
  expect(outcome.stderr).toMatch(/step +threads +calls +ms +mean ms +busy/)
})

test('what cannot start says so, and leaves no profile', async () => {
  const outcome = await profile('/nowhere.json', ['--json'])
  expect([outcome.status, outcome.stdout]).toEqual([2, ''])
})
