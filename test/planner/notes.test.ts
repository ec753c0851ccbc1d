import { expect, test } from 'bun:test'
import { notesOf } from '../../src/cli/plan-notes.ts'
import type { PlanFlags } from '../../src/cli/plan-request.ts'
import type { Planned } from '../../src/planner/planning.ts'
import type { Proven } from '../../src/planner/proof/prove.ts'

/** As far as notes look at it. */
const planned = {
  found: { ended: 'proven', evaluated: 3, size: 3, beyondBound: 0 },
  plans: [{ arrangement: { config: { pipeline: [] } }, bulk: { aborted: false } }],
  unknown: [],
} as unknown as Planned
const flags = {} as PlanFlags
const proven = (more: Partial<Proven>): Proven =>
  ({ end: { winner: 0, values: [[-40, -60]] }, interrupted: false, ...more }) as Proven
const heldOut = { seed: 1, requests: 1 }

test('a plan says what its proof does not tell', () => {
  expect(notesOf(flags, planned, proven({ heldOut }))).toEqual([])
  expect(notesOf(flags, planned, proven({}))).toEqual([
    expect.stringContaining('a seed that no run before had'),
  ])
  // Whoever ended it knows why.
  expect(notesOf(flags, planned, proven({ interrupted: true }))).toEqual([])
  expect(notesOf({ ...flags, no_proof: true }, planned, undefined)).toEqual([
    expect.stringContaining('--no-proof'),
  ])
  expect(notesOf(flags, planned, undefined)).toEqual(['not proven: no run gave figures'])
})

test('a plan whose runs were over the limit says in how many', () => {
  const [note] = notesOf({ ...flags, slo_ms: 50 }, planned, proven({ heldOut }))
  expect(note).toBe("p99 was over 50 ms in 1 of the winner's 2 runs")
  expect(notesOf({ ...flags, slo_ms: 60 }, planned, proven({ heldOut }))).toEqual([])
})
