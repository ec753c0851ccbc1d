import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { PickleError, PickleTruncated, readPickle, Tuple } from '../../models/checkpoint/pickle.ts'
import { TORCH_RULES } from '../../models/checkpoint/torch-rules.ts'

const bytes = (...parts: (string | number)[]): Uint8Array =>
  Uint8Array.from(
    parts.flatMap(part => (typeof part === 'number' ? [part] : [...Buffer.from(part, 'latin1')])),
  )

const read = (...parts: (string | number)[]): unknown => readPickle(bytes(...parts), TORCH_RULES).value

/** GLOBAL, an empty tuple, REDUCE: what an object's `__reduce__` becomes. */
const callOf = (module: string, name: string): unknown => read(0x80, 2, `c${module}\n${name}\n`, ')R.')

describe('a pickle', () => {
  test('gives numbers, text and containers', () => {
    expect(read(0x80, 2, 'K\x07.')).toBe(7)
    expect(read('J\xff\xff\xff\xff.')).toBe(-1)
    expect(read(0x8a, 2, '\x00\x80.')).toBe(-32768)
    expect(read(0x8a, 9, '\0\0\0\0\0\0\0\0\x01.')).toBe(2n ** 64n)
    expect(read('G?\xf8\0\0\0\0\0\0.')).toBe(1.5)
    expect(read('X\x02\0\0\0\xc3\xa9.')).toBe('é')
    expect(read('](K\x01K\x02e.')).toEqual([1, 2])
    expect(read('}(X\x01\0\0\0aK\x01u.')).toEqual(new Map([['a', 1]]))
    expect(read('K\x01', 0x88, 0x86, '.')).toEqual(new Tuple([1, true]))
    expect(read(']q\x00h\x00', 0x86, '.')).toEqual(new Tuple([[], []]))
  })

  test('keeps a container that holds itself', () => {
    const list = read(']q\x00h\x00a.') as unknown[]
    expect(list[0]).toBe(list)
  })

  test('says where it ends, so that another can follow', () => {
    expect(readPickle(bytes('K\x01.K\x02.'), TORCH_RULES, 3)).toEqual({ value: 2, end: 6 })
    expect(() => read('K')).toThrow(PickleTruncated)
    expect(() => read('X\xff\xff\0\0a.')).toThrow(PickleTruncated)
  })
})

describe('what is refused, by its name', () => {
  const dangerous = [
    ['os', 'system'],
    ['posix', 'system'],
    ['builtins', 'eval'],
    ['builtins', 'exec'],
    ['builtins', 'getattr'],
    ['builtins', '__import__'],
    ['__builtin__', 'eval'],
    ['subprocess', 'Popen'],
    ['functools', 'partial'],
    ['torch', 'load'],
    ['torch.storage', '_load_from_bytes'],
    ['torch.jit', 'load'],
    ['torch._utils', '_rebuild_sparse_tensor'],
    ['numpy.core.multiarray', '_reconstruct'],
    ['pickle', 'loads'],
    ['collections', 'defaultdict'],
    ['constructor', 'constructor'],
    ['Object', 'prototype'],
    ['torch', 'toString'],
  ] as const
  for (const [module, name] of dangerous) {
    test(`${module}.${name}`, () => {
      const inFull = `${module}.${name}, which is refused`
      expect(() => callOf(module, name)).toThrow(inFull)
      const stacked = bytes(0x8c, module.length, module, 0x8c, name.length, name, 0x93, '.')
      expect(() => readPickle(stacked, TORCH_RULES)).toThrow(inFull)
    })
  }

  test('calls of what may only be mentioned, and of what is no global', () => {
    expect(() => callOf('torch', 'FloatStorage')).toThrow(/calls torch\.FloatStorage, which is refused/)
    expect(() => callOf('torch', 'float32')).toThrow(/calls torch\.float32, which is refused/)
    expect(() => read('K\x01)R.')).toThrow(PickleError)
    expect(() => read('})R.')).toThrow(PickleError)
  })

  test('opcodes that make objects in other ways', () => {
    expect(() => read('(ios\nsystem\n.')).toThrow(/opcode INST/)
    expect(() => read('(o.')).toThrow(/opcode OBJ/)
    expect(() => read(0x82, 1, '.')).toThrow(/opcode EXT1/)
    expect(() => read('I1\n.')).toThrow(/opcode 0x49/)
  })

  test('state of an object', () => {
    expect(() => read('K\x01}b.')).toThrow(/sets the state of an object/)
  })
})

test('any bytes give a value or a PickleError', () => {
  const opcodes = [
    ...'()KXGJ}]aeus.cRbQqhtN0',
    '\x80',
    '\x85',
    '\x86',
    '\x87',
    '\x8a',
    '\x8c',
    '\x93',
    '\x81',
    '\x94',
  ]
  const piece = fc.oneof(
    fc.constantFrom(...opcodes).map(text => Buffer.from(text, 'latin1')),
    fc
      .constantFrom(
        'ctorch\nFloatStorage\n',
        'ctorch._utils\n_rebuild_tensor_v2\n',
        'ccollections\nOrderedDict\n',
      )
      .map(text => Buffer.from(text)),
    fc.uint8Array({ maxLength: 6 }).map(array => Buffer.from(array)),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), pieces => {
      try {
        readPickle(new Uint8Array(Buffer.concat(pieces)), TORCH_RULES)
      } catch (error) {
        expect(error).toBeInstanceOf(PickleError)
      }
    }),
    { numRuns: 3000 },
  )
})
