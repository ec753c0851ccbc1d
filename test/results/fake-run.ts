import { readdirSync } from 'node:fs'
import type { RunFacts } from '../../src/results/facts.ts'
import { Ledger } from '../../src/results/ledger.ts'
import type { RnbArguments } from '../../src/results/log-folder.ts'
import type { StepFlow } from '../../src/results/time-card.ts'
import { Rng, seedOf } from '../../src/rng.ts'

export const START_NS = 5_000_000_000_123

export const FLAGS: RnbArguments = {
  batch_size: 1,
  check: false,
  config_file_path: 'config/r2p1d-whole.json',
  mean_interval_ms: 90,
  per_gpu_queue: false,
  queue_size: 500,
  videos: 500,
}

/** Steps each of which reads from the one before; what does not split or join passes on what arrives. */
export const linear = (steps: readonly { parts: number; segments: number }[]): StepFlow[] =>
  steps.map((step, s) => ({
    ...step,
    leaving: steps[s + 1]?.parts ?? step.segments,
    sources: s === 0 ? [] : [s - 1],
  }))

/** A loader and a network. */
export const TWO_STEPS: StepFlow[] = linear([
  { parts: 1, segments: 1 },
  { parts: 1, segments: 1 },
])
/** A loader that splits in three, a network, an aggregator. */
export const SPLIT_STEPS: StepFlow[] = linear([
  { parts: 1, segments: 3 },
  { parts: 3, segments: 1 },
  { parts: 3, segments: 1 },
])

export function factsOf(
  requests: number,
  steps: readonly StepFlow[],
  more: Partial<RunFacts> = {},
): RunFacts {
  return {
    plan: {
      name: 'fake',
      hash: 'abcdef012345',
      steps: steps.map((step, s) => ({ ...step, kind: `kind${s}` })),
      instances: steps.flatMap((_, step) =>
        [0, 1].map(replica => ({ name: `step ${step}, replica ${replica}`, step, device: -1, replica })),
      ),
      queues: [
        { name: 'filename', capacity: 500 },
        { name: 'step0-step1 queue 0', capacity: 20 },
      ],
      notes: [],
    },
    ledger: new Ledger(Ledger.create({ requests, parts: steps.map(step => step.parts), top: 2 })),
    video: request => `/videos/${request}.mp4`,
    warmup: 0,
    load: { loop: 'open', arrival: 'poisson' },
    seed: 1,
    weights: 'random:1',
    arguments: { videos: requests },
    versions: { rnb: '0.0.0' },
    ...more,
  }
}

/** The events of one request, in ns after the start: what a test knows apart from the ledger. */
export interface Truth {
  intended: number
  actual: number
  /** By step and part. */
  cells: { runnerStart: number; inferenceStart: number; inferenceFinish: number }[][]
}

/** Writes a request that passes all steps, with random times and `parts` parts where it is split. */
export function pass(
  facts: RunFacts,
  request: number,
  intended: number,
  rng: Rng,
  parts = Number.POSITIVE_INFINITY,
): Truth {
  const { ledger, plan } = facts
  const truth: Truth = { intended, actual: intended + rng.int(1e5), cells: [] }
  ledger.arrive(request, START_NS + intended, START_NS + truth.actual)
  ledger.note(request, { clips: 2, framesNeeded: 16, framesDecoded: 20 + request, decoder: 'fake h264' })
  let ready = [truth.actual]
  plan.steps.forEach((step, s) => {
    const count = Math.min(step.parts, parts)
    const cells = Array.from({ length: count }, (_, part) => {
      const runnerStart = ready[Math.min(part, ready.length - 1)]! + rng.int(5e6)
      const inferenceStart = runnerStart + rng.int(1e5)
      return { runnerStart, inferenceStart, inferenceFinish: inferenceStart + 1 + rng.int(2e7) }
    })
    const leaves = (plan.steps[s + 1]?.parts ?? 1) / step.segments
    if (leaves < step.parts) {
      // A join is done when its last part has come.
      const last = Math.max(...cells.map(cell => cell.inferenceStart))
      for (const cell of cells) cell.inferenceFinish = last + 1000
    }
    const replica = rng.int(2)
    cells.forEach((cell, part) => {
      ledger.place(request, part, s, -1, replica, 1 + s)
      ledger.stamp(request, part, s, 'runnerStart', START_NS + cell.runnerStart)
      ledger.stamp(request, part, s, 'inferenceStart', START_NS + cell.inferenceStart)
      if (part < leaves) ledger.stamp(request, part, s, 'inferenceFinish', START_NS + cell.inferenceFinish)
    })
    ready = cells.map(cell => cell.inferenceFinish)
    truth.cells.push(cells)
  })
  ledger.finish(request, [
    { index: 3, score: 0.75 },
    { index: 1, score: 0.25 },
  ])
  return truth
}

/** A run of which all requests are in the ledger. */
export function fakeRun(
  requests: number,
  steps: readonly StepFlow[] = TWO_STEPS,
  more: Partial<RunFacts> = {},
) {
  const facts = factsOf(requests, steps, more)
  const rng = new Rng(seedOf('fake run', requests))
  const truths = Array.from({ length: requests }, (_, request) => pass(facts, request, request * 1e7, rng))
  return { facts, truths, finish: (request: number) => truths[request]!.cells.at(-1)![0]!.inferenceFinish }
}

export const filesOf = (folder: string): string[] => readdirSync(folder).sort()
