import { expect, test } from 'bun:test'
import { SharedAnswers } from '../../../src/video/nvdec/shared-answers.ts'
import type { Questions } from './shared-answers.worker.ts'

test('each question is asked once, by whichever object has it first', () => {
  const handle = SharedAnswers.create(2)
  let asked = 0
  const ask = () => {
    asked++
    return [7, -8]
  }
  expect(new SharedAnswers(handle).get(5, ask)).toEqual([7, -8])
  expect(new SharedAnswers(handle).get(5, ask)).toEqual([7, -8])
  expect(asked).toBe(1)
  expect(new SharedAnswers(handle).get(6, () => [1, 2])).toEqual([1, 2])
  expect(new SharedAnswers(handle).get(5, ask)).toEqual([7, -8])
  expect(asked).toBe(1)
})

test('a question that failed is asked again', () => {
  const answers = new SharedAnswers(SharedAnswers.create(1))
  expect(() =>
    answers.get(1, () => {
      throw new Error('no answer')
    }),
  ).toThrow('no answer')
  expect(answers.get(1, () => [3])).toEqual([3])
})

test('more questions than are kept get their answers all the same', () => {
  const answers = new SharedAnswers(SharedAnswers.create(1))
  for (const _round of [1, 2])
    for (let key = 0; key < 200; key++) expect(answers.get(key, () => [key])).toEqual([key])
})

test('threads that have the same questions at the same time hear the same, each asked once', async () => {
  const keys = Array.from({ length: 40 }, (_, key) => key)
  const asked = new SharedArrayBuffer(4 * keys.length)
  const handle = SharedAnswers.create(2)
  const workers = [1, 2, 3].map(() => new Worker(new URL('./shared-answers.worker.ts', import.meta.url)))
  const heard = await Promise.all(
    workers.map(
      (worker, i) =>
        new Promise((resolve, reject) => {
          worker.onmessage = ({ data }) => resolve(data)
          worker.onerror = reject
          const order = i === 0 ? keys : keys.toReversed()
          worker.postMessage({ handle, keys: order, asked } satisfies Questions)
        }),
    ),
  )
  for (const worker of workers) worker.terminate()
  const expected = keys.map(key => [key, key * key])
  expect(heard).toEqual([expected, expected.toReversed(), expected.toReversed()])
  expect([...new Int32Array(asked)]).toEqual(keys.map(() => 1))
})
