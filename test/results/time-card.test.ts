import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { type StepFlow, TimeCards } from '../../src/results/time-card.ts'
import { Rng, seedOf } from '../../src/rng.ts'
import { factsOf, linear, pass, SPLIT_STEPS, START_NS, TWO_STEPS } from './fake-run.ts'

const header = (steps: StepFlow[]): string => {
  const cards = new TimeCards(factsOf(1, steps).ledger, steps)
  return [...cards.columns(), ...cards.deviceColumns()].map(({ name }) => name).join(' ')
}

describe("columns are RnB's, in RnB's order", () => {
  test('of one step', () =>
    expect(header(linear([{ parts: 1, segments: 1 }]))).toBe(
      'enqueue_filename runner0_start inference0_start inference0_finish gpu0',
    ))

  test('of two steps', () =>
    expect(header(TWO_STEPS)).toBe(
      'enqueue_filename runner0_start inference0_start inference0_finish ' +
        'runner1_start inference1_start inference1_finish gpu0 gpu1',
    ))

  // TimeCard.merge: a column a part for what came after the fork; the aggregator's finish comes after the merge.
  test('of parts that are joined again', () =>
    expect(header(SPLIT_STEPS)).toBe(
      'enqueue_filename runner0_start inference0_start inference0_finish ' +
        'runner1_start-0 runner1_start-1 runner1_start-2 ' +
        'inference1_start-0 inference1_start-1 inference1_start-2 ' +
        'inference1_finish-0 inference1_finish-1 inference1_finish-2 ' +
        'runner2_start-0 runner2_start-1 runner2_start-2 ' +
        'inference2_start-0 inference2_start-1 inference2_start-2 inference2_finish ' +
        'gpu0 gpu1-0 gpu1-1 gpu1-2 gpu2',
    ))
})

/** Random pipelines in which videos are split, pass some steps, and are joined, any number of times. */
const pipelines = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 2 })), {
    minLength: 1,
    maxLength: 3,
  })
  .map(blocks =>
    linear(
      blocks.flatMap(([parts, steps]) => [
        { parts: 1, segments: parts },
        ...Array.from({ length: steps }, () => ({ parts, segments: 1 })),
        { parts, segments: 1 },
      ]),
    ),
  )

test('the stages of a request add up to its latency, along the part that was done last', () => {
  fc.assert(
    fc.property(pipelines, fc.nat(), fc.integer({ min: 1, max: 4 }), (steps, seed, parts) => {
      const facts = factsOf(1, steps)
      const truth = pass(facts, 0, 777, new Rng(seedOf(seed)), parts)
      const cards = new TimeCards(facts.ledger, steps)
      const finish = Math.max(...truth.cells.at(-1)!.map(cell => cell.inferenceFinish))
      expect(cards.finish(0)).toBe(START_NS + finish)
      const stages = cards.stages(0)
      const total = stages.reduce((sum, { queue, wait, run }) => sum + queue + wait + run, 0)
      expect(total).toBe(finish - truth.intended)
      for (const { queue, wait, run } of stages)
        for (const time of [queue, wait, run]) expect(time).toBeGreaterThanOrEqual(0)
    }),
  )
})

test('a part that is absent has not run, and its times are NaN', () => {
  const facts = factsOf(1, SPLIT_STEPS)
  const truth = pass(facts, 0, 0, new Rng(seedOf(1)), 2)
  const cards = new TimeCards(facts.ledger, SPLIT_STEPS)
  expect([0, 1, 2].map(part => cards.ran(0, part, 1))).toEqual([true, true, false])
  const byName = Object.fromEntries(cards.columns().map(column => [column.name, cards.time(0, column)]))
  expect(byName['runner1_start-1']).toBe(START_NS + truth.cells[1]![1]!.runnerStart)
  expect(byName['runner1_start-2']).toBeNaN()
  expect(byName.inference2_finish).toBe(START_NS + truth.cells[2]![0]!.inferenceFinish)
})

test('a joining step waits for the other parts, and runs from the last one', () => {
  const facts = factsOf(1, SPLIT_STEPS)
  const { cells } = pass(facts, 0, 0, new Rng(seedOf(2)))
  const cards = new TimeCards(facts.ledger, SPLIT_STEPS)
  const last = Math.max(...cells[2]!.map(cell => cell.inferenceStart))
  cells[2]!.forEach((cell, part) => {
    expect(cards.partTimes(0, part, 2)).toEqual({
      queue: cell.runnerStart - cells[1]![part]!.inferenceFinish,
      wait: last - cell.runnerStart,
      run: 1000,
    })
  })
})
