import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { depthsOf } from '../../src/report/charts/depths.ts'
import { csvFiles } from '../../src/report/csv.ts'
import { paretoFront } from '../../src/report/figures.ts'
import { fakeReportRun } from './fake.ts'

const point = fc.record({
  videosPerS: fc.integer({ min: 1, max: 20 }),
  p99Ms: fc.integer({ min: 1, max: 20 }),
})

describe('the Pareto front', () => {
  test('holds what nothing beats, and only that', () =>
    fc.assert(
      fc.property(fc.array(point, { maxLength: 30 }), points => {
        const beats = (a: (typeof points)[number], b: (typeof points)[number]) =>
          a.videosPerS >= b.videosPerS &&
          a.p99Ms <= b.p99Ms &&
          (a.videosPerS > b.videosPerS || a.p99Ms < b.p99Ms)
        const key = (p: (typeof points)[number]) => `${p.videosPerS} ${p.p99Ms}`
        const expected = new Set(points.filter(p => !points.some(other => beats(other, p))).map(key))
        const front = paretoFront(points)
        expect(new Set(front.map(key))).toEqual(expected)
        expect(front.length).toBe(expected.size)
        for (let i = 1; i < front.length; i++) {
          expect(front[i]!.videosPerS).toBeGreaterThan(front[i - 1]!.videosPerS)
          expect(front[i]!.p99Ms).toBeGreaterThan(front[i - 1]!.p99Ms)
        }
      }),
    ))
})

describe('depths over time', () => {
  const wait = fc
    .tuple(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 100 }))
    .map(([a, b]) => ({ from: Math.min(a, b), to: Math.max(a, b) }))
  test('are the most that waited at any moment of a slice', () =>
    fc.assert(
      fc.property(fc.array(wait, { maxLength: 20 }), waits => {
        const depths = depthsOf(waits, 100, 10)
        // Times are whole: in between, nothing changes.
        const at = (t: number) => waits.filter(({ from, to }) => from <= t && t < to).length
        for (let slice = 0; slice < 10; slice++) {
          const moments = Array.from({ length: 10 }, (_, i) => at(slice * 10 + i))
          expect(depths[slice]).toBe(Math.max(...moments))
        }
      }),
    ))
})

describe('CSV', () => {
  test('quotes what would break a row', () => {
    const files = csvFiles([fakeReportRun({ name: 'a "b", c' })])
    expect(files['stages.csv']).toBe(
      'run,stage,mean_ms\r\n"a ""b"", c",0: loader run,2\r\n"a ""b"", c",1: network run,8\r\n',
    )
    expect(files['latencies.csv']!.split('\r\n')).toHaveLength(1 + 200 + 1)
  })
})
