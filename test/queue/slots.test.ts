import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { Control } from '../../src/queue/control.ts'
import { SlotPool } from '../../src/queue/slots.ts'
import { STOPPED, TIMED_OUT, WOULD_BLOCK } from '../../src/queue/status.ts'

function makePool(slots: number): { pool: SlotPool; control: Control } {
  const control = new Control(Control.create())
  return { pool: new SlotPool(SlotPool.create(slots, control)), control }
}

const operation = fc.record({
  action: fc.constantFrom('acquire', 'acquire', 'retain', 'release', 'release'),
  slot: fc.nat(99),
})

test('behaves as a list of counts', () => {
  const property = fc.property(fc.integer({ min: 1, max: 99 }), fc.array(operation), (slots, ops) => {
    const { pool } = makePool(slots)
    const counts = new Array<number>(slots).fill(0)
    const free = () => counts.filter(count => count === 0).length
    let lowest = slots
    for (const { action, slot } of ops) {
      const count = counts[slot]
      if (action === 'acquire') {
        const expected = counts.indexOf(0)
        expect(pool.tryAcquire()).toBe(expected < 0 ? WOULD_BLOCK : expected)
        if (expected >= 0) counts[expected] = 1
      } else if (count === undefined) {
        expect(() => pool[action as 'retain'](slot)).toThrow(RangeError)
      } else if (count === 0) {
        expect(() => pool[action as 'retain'](slot)).toThrow('has no holder')
      } else {
        pool[action as 'retain'](slot)
        counts[slot] = count + (action === 'retain' ? 1 : -1)
      }
      lowest = Math.min(lowest, free())
      expect(pool.free).toBe(free())
      expect(pool.lowWater).toBe(lowest)
    }
  })
  fc.assert(property, { numRuns: 300 })
})

test('more slots than one bitmap line', () => {
  const { pool } = makePool(2100)
  for (let slot = 0; slot < 2100; slot++) expect(pool.acquire()).toBe(slot)
  expect(pool.tryAcquire()).toBe(WOULD_BLOCK)
  expect(pool.acquire(0)).toBe(TIMED_OUT)
  for (const slot of [2099, 1024, 31]) pool.release(slot)
  expect([pool.acquire(), pool.acquire(), pool.acquire()]).toEqual([31, 1024, 2099])
})

describe('stop', () => {
  test('comes before slots that are free', () => {
    const { pool, control } = makePool(2)
    control.stop(1)
    expect(pool.acquire()).toBe(STOPPED)
    expect(pool.tryAcquire()).toBe(STOPPED)
  })
})

test('wrong use is an error', () => {
  const { pool, control } = makePool(2)
  for (const slots of [0, -1, 1.5, Number.NaN])
    expect(() => SlotPool.create(slots, control)).toThrow(RangeError)
  for (const slot of [-1, 2, Number.NaN]) expect(() => pool.retain(slot)).toThrow(RangeError)
})
