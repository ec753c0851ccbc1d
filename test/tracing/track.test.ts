import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { createNames, RECORD, type TraceRecord, Track } from '../../src/tracing/buffer.ts'
import { ThreadTrace } from '../../src/tracing/thread.ts'

const NS = fc.integer({ min: 1, max: 2 ** 52 })
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
  fc.record({ kind: fc.constant('visit' as const), name: fc.constant(''), a: NS, b: NS, c: small, d: small }),
  fc.record({ kind: fc.constant('depth' as const), name: fc.constant(''), a: NS, b: NS, c: small, d: small }),
)

test('a track keeps the last records that fit, in order, and counts the others', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.array(write, { maxLength: 40 }), (room, writes) => {
      const handle = structuredClone(Track.create(createNames(), room))
      const track = new Track(handle)
      const expected = writes.map(({ kind, name, a, b, c, d }): TraceRecord => {
        if (kind === 'span') {
          track.span(name, a, b, c, d)
          return { kind: RECORD.span, name, beginNs: a, endNs: b, request: c, part: 0, amount: d }
        }
        if (kind === 'visit') track.visit(c, d, a, b % 1000)
        else track.depth(c, a, d)
        const own = kind === 'visit' ? { part: d, amount: b % 1000 } : { part: 0, amount: d }
        return { kind: RECORD[kind], name: 'other', beginNs: a, endNs: a, request: c, ...own }
      })
      // A second view of the memory, as the thread has it that reads.
      const other = new Track(handle)
      expect([...other.records()]).toEqual(expected.slice(-room))
      expect([other.written, other.lost]).toEqual([writes.length, Math.max(0, writes.length - room)])
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
