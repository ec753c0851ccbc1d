import { expect, test } from 'bun:test'
import { monotonicNs } from '../../ffi/libc.ts'
import { Barrier } from '../../src/queue/barrier.ts'
import { Control } from '../../src/queue/control.ts'
import { Ring } from '../../src/queue/ring.ts'
import { Semaphore } from '../../src/queue/semaphore.ts'
import { SlotPool } from '../../src/queue/slots.ts'
import { STOPPED, TIMED_OUT } from '../../src/queue/status.ts'

test('the first reason to stop stays', () => {
  const control = new Control(Control.create())
  expect(control.stopped).toBe(0)
  expect(control.stop(4)).toBe(true)
  expect(control.stop(2)).toBe(false)
  expect(new Control(control.handle).stopped).toBe(4)
  for (const reason of [0, 1.5, Number.NaN, 2 ** 31]) expect(() => control.stop(reason)).toThrow(RangeError)
})

test('drain and the start of the clock reach every thread', () => {
  const control = new Control(Control.create())
  const other = new Control(structuredClone(control.handle))
  const now = monotonicNs()
  expect([other.draining, other.startNs]).toEqual([false, 0])
  control.drain()
  control.startNs = now
  expect([other.draining, other.startNs]).toEqual([true, now])
  expect(other.stopped).toBe(0)
})

test('sleepUntil ends at its time, or at once when the run stops or drains', () => {
  const control = new Control(Control.create())
  const deadline = monotonicNs() + 2e6
  expect(control.sleepUntil(deadline)).toBe(true)
  expect(monotonicNs()).toBeGreaterThanOrEqual(deadline)
  control.drain()
  expect(control.sleepUntil(Number.POSITIVE_INFINITY)).toBe(false)
  const stopped = new Control(Control.create())
  stopped.stop(1)
  expect(stopped.sleepUntil(Number.POSITIVE_INFINITY)).toBe(false)
})

test('takes as many rings, pools and barriers as it was made for', () => {
  const control = new Control(Control.create(6))
  Ring.create(1, 1, 1, control)
  SlotPool.create(1, control)
  Semaphore.create(1, control)
  Barrier.create(1, control)
  expect(() => Ring.create(1, 1, 1, control)).toThrow(RangeError)
})

test('a barrier tells the main thread when time is up, and when the run stops', async () => {
  const control = new Control(Control.create())
  const barrier = new Barrier(Barrier.create(2, control))
  expect(await barrier.allArrived(monotonicNs() + 1e6)).toBe(TIMED_OUT)
  const waiting = barrier.allArrived()
  control.stop(1)
  expect(await waiting).toBe(STOPPED)
  expect(barrier.arriveAndWait()).toBe(false)
})
