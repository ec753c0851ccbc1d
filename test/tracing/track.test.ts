import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { createNames, RECORD, type TraceRecord, Track } from '../../src/tracing/buffer.ts'
import { ThreadTrace } from '../../src/tracing/thread.ts'

const NS = fc.oneof(fc.integer({ min: 1, max: 2 ** 52 }), fc.integer({ min: 1, max: 1e6 }))
const small = fc.integer({ min: 0, max: 2 ** 31 - 1 })
const write = fc.oneof(
  fc.record({
    kind: fc.constant('span' as const),
    name: fc.constantFrom('open', 'decode', 'é'),
    a: NS,
    b: NS,
    c: small,
    d: small,
  }),
  fc.record({
    kind: fc.constant('visit' as const),
    name: fc.constantFrom('loader', 'open'),
    a: NS,
    b: NS,
    c: small,
    d: small,
  }),
  fc.record({ kind: fc.constant('depth' as const), name: fc.constant(''), a: NS, b: NS, c: small, d: small }),
)

test('a track keeps the last records that fit, in order, and counts the others', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.array(write, { maxLength: 40 }), (room, writes) => {
      const handle = structuredClone(Track.create(createNames(), room))
      const track = new Track(handle)
      const looked = new Map<number, number>()
      const expected = writes.flatMap(({ kind, name, a, b, c, d }): TraceRecord[] => {
        const times = { beginNs: a, endNs: b }
        if (kind === 'span') {
          track.span(name, a, b, c, d)
          return [{ kind: RECORD.span, name, ...times, request: c, part: 0, amount: d }]
        }
        if (kind === 'visit') {
          track.visit(name, a, b, c, d, 3)
          return [{ kind: RECORD.visit, name, ...times, request: c, part: d, amount: 3 }]
        }
        const queue = c % 3
        track.depth(queue, a, { depth: d })
        if (a - (looked.get(queue) ?? 0) < 200_000) return []
        looked.set(queue, a)
        return [
          { kind: RECORD.depth, name: 'other', beginNs: a, endNs: a, request: queue, part: 0, amount: d },
        ]
      })
      // A second view of the memory, as the thread has it that reads.
      const other = new Track(handle)
      expect([...other.records()]).toEqual(expected.slice(-room))
      expect([other.written, other.lost]).toEqual([expected.length, Math.max(0, expected.length - room)])
    }),
  )
})

test('work that is timed gives what it gives, and is noted when it has ended, well or badly', async () => {
  const handle = Track.create(createNames(), 10)
  const trace = new ThreadTrace(handle)
  trace.request = 7
  expect(trace.timed('plain', () => 5)).toBe(5)
  expect(() =>
    trace.timed('throws', () => {
      throw new Error('on purpose')
    }),
  ).toThrow('on purpose')
  const { promise, resolve } = Promise.withResolvers<string>()
  const pending = trace.timed('promise', () => promise)
  expect(new Track(handle).written).toBe(2)
  resolve('late')
  expect(await pending).toBe('late')
  await expect(trace.timed('rejects', () => Promise.reject(new Error('too')))).rejects.toThrow('too')
  const records = [...new Track(handle).records()]
  expect(records.map(({ name, request }) => [name, request])).toEqual(
    ['plain', 'throws', 'promise', 'rejects'].map(name => [name, 7]),
  )
  for (const { beginNs, endNs } of records) expect(endNs).toBeGreaterThanOrEqual(beginNs)
  expect(new ThreadTrace(undefined).timed('untraced', () => 6)).toBe(6)
})
