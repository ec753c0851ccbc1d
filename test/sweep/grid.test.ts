import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { gridOf } from '../../src/sweep/grid.ts'

const value = fc.integer({ min: 0, max: 99 }).map(String)
const axis = fc.uniqueArray(value, { minLength: 1, maxLength: 4 })
const flag = fc.constantFrom('rate', 'batch_size', 'videos', 'queue_size', 'seed')

describe('a grid', () => {
  test('has each combination once, under a name of its own', () =>
    fc.assert(
      fc.property(fc.dictionary(flag, axis), axes => {
        const points = gridOf(
          Object.fromEntries(Object.entries(axes).map(([name, values]) => [name, values.join(',')])),
        )
        const size = Object.values(axes).reduce((product, values) => product * values.length, 1)
        expect(points.length).toBe(size)
        expect(new Set(points.map(({ name }) => name)).size).toBe(size)
        expect(new Set(points.map(({ flags }) => JSON.stringify(flags))).size).toBe(size)
        for (const { flags } of points)
          for (const [name, values] of Object.entries(axes)) expect(values).toContain(flags[name]!)
      }),
    ))
  test('names points by what differs', () => {
    const names = (flags: Record<string, string>) => gridOf(flags).map(({ name }) => name)
    expect(names({ config_file_path: 'a/x.json,b/y.json', mean_interval_ms: '5,0.5', seed: '1' })).toEqual([
      'x-mi5',
      'x-mi0.5',
      'y-mi5',
      'y-mi0.5',
    ])
    expect(names({ seed: '1' })).toEqual(['run'])
    expect(names({ video_root: 'a,b' })).toEqual(['run'])
    expect(names({ arrival: 'poisson,mmpp:10@900, 2e2@100,bulk' })).toEqual([
      'arrivalpoisson',
      'arrivalmmpp_10_900_2e2_100',
      'arrivalbulk',
    ])
  })
  test('complains of lists that make no sense', () => {
    expect(() => gridOf({ rate: '1,,2' })).toThrow('--rate has an empty value')
    expect(() => gridOf({ rate: '1,1' })).toThrow('--rate names a value twice')
    expect(() => gridOf({ config_file_path: 'a/x.json,b/x.json' })).toThrow('called x')
  })
})
