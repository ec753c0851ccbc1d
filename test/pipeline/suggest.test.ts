import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { didYouMean, editDistance, nearest } from '../../src/pipeline/suggest.ts'

const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 7 })

describe('edit distance', () => {
  test.each([
    ['kitten', 'sitting', 3],
    ['', 'abc', 3],
    ['flaw', 'lawn', 2],
    ['gpus', 'gups', 1],
    ['ab', 'ba', 1],
  ])('%s, %s', (a, b, distance) => {
    expect(editDistance(a, b)).toBe(distance)
  })

  test('is symmetric, 0 for equal words only, and within the bounds of lengths', () => {
    fc.assert(
      fc.property(word, word, (a, b) => {
        const distance = editDistance(a, b)
        expect(distance).toBe(editDistance(b, a))
        expect(distance === 0).toBe(a === b)
        expect(distance).toBeGreaterThanOrEqual(Math.abs(a.length - b.length))
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length))
      }),
    )
  })

  test('one edit is at most 1 away', () => {
    fc.assert(
      fc.property(word, fc.nat(), fc.constantFrom('insert', 'delete', 'replace', 'swap'), (a, n, edit) => {
        const at = a.length === 0 ? 0 : n % a.length
        const b = {
          insert: `${a.slice(0, at)}x${a.slice(at)}`,
          delete: a.slice(0, at) + a.slice(at + 1),
          replace: `${a.slice(0, at)}x${a.slice(at + 1)}`,
          swap: a.slice(0, at) + (a[at + 1] ?? '') + (a[at] ?? '') + a.slice(at + 2),
        }[edit]
        expect(editDistance(a, b)).toBeLessThanOrEqual(1)
      }),
    )
  })
})

describe('the nearest known word', () => {
  const known = ['in_queue', 'out_queues', 'gpus', 'start_index', 'end_index', 'num_segments']

  test.each([
    ['inqueue', 'in_queue'],
    ['out_queue', 'out_queues'],
    ['GPUs', 'gpus'],
    ['gpu', 'gpus'],
    ['startIndex', 'start_index'],
    ['segments', 'num_segments'],
  ])('%s: %s', (written, meant) => {
    expect(nearest(written, known)).toBe(meant)
  })

  test('nothing is near: all are named', () => {
    expect(nearest('colour', known)).toBeUndefined()
    expect(didYouMean('colour', ['a1', 'b2'])).toBe('known: a1, b2')
    expect(didYouMean('gpu', known)).toBe('did you mean "gpus"?')
  })
})

test('long names that share a beginning are not near for that', () => {
  expect(didYouMean('models.x.Aggregator', ['loader', 'models.x.Loader'], ['loader'])).toBe('known: loader')
})
