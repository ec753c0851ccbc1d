import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { readTrace } from '../../src/client/trace.ts'
import { UsageError } from '../../src/errors.ts'

const folder = mkdtempSync(join(tmpdir(), 'rnb-trace-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function trace(lines: readonly unknown[], name = 'trace.jsonl'): string {
  const path = join(folder, name)
  writeFileSync(
    path,
    lines.map(line => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join(''),
  )
  return path
}

const all = Number.POSITIVE_INFINITY

test('arrivals come in the order of their times, equal ones in that of the file, cut to a number and a duration', () => {
  const arrival = fc.record({
    at_ms: fc.integer({ min: 0, max: 50 }).map(n => n / 4),
    video: fc.stringMatching(/^[a-z]+$/),
  })
  fc.assert(
    fc.property(
      fc.array(arrival, { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 1, max: 40 }),
      fc.option(fc.integer({ min: 1, max: 13 }), { nil: undefined }),
      (arrivals, most, durationMs) => {
        const expected = arrivals
          .map((line, place) => ({ ...line, place }))
          .toSorted((a, b) => a.at_ms - b.at_ms || a.place - b.place)
          .slice(0, most)
          .filter(({ at_ms }) => at_ms < (durationMs ?? all))
        const read = () => readTrace(trace(arrivals), most, durationMs && durationMs / 1000)
        if (expected.length === 0) {
          expect(read).toThrow('no arrivals')
          return
        }
        const { times, videos } = read()
        expect([...times]).toEqual(expected.map(({ at_ms }) => at_ms * 1e6))
        expect(videos).toEqual(expected.map(({ video }) => join(folder, video)))
      },
    ),
  )
})

test('an earlier run: results and errors, whatever the order in which they came', () => {
  const file = trace([
    { type: 'result', id: 1, intended_ms: 4, video: '/v/b.mp4', latency_ms: 3 },
    { type: 'error', id: 2, intended_ms: 4, video: '/v/c.mp4', code: 'timeout' },
    '',
    { type: 'result', id: 0, intended_ms: 1.5, video: '/v/a.mp4' },
    { type: 'summary', exit: { status: 0 } },
  ])
  expect(readTrace(file, all)).toEqual({
    times: Float64Array.of(1.5e6, 4e6, 4e6),
    videos: ['/v/a.mp4', '/v/b.mp4', '/v/c.mp4'],
  })
})

test('times alone', () => {
  expect(readTrace(trace([{ at_ms: 2 }, { at_ms: 0 }]), all)).toEqual({ times: Float64Array.of(0, 2e6) })
})

test('what is wrong is said, with the line', () => {
  const wrong: [unknown[], string][] = [
    [[], 'no arrivals'],
    [[{ type: 'summary' }], 'no arrivals'],
    [[{ at_ms: 1 }, '{'], 'line 2: not JSON'],
    [[{ at_ms: -1 }], 'line 1: not an arrival'],
    [[{ at_ms: '1' }], 'line 1'],
    [[{ video: 'a' }], 'line 1'],
    [[{ at_ms: 1, video: '' }], 'line 1'],
    [[{ type: 'error', id: 0, video: 'a' }], 'line 1'],
    [[5], 'line 1'],
    [[{ at_ms: 1 }, { at_ms: 2, video: 'a' }], '1 of 2 arrivals name a video'],
  ]
  for (const [lines, said] of wrong) {
    const file = trace(lines)
    expect(() => readTrace(file, all)).toThrow(UsageError)
    expect(() => readTrace(file, all)).toThrow(said)
  }
  expect(() => readTrace(join(folder, 'absent'), all)).toThrow('ENOENT')
})
