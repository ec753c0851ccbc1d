import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { monotonicNs } from '../../ffi/libc.ts'
import { Control } from '../../src/queue/control.ts'
import { Ring } from '../../src/queue/ring.ts'
import { CLOSED, STOPPED, TIMED_OUT } from '../../src/queue/status.ts'

const NOW = 0
/** Where a ring's memory has its tail position and its first cell (sequence, length, payload). */
const [TAIL, CELL] = [32, 96]
/** Positions around zero, and around where signed and unsigned 32-bit numbers wrap. */
const start = fc.oneof(
  fc.integer({ min: -40, max: 40 }),
  fc.integer({ min: 2 ** 31 - 40, max: 2 ** 31 - 1 }),
  fc.integer({ min: -(2 ** 31), max: -(2 ** 31) + 40 }),
)

function makeRing(
  capacity: number,
  words: number,
  producers: number,
  first = 0,
): { ring: Ring; control: Control } {
  const control = new Control(Control.create())
  return { ring: new Ring(Ring.create(capacity, words, producers, control, first)), control }
}

const message = fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { minLength: 1, maxLength: 20 })
const operation = fc.oneof(
  { weight: 3, arbitrary: message },
  { weight: 2, arbitrary: fc.constant('take' as const) },
)

test('behaves as a bounded list', () => {
  const property = fc.property(
    fc.integer({ min: 1, max: 9 }),
    start,
    fc.array(operation),
    (capacity, first, ops) => {
      const { ring } = makeRing(capacity, 20, 1, first)
      const model: number[][] = []
      let highest = 0
      const into = new Int32Array(20)
      for (const op of ops) {
        if (op === 'take') {
          const expected = model.shift()
          const length = ring.take(into, NOW)
          if (expected) expect(Array.from(into.subarray(0, length))).toEqual(expected)
          else expect(length).toBe(TIMED_OUT)
        } else {
          const fits = model.length < capacity
          if (fits) model.push(op)
          highest = Math.max(highest, model.length)
          expect(ring.put(Int32Array.from(op), op.length)).toBe(fits)
        }
        expect(ring.depth).toBe(model.length)
        expect(ring.highWater).toBe(highest)
      }
      ring.close()
      for (const left of model) {
        const length = ring.take(into)
        expect(Array.from(into.subarray(0, length))).toEqual(left)
      }
      expect(ring.take(into)).toBe(CLOSED)
      expect(ring.take(into)).toBe(CLOSED)
    },
  )
  fc.assert(property, { numRuns: 300 })
})

test('survives many laps across the wrap of its positions', () => {
  const { ring } = makeRing(500, 3, 1, 2 ** 31 - 700)
  const [out, into] = [new Int32Array(3), new Int32Array(3)]
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 500; i++) {
      out.fill(round * 1000 + i)
      expect(ring.put(out, 3)).toBe(true)
    }
    expect(ring.put(out, 3)).toBe(false)
    expect(ring.depth).toBe(500)
    for (let i = 0; i < 500; i++) {
      expect(ring.take(into, NOW)).toBe(3)
      expect(into[2]).toBe(round * 1000 + i)
    }
  }
  expect(ring.highWater).toBe(500)
})

describe('close', () => {
  test('only the last producer ends it', () => {
    const { ring, control } = makeRing(4, 1, 2)
    const handle = Ring.create(4, 1, 2, control)
    const [one, other, taker] = [new Ring(handle), new Ring(handle), new Ring(handle)]
    const word = new Int32Array(1)
    one.close()
    one.close()
    expect(taker.take(word, NOW)).toBe(TIMED_OUT)
    expect(other.put(word, 1)).toBe(true)
    other.close()
    expect(taker.take(word)).toBe(1)
    expect(taker.take(word)).toBe(CLOSED)
    expect(ring.take(word, NOW)).toBe(TIMED_OUT)
  })

  test('wakes a waiting main thread', async () => {
    const { ring } = makeRing(4, 1, 1)
    const waiting = ring.takeAsync(new Int32Array(1))
    ring.close()
    expect(await waiting).toBe(CLOSED)
  })

  test('no put may follow', () => {
    const { ring } = makeRing(4, 1, 1)
    ring.close()
    expect(() => ring.put(new Int32Array(1), 1)).toThrow('after close')
  })
})

describe('stop', () => {
  test('comes before messages that are left, and before closed', () => {
    const { ring, control } = makeRing(4, 1, 1)
    const word = new Int32Array(1)
    ring.put(word, 1)
    control.stop(3)
    expect(ring.take(word)).toBe(STOPPED)
    ring.close()
    expect(ring.take(word)).toBe(STOPPED)
  })

  test('wakes a waiting main thread', async () => {
    const { ring, control } = makeRing(4, 1, 1)
    const waiting = [ring.takeAsync(new Int32Array(1)), ring.takeAsync(new Int32Array(1))]
    control.stop(3)
    expect(await Promise.all(waiting)).toEqual([STOPPED, STOPPED])
  })
})

test('a producer that dies between claim and publication holds up consumers until the stop', async () => {
  const control = new Control(Control.create())
  const handle = Ring.create(4, 1, 2, control)
  const ring = new Ring(handle)
  const word = new Int32Array(1)
  Atomics.add(new Int32Array(handle.memory), TAIL, 1)
  expect(ring.put(word, 1)).toBe(true)
  expect(ring.depth).toBe(2)
  ring.close()
  new Ring(handle).close()
  expect(ring.take(word, NOW)).toBe(TIMED_OUT)
  const waiting = ring.takeAsync(word)
  control.stop(2)
  expect(await waiting).toBe(STOPPED)
})

test('a producer that was overtaken wakes consumers for all that it held up', async () => {
  const control = new Control(Control.create())
  const handle = Ring.create(4, 1, 1, control)
  const memory = new Int32Array(handle.memory)
  const ring = new Ring(handle)
  const [a, b, c] = [new Int32Array(1), new Int32Array(1), new Int32Array(1)]
  const waiting = [ring.takeAsync(a), ring.takeAsync(b), ring.takeAsync(c)]
  Atomics.add(memory, TAIL, 1)
  ring.put(Int32Array.of(11), 1)
  ring.put(Int32Array.of(12), 1)
  // Both wake-ups are spent: the consumers find the first message unpublished and wait again.
  await new Promise(resolve => setImmediate(resolve))
  expect(ring.depth).toBe(3)
  memory.set([1, 10], CELL + 1)
  Atomics.store(memory, CELL, 1)
  control.event(handle.event).notify(1)
  expect(await Promise.all(waiting)).toEqual([1, 1, 1])
  expect([a[0], b[0], c[0]].sort()).toEqual([10, 11, 12])
})

describe('takeAsync', () => {
  test('takes at once what is there, and waits for what is not', async () => {
    const { ring } = makeRing(4, 2, 1)
    const into = new Int32Array(2)
    ring.put(Int32Array.of(7), 1)
    expect(await ring.takeAsync(into)).toBe(1)
    expect(into[0]).toBe(7)
    const waiting = ring.takeAsync(into)
    ring.put(Int32Array.of(8, 9), 2)
    expect(await waiting).toBe(2)
    expect(Array.from(into)).toEqual([8, 9])
  })

  test('keeps its deadline', async () => {
    const { ring } = makeRing(4, 1, 1)
    const deadline = monotonicNs() + 5e6
    expect(await ring.takeAsync(new Int32Array(1), deadline)).toBe(TIMED_OUT)
    expect(monotonicNs()).toBeGreaterThanOrEqual(deadline)
  })
})

test('take keeps its deadline', () => {
  const { ring } = makeRing(4, 1, 1)
  const deadline = monotonicNs() + 5e6
  expect(ring.take(new Int32Array(1), deadline)).toBe(TIMED_OUT)
  expect(monotonicNs()).toBeGreaterThanOrEqual(deadline)
})

test('wrong use is an error', () => {
  const { ring, control } = makeRing(4, 2, 1)
  const words = new Int32Array(3)
  for (const length of [0, -1, 3, Number.NaN]) expect(() => ring.put(words, length)).toThrow(RangeError)
  expect(() => ring.put(new Int32Array(1), 2)).toThrow(RangeError)
  expect(() => ring.take(new Int32Array(1))).toThrow(RangeError)
  for (const capacity of [0, -1, 1.5, Number.NaN, 2 ** 25])
    expect(() => Ring.create(capacity, 1, 1, control)).toThrow(RangeError)
  expect(() => Ring.create(1, 0, 1, control)).toThrow(RangeError)
  expect(ring.depth).toBe(0)
})
