import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { createNames, Track } from '../../src/tracing/buffer.ts'
import { type TraceSource, traceEvents } from '../../src/tracing/events.ts'

const span = fc.record({
  begin: fc.nat(10_000),
  length: fc.nat(3000),
  request: fc.integer({ min: -1, max: 50 }),
})

test('work that overlaps on a stream stands on tracks beside, each piece once, none over another', () => {
  fc.assert(
    fc.property(fc.array(fc.array(span, { maxLength: 40 }), { minLength: 1, maxLength: 3 }), streams => {
      const names = createNames()
      const tracks = streams.map((spans, stream) => {
        const handle = Track.create(names, 100)
        const track = new Track(handle)
        for (const { begin, length, request } of spans)
          track.work('k', begin, begin + length, request, request < 0 ? undefined : 'stem', length)
        return { name: `stream ${stream}`, handle, gpu: true }
      })
      // Of a run's facts, streams need its name alone.
      const facts = { plan: { name: 'p' } } as unknown as TraceSource['facts']
      const cards = {} as TraceSource['cards']
      const events = [...traceEvents({ facts, cards, tracks, counters: [], startNs: 0 })]
      const named = new Map(
        events.flatMap(({ name, tid, args }) =>
          name === 'thread_name' ? [[tid!, String(args!.name)] as const] : [],
        ),
      )
      const work = events.filter(({ ph }) => ph === 'X')
      streams.forEach((spans, stream) => {
        const own = work.filter(({ tid }) => named.get(tid!)!.startsWith(`stream ${stream}`))
        const expected = spans.map(({ begin, length, request }) => ({
          ts: begin / 1e3,
          dur: length / 1e3,
          args: {
            ...(request >= 0 && { launch: 'stem', request }),
            ...(length > 0 && { bytes: length }),
          },
        }))
        const seen = own.map(({ ts, dur, args }) => ({ ts, dur, args }))
        const key = (value: object) => JSON.stringify(value)
        expect(seen.map(key).sort()).toEqual(expected.map(key).sort())
      })
      const ends = new Map<number, number>()
      for (const { tid, ts, dur } of work.toSorted((a, b) => a.ts! - b.ts!)) {
        expect(ts! + 1e-9).toBeGreaterThanOrEqual(ends.get(tid!) ?? 0)
        ends.set(tid!, ts! + dur!)
      }
    }),
  )
})
