import { expect, test } from 'bun:test'
import { monotonicNs } from '../../ffi/libc.ts'
import { CallNote, createCalls, StallWatch } from '../../src/pipeline/calls.ts'

const MS = 1e6
const LIMITS = { stallMs: 3000, startMs: 60_000 }
const EVERY = 500

/** Two threads, and what is heard of them: `watch` looks every half second for so long. */
function watched() {
  const memory = createCalls(2)
  let now = 0
  const watch = new StallWatch(memory, LIMITS, EVERY, now)
  return {
    threads: [new CallNote(memory, 0), new CallNote(memory, 1)] as const,
    /** Nobody looks. */
    sleep(ms: number) {
      now += ms * MS
    },
    watch(ms: number) {
      for (let left = ms; left > 0; left -= EVERY) {
        now += EVERY * MS
        const stalls = watch.look(now)
        if (stalls.length > 0) return stalls
      }
      return []
    },
    now: () => now,
  }
}

test('a call that takes too long is named, with its request and how long it has taken', () => {
  const { threads, watch } = watched()
  threads[1].begin('run', 1, [{ request: 7 }])
  expect(watch(3500)).toEqual([])
  expect(watch(1000)).toEqual([
    { thread: 1, message: 'it hangs: at request 7 for 3.5 s, and 3 s is the most (--stall-ms)' },
  ])
})

test('of a batch, how many requests and the first of them', () => {
  const { threads, watch } = watched()
  threads[0].begin('run', 1, [{ request: 7 }, { request: 3 }])
  expect(watch(5000)[0]!.message).toContain('at a batch of 2 requests, 7 the first of them')
})

test('a start may take longer', () => {
  const { threads, watch } = watched()
  threads[0].begin('warm-up', 1)
  expect(watch(60_000)).toEqual([])
  expect(watch(1000)[0]!.message).toMatch(/in its warm-up for 60\.\d s, and 60 s/)
})

test('calls that follow each other are no long call, however long they take together', () => {
  const { threads, watch, now } = watched()
  for (let call = 0; call < 10; call++) {
    threads[0].begin('run', now() + 1)
    expect(watch(2500)).toEqual([])
    threads[0].end()
  }
  expect(watch(10_000)).toEqual([])
})

test('time in which nobody looked, since the process was stopped, is no time of the call', () => {
  const { threads, watch, sleep } = watched()
  threads[0].begin('run', 1)
  expect(watch(1000)).toEqual([])
  sleep(3_600_000)
  expect(watch(1000)).toEqual([])
  expect(watch(3000)).toHaveLength(1)
})

test('what waits for others within a call is not at work', () => {
  const { threads, watch } = watched()
  threads[0].begin('run', monotonicNs())
  const heard = threads[0].pause(() => watch(10_000))
  expect(heard).toEqual([])
  expect(watch(10_000)).toHaveLength(1)
})
