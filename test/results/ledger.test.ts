import { expect, test } from 'bun:test'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { EVENTS, Ledger, type LedgerEvent, STATE } from '../../src/results/ledger.ts'

const events = Object.keys(EVENTS) as LedgerEvent[]

test('a row of two steps and five classes takes 144 bytes', () => {
  const handle = Ledger.create({ requests: 7, parts: [1, 1], top: 5 })
  expect(new Ledger(handle).rowBytes).toBe(144)
  expect(handle.buffer.byteLength).toBe(7 * 144)
})

test('what was never written reads as absent', () => {
  const ledger = new Ledger(Ledger.create({ requests: 1, parts: [1, 2], top: 3 }))
  expect(ledger.intended(0)).toBeNaN()
  expect(ledger.actual(0)).toBeNaN()
  expect(ledger.time(0, 1, 1, 'inferenceFinish')).toBeNaN()
  expect(ledger.state(0)).toBe(STATE.pending)
  expect(ledger.decoder(0)).toBeUndefined()
  expect(ledger.top(0)).toEqual([])
})

test('rows and cells outside of it are refused', () => {
  const ledger = new Ledger(Ledger.create({ requests: 2, parts: [1, 2], top: 1 }))
  expect(() => ledger.arrive(2, 1, 1)).toThrow(RangeError)
  expect(() => ledger.arrive(-1, 1, 1)).toThrow(RangeError)
  expect(() => ledger.stamp(0, 1, 0, 'runnerStart', 1)).toThrow(RangeError)
  expect(() => ledger.stamp(0, 2, 1, 'runnerStart', 1)).toThrow(RangeError)
  expect(() => ledger.stamp(0, 0, 2, 'runnerStart', 1)).toThrow(RangeError)
})

test('classes past the top are dropped, and a decoder name may be long or of any letters', () => {
  const ledger = new Ledger(Ledger.create({ requests: 2, parts: [1], top: 2 }))
  ledger.finish(
    0,
    [0.5, 0.25, 0.125].map((score, index) => ({ index, score })),
  )
  expect(ledger.top(0)).toEqual([
    { index: 0, score: 0.5 },
    { index: 1, score: 0.25 },
  ])
  const facts = { clips: 1, framesNeeded: 8, framesDecoded: 9 }
  ledger.note(0, { ...facts, decoder: 'x'.repeat(500) })
  ledger.note(1, { ...facts, decoder: 'décodeur ✓' })
  expect(ledger.decoder(0)).toBe('x'.repeat(120))
  expect(ledger.decoder(1)).toBe('décodeur ✓')
})

test('a table of decoders that is full loses names, and nothing else', () => {
  const ledger = new Ledger(Ledger.create({ requests: 100, parts: [1], top: 0 }))
  for (let request = 0; request < 100; request++)
    ledger.note(request, { clips: request, framesNeeded: 0, framesDecoded: 0, decoder: `decoder ${request}` })
  expect(ledger.decoder(63)).toBe('decoder 63')
  expect(ledger.decoder(64)).toBeUndefined()
  expect(ledger.clips(99)).toBe(99)
})

test('every field keeps its last value, whatever is written around it', () => {
  const time = fc.double({ min: 1, max: 2 ** 53, noNaN: true })
  const short = fc.integer({ min: -1, max: 32767 })
  const size = fc.record({
    requests: fc.integer({ min: 1, max: 5 }),
    parts: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }),
    top: fc.integer({ min: 0, max: 6 }),
    leaves: fc.integer({ min: 1, max: 3 }),
  })
  const write = fc.record({
    pick: fc.array(fc.nat(), { minLength: 4, maxLength: 4 }),
    event: fc.constantFrom(...events),
    times: fc.tuple(time, time, time),
    shorts: fc.tuple(short, short, short),
    counts: fc.array(fc.integer({ min: 0, max: 2 ** 31 - 1 }), { minLength: 4, maxLength: 4 }),
    scores: fc.array(fc.record({ index: fc.nat(), score: fc.float({ min: 0, max: 1, noNaN: true }) }), {
      maxLength: 8,
    }),
    failed: fc.boolean(),
  })
  fc.assert(
    fc.property(size, fc.array(write, { maxLength: 40 }), (size, writes) => {
      const handle = structuredClone(Ledger.create(size))
      const ledger = new Ledger(handle)
      const model = new Map<string, unknown>()
      for (const { pick, event, times, shorts, counts, scores, failed } of writes) {
        const request = pick[0]! % size.requests
        const step = pick[1]! % size.parts.length
        const part = pick[2]! % size.parts[step]!
        ledger.arrive(request, times[0], times[1])
        model.set(`arrival ${request}`, [times[0], times[1]])
        ledger.stamp(request, part, step, event, times[2])
        model.set(`time ${request} ${part} ${step} ${event}`, times[2])
        ledger.place(request, part, step, shorts[0], shorts[1], shorts[2])
        model.set(`place ${request} ${part} ${step}`, shorts)
        const [clips, framesNeeded, framesDecoded, cpuUs] = counts as [number, number, number, number]
        ledger.note(request, { clips, framesNeeded, framesDecoded, decoder: `d${clips % 9}`, cpuUs })
        const known = cpuUs > 0 ? cpuUs : undefined
        model.set(`facts ${request}`, [clips, framesNeeded, framesDecoded, `d${clips % 9}`, known])
        const leaf = pick[3]! % size.leaves
        const ended = [0, 1, 2].filter(other => model.has(`state ${request} ${other}`))
        const first = !ended.includes(leaf)
        expect(failed ? ledger.fail(request, leaf) : ledger.finish(request, scores, leaf)).toBe(
          first ? ended.length + 1 : 0,
        )
        if (!first) continue
        model.set(`state ${request} ${leaf}`, failed ? STATE.failed : STATE.done)
        if (!failed) model.set(`top ${request} ${leaf}`, scores.slice(0, size.top))
      }
      // A second view of the memory, as another thread has it.
      const other = new Ledger(handle)
      for (const [key, value] of model) {
        const [kind, ...words] = key.split(' ')
        // Of results, the second number is that of the last step.
        const [request = 0, part = 0, step = 0] = words.map(Number)
        const event = words[3] as LedgerEvent
        const read: Record<string, () => unknown> = {
          arrival: () => [other.intended(request), other.actual(request)],
          time: () => other.time(request, part, step, event),
          place: () => [
            other.device(request, part, step),
            other.replica(request, part, step),
            other.batch(request, part, step),
          ],
          facts: () => [
            other.clips(request),
            other.framesNeeded(request),
            other.framesDecoded(request),
            other.decoder(request),
            other.cpuUs(request),
          ],
          top: () => other.top(request, part),
          state: () => other.state(request, part),
        }
        expect(read[kind!]!()).toEqual(value)
      }
    }),
    { numRuns: 200 },
  )
})

test('threads that write at once do not disturb each other', async () => {
  const handle = Ledger.create({ requests: 3000, parts: [1, 1, 1], top: 2 })
  const workers = [0, 1, 2].map(
    step => new Worker(new URL('./ledger-worker.ts', import.meta.url), { workerData: { handle, step } }),
  )
  const codes = await Promise.all(workers.map(worker => once(worker, 'exit')))
  expect(codes.flat()).toEqual([0, 0, 0])
  const ledger = new Ledger(handle)
  for (let request = 0; request < 3000; request++) {
    for (let step = 0; step < 3; step++)
      for (const event of events)
        expect(ledger.time(request, 0, step, event)).toBe(1 + request * 100 + step * 10 + EVENTS[event])
    expect(ledger.decoder(request)).toBe(`decoder ${request % 5}`)
    expect(ledger.top(request)).toEqual([{ index: request, score: 0.5 }])
  }
}, 20_000)

test('what steps say of parts of requests reads as it was written, apart from all else', () => {
  const handle = Ledger.create({ requests: 3, parts: [1, 2, 1], top: 1, values: [0, 9, 40] })
  // Only what says something takes memory, and the rows of other runs are as they were.
  expect(new Ledger(handle).rowBytes).toBe(
    new Ledger(Ledger.create({ requests: 3, parts: [1, 2, 1], top: 1 })).rowBytes,
  )
  const cells = [0, 1, 2].flatMap(request => [
    { request, step: 1, part: 0, most: 9 },
    { request, step: 1, part: 1, most: 9 },
    { request, step: 2, part: 0, most: 40 },
  ])
  const utf8 = (text: string) => new TextEncoder().encode(text).length
  fc.assert(
    fc.property(
      fc.tuple(...cells.map(({ most }) => fc.option(fc.string({ unit: 'grapheme', maxLength: most })))),
      texts => {
        const ledger = new Ledger(
          Ledger.create({ requests: 3, parts: [1, 2, 1], top: 1, values: [0, 9, 40] }),
        )
        const kept = cells.map(({ request, step, part, most }, i) => {
          const text = texts[i] ?? null
          if (text === null) return undefined
          if (utf8(text) <= most) {
            ledger.keep(request, part, step, text)
            return text
          }
          expect(() => ledger.keep(request, part, step, text)).toThrow(`${utf8(text)} bytes`)
          return undefined
        })
        expect(cells.map(({ request, step, part }) => ledger.values(request, part, step))).toEqual(kept)
        expect(ledger.values(1, 0, 0)).toBeUndefined()
      },
    ),
  )
  expect(() => new Ledger(handle).keep(0, 0, 0, '1')).toThrow(RangeError)
})
