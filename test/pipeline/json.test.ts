import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { canonicalJson } from '../../src/pipeline/hash.ts'
import { jsonFault } from '../../src/pipeline/json.ts'

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

describe('faults of JSON', () => {
  test('none in what JSON.stringify writes, however it is spaced', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(0, 1, '\t'), (value, space) => {
        expect(jsonFault(JSON.stringify(value, null, space))).toBeUndefined()
      }),
    )
  })

  test('one in exactly those texts that JSON.parse refuses', () => {
    const piece = fc.constantFrom(
      ...'{}[]:,"0123456789.-+eE\\u/ntrue false null\n\t\u0001é😀',
      '"a"',
      '1',
      'true',
      '{}',
    )
    const soup = fc.array(piece, { maxLength: 12 }).map(pieces => pieces.join(''))
    // A JSON text with one character exchanged is mostly wrong in one place.
    const spoilt = fc.tuple(fc.jsonValue({ maxDepth: 3 }), fc.nat(), piece).map(([value, at, other]) => {
      const text = JSON.stringify(value)
      const place = at % text.length
      return text.slice(0, place) + other + text.slice(place + 1)
    })
    fc.assert(
      fc.property(fc.oneof(soup, spoilt), text => {
        const fault = jsonFault(text)
        if (fault?.message.includes('stands here twice')) return
        expect(fault === undefined).toBe(isJson(text))
      }),
      { numRuns: 3000 },
    )
  })

  test.each([
    ['', 1, 1, 'a value is expected, not the end of the file'],
    ['{"a" 1}', 1, 6, '":" is expected, not "1"'],
    ['{"a": 1,\n}', 2, 1, 'a key in double quotes is expected, not "}"'],
    ["{'a': 1}", 1, 2, 'a key in double quotes is expected, not "\'"'],
    ['[1 2]', 1, 4, '"," or "]" is expected, not "2"'],
    ['{"a": 01}', 1, 8, '"," or "}" is expected, not "1"'],
    ['{"a": "x\n"}', 1, 7, 'a string without end, or with a character that JSON escapes'],
    ['// no comments', 1, 1, 'a value is expected, not "/"'],
    ['{}\n{}', 2, 1, 'the end of the file is expected, not "{"'],
    ['{"a": {"b": 1, "b": 2}}', 1, 16, 'key "b" stands here twice'],
    ['['.repeat(200), 1, 101, 'more than 100 levels deep'],
  ])('%j', (text, line, column, message) => {
    expect(jsonFault(text)).toEqual({ line, column, message })
  })
})

test('canonical JSON is the same for equal values in any order of keys, and says the same', () => {
  const shuffled = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(shuffled)
    if (value === null || typeof value !== 'object') return value
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([key, entry]) => [key, shuffled(entry)]),
    )
  }
  fc.assert(
    fc.property(fc.jsonValue(), value => {
      const text = canonicalJson(value)
      expect(text).toBe(canonicalJson(shuffled(value)))
      expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)))
    }),
  )
})
