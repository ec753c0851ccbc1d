import { expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { pipeline, run } from './rnb.ts'

const REQUESTS = 10
const CLASSES = 5
/** More parts of a video than this make time cards larger than they need be. */
const MOST_PARTS = 24
const RUNS = Number(process.env.RNB_RANDOM_RUNS ?? 12)

const classOf = (request: number): number => (request * 3 + 1) % CLASSES
const clipsOf = (request: number): number => 1 + ((request * 7) % 6)

/** Videos without a decoder: clips that vote for a class, which depends on the request. */
const SOURCE = `export default class {
  static shape() {
    return { outputs: [{ shape: [6, ${CLASSES}] }] }
  }
  run(inputs, card) {
    const [{ id }] = card.requests
    const [{ data, shape }] = card.allocate(1 + ((id * 7) % 6))
    data.fill(0)
    for (let row = 0; row < shape[0]; row++) data[row * ${CLASSES} + ((id * 3 + 1) % ${CLASSES})] = 4
  }
}`

/** What arrives leaves. */
const PASS = `export default class {
  static shape({ inputs }) {
    return { outputs: inputs.map(({ shape }) => ({ shape })) }
  }
  run([{ data, shape }], card) {
    card.allocate(shape[0])[0].data.set(data)
  }
}`

const pick = fc.record({
  kind: fc.constantFrom('pass', 'pass', 'batcher', 'join'),
  from: fc.nat(),
  and: fc.nat(),
  segments: fc.integer({ min: 1, max: 3 }),
  queues: fc.integer({ min: 1, max: 2 }),
  replicas: fc.integer({ min: 1, max: 2 }),
  slots: fc.integer({ min: 1, max: 3 }),
  batch: fc.integer({ min: 1, max: 3 }),
  selector: fc.constantFrom('round-robin', 'shortest', 'large-small', 'same-gpu'),
})
type Pick = typeof pick extends fc.Arbitrary<infer T> ? T : never

interface Node extends Pick {
  sources: number[]
}

/** Steps, each of which reads from one before it, or joins two. */
function treeOf(picks: readonly Pick[]): Node[] {
  const nodes: Node[] = []
  for (const [s, next] of picks.entries()) {
    if (s === 0) nodes.push({ ...next, kind: 'pass', sources: [] })
    else {
      const sources = next.kind === 'join' ? [...new Set([next.from % s, next.and % s])] : [next.from % s]
      nodes.push({ ...next, sources })
    }
  }
  return nodes
}

/** A pipeline of these steps; what would leave it in several parts is joined first. */
function stepsOf(nodes: Node[]): Record<string, unknown>[] {
  const leaving: number[] = []
  const segments: number[] = []
  const arriving: number[] = []
  const all = [...nodes]
  for (let s = 0; s < all.length; s++) {
    const { kind, sources, segments: wanted } = all[s]!
    arriving[s] = s === 0 ? 1 : sources.reduce((sum, source) => sum + leaving[source]!, 0)
    const whole = kind === 'join' ? 1 : arriving[s]!
    const read = nodes.some(node => node.sources.includes(s))
    segments[s] = read && whole * wanted <= MOST_PARTS / 2 ? wanted : 1
    leaving[s] = whole * segments[s]!
    if (!read && leaving[s]! > 1) all.push({ ...all[s]!, kind: 'join', sources: [s] })
  }
  const readers = all.map((_, s) => all.filter(({ sources }) => sources.includes(s)))
  // Parts of a video meet in one instance, which takes from one queue.
  const queues = all.map(({ queues }, s) => (readers[s]!.some(({ kind }) => kind === 'join') ? 1 : queues))
  return all.map(({ kind, sources, replicas, slots, batch, selector }, s) => {
    const count = s === 0 ? 1 : queues[sources[0]!]!
    const out =
      readers[s]!.length === 0 ? {} : { out_queues: Array.from({ length: queues[s]! }, (_, q) => q) }
    const gpus = Array<number>(kind === 'join' ? 1 : replicas).fill(-1)
    return {
      model:
        s === 0 ? './source.ts' : kind === 'pass' ? './pass.ts' : kind === 'join' ? 'aggregator' : 'batcher',
      ...(s > 0 && { inputs: sources }),
      ...(kind === 'batcher' && { batch }),
      ...(kind === 'join' && { aggregate: arriving[s] }),
      queue_groups: Array.from({ length: count }, (_, q) => ({
        gpus,
        ...(s > 0 && { in_queue: q }),
        ...out,
      })),
      ...(readers[s]!.length > 0 && {
        num_shared_tensors: slots,
        num_segments: segments[s],
        queue_selector: queues[s] !== 2 && selector === 'large-small' ? 'shortest' : selector,
      }),
    }
  })
}

/** All at once, or into queues that are nearly always full. */
const load = fc.constantFrom(['-mi', '0'], ['-mi', '1', '-qs', '1', '--on-full', 'wait'])

test('any graph of steps: every request has one result of every last step, and it is the right one', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(pick, { minLength: 2, maxLength: 7 }), load, async (picks, flags) => {
      const steps = stepsOf(treeOf(picks))
      const config = pipeline(steps, { weights: undefined, labels: undefined })
      for (const [name, text] of [
        ['source.ts', SOURCE],
        ['pass.ts', PASS],
      ] as const)
        writeFileSync(join(dirname(config), name), text)
      const { status, stderr, results, summary } = await run(config, ['-v', String(REQUESTS), ...flags])
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
      expect(results.map(({ id }) => id)).toEqual(Array.from({ length: REQUESTS }, (_, id) => id))
      for (const { id, top, clips, branches = [{ top }] } of results) {
        expect(clips).toBe(clipsOf(id))
        for (const branch of branches) expect(branch.top![0]!.index).toBe(classOf(id))
      }
      const leaves = steps.filter(
        (_, s) => !steps.some(step => (step.inputs as number[] | undefined)?.includes(s)),
      )
      expect(summary.branches?.length ?? 1).toBe(leaves.length)
      for (const { completed, failed } of summary.branches ?? [])
        expect([completed, failed]).toEqual([REQUESTS, 0])
      for (const { high_water, capacity } of summary.queues) expect(high_water).toBeLessThanOrEqual(capacity)
    }),
    { numRuns: RUNS, endOnFailure: true },
  )
}, 600_000)
