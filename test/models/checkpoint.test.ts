import { afterAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { type CheckpointFormat, loadCheckpoint } from '../../models/checkpoint/load.ts'
import { writeSafetensors } from '../../models/checkpoint/safetensors.ts'
import { DTYPE_BYTES, type DType, type Tensor, tensorOf, toFloat32 } from '../../models/checkpoint/tensor.ts'
import { tensorShapes } from '../../models/description.ts'
import { checkpointNetwork, loadNetwork, networkArchitecture } from '../../models/load.ts'
import { recognise } from '../../models/recognise.ts'
import { createCpuExecutor } from '../../src/compute/cpu.ts'
import { UsageError } from '../../src/errors.ts'
import { elements } from '../../src/queue/tensor.ts'
import { architectureOf, caseClips, caseNamed, caseTensors, relativeError } from './cases.ts'
import views from './fixtures/views.fixture.json' with { type: 'json' }

const fixture = (name: string): string => new URL(`./fixtures/${name}`, import.meta.url).pathname
const folder = mkdtempSync(join(tmpdir(), 'rnb-checkpoint-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** A file with these bytes; the same one each time. */
function file(bytes: Uint8Array | string): string {
  const path = join(folder, 'file')
  writeFileSync(path, bytes)
  return path
}

/** Reads everything that a checkpoint holds. */
function readAll(path: string): Map<string, { tensor: Tensor; bytes: Uint8Array }> {
  const checkpoint = loadCheckpoint(path)
  try {
    return new Map([...checkpoint.tensors].map(([name, tensor]) => [name, { tensor, bytes: tensor.read() }]))
  } finally {
    checkpoint.close()
  }
}

/** Elements of a tensor as numbers, by its type. */
function numbers(dtype: DType, bytes: Uint8Array): number[] {
  const buffer = bytes.slice().buffer
  if (dtype === 'int64') return Array.from(new BigInt64Array(buffer), Number)
  if (dtype === 'int32') return [...new Int32Array(buffer)]
  if (dtype === 'float64') return [...new Float64Array(buffer)]
  const floats = toFloat32(tensorOf(dtype, [bytes.length / DTYPE_BYTES[dtype]], bytes))
  return [...(floats ?? bytes)]
}

describe('files of torch.save', () => {
  const formats: [string, CheckpointFormat][] = [
    ['views-zip.pth', 'torch zip'],
    ['views-protocol-4.pth', 'torch zip'],
    ['views-deflated.pth', 'torch zip'],
    ['views-legacy.pth', 'torch before 1.6'],
  ]
  for (const [name, format] of formats) {
    test(`${name}: strides, shared storages and every type`, () => {
      const checkpoint = loadCheckpoint(fixture(name))
      expect(checkpoint.format).toBe(format)
      expect([...checkpoint.tensors.keys()].sort()).toEqual(Object.keys(views).sort())
      for (const [tensorName, expected] of Object.entries(views)) {
        const tensor = checkpoint.tensors.get(tensorName)!
        expect({ dtype: tensor.dtype as string, shape: tensor.shape as number[] }).toEqual({
          dtype: expected.dtype,
          shape: expected.shape,
        })
        expect(numbers(tensor.dtype, tensor.read())).toEqual(expected.values)
      }
      checkpoint.close()
    })
  }

  for (const name of ['tiny-zip.pth.tar', 'tiny-legacy.pth']) {
    test(`${name}: recognised, with the weights that were saved and their logits`, () => {
      const c = caseNamed('tiny')
      const checkpoint = loadCheckpoint(fixture(name))
      const recognised = recognise(checkpoint)
      expect(recognised.architecture).toEqual(architectureOf(c))
      const made = caseTensors(c)
      for (const [own, inFile] of recognised.rename) {
        expect(inFile).toBe(name === 'tiny-legacy.pth' ? own : `module.${own}`)
        expect(toFloat32(checkpoint.tensors.get(inFile)!)).toEqual(made(own))
      }
      const network = checkpointNetwork(checkpoint, recognised)
      checkpoint.close()
      const { frames, size, clips: maxClips } = c
      const options = { network, startIndex: 1, endIndex: 5, frames, size, maxClips, threads: 1 }
      const executor = createCpuExecutor(options)
      const logits = new Float32Array(elements(executor.outputShape(maxClips)))
      executor.run(caseClips(c), maxClips, logits)
      executor.close()
      expect(relativeError(logits, c.logits.flat())).toBeLessThan(1e-4)
    })
  }

  for (const name of ['hostile-zip.pth', 'hostile-legacy.pth']) {
    test(`${name} is refused by the name of what it would run, and nothing runs`, () => {
      expect(() => loadCheckpoint(fixture(name))).toThrow(UsageError)
      expect(() => loadCheckpoint(fixture(name))).toThrow(/posix\.system, which is refused/)
      expect(existsSync('hostile-pickle-ran')).toBe(false)
    })
  }
})

describe('damage', () => {
  const names = [
    'tiny-zip.pth.tar',
    'tiny-legacy.pth',
    'views-deflated.pth',
    'views-legacy.pth',
    'hostile-zip.pth',
  ]

  test('a file that ends early is an error that names it', () => {
    const anyCut = fc.tuple(
      fc.constantFrom(...names),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    )
    fc.assert(
      fc.property(anyCut, ([name, part]) => {
        const whole = readFileSync(fixture(name))
        const path = file(whole.subarray(0, Math.floor(whole.length * part)))
        expect(() => readAll(path)).toThrow(UsageError)
        expect(() => readAll(path)).toThrow(path)
      }),
      { numRuns: 150 },
    )
  })

  test('flipped bits are an error or a checkpoint, never anything else', () => {
    const flips = fc.array(
      fc.tuple(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.nat(7)),
      {
        minLength: 1,
        maxLength: 4,
      },
    )
    fc.assert(
      fc.property(fc.constantFrom(...names), flips, (name, bits) => {
        const bytes = readFileSync(fixture(name))
        for (const [place, bit] of bits) {
          const at = Math.floor(place * bytes.length)
          bytes[at] = bytes[at]! ^ (1 << bit)
        }
        try {
          readAll(file(bytes))
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError)
        }
        expect(existsSync('hostile-pickle-ran')).toBe(false)
      }),
      { numRuns: 400 },
    )
  })

  test('a flipped bit among the weights of a zip file is noticed', () => {
    const bytes = readFileSync(fixture('tiny-zip.pth.tar'))
    const kernel = caseTensors(caseNamed('tiny'))('res2plus1d.conv1.spatial_conv.weight')
    const at = bytes.indexOf(Buffer.from(kernel.buffer))
    expect(at).toBeGreaterThan(0)
    bytes[at + 5]! ^= 1
    expect(() => readAll(file(bytes))).toThrow(/checksum/)
  })

  test('a file of another kind, none, a folder, nothing', () => {
    expect(() => loadCheckpoint(file('not a checkpoint'))).toThrow(/neither safetensors nor/)
    expect(() => loadCheckpoint(file(''))).toThrow(/empty/)
    expect(() => loadCheckpoint(folder)).toThrow(/not a file/)
    expect(() => loadCheckpoint(join(folder, 'none'))).toThrow(/no such file/)
  })
})

describe('safetensors', () => {
  const dtypes = Object.keys(DTYPE_BYTES) as DType[]
  const anyTensor = fc
    .tuple(fc.constantFrom(...dtypes), fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }))
    .chain(([dtype, shape]) => {
      const length = elements(shape) * DTYPE_BYTES[dtype]
      const bytes = fc.uint8Array({ minLength: length, maxLength: length })
      return bytes.map(data => tensorOf(dtype, shape, data))
    })

  test('what is written is read again', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ minLength: 1 }), anyTensor, { noNullPrototype: true }),
        tensors => {
          delete tensors.__metadata__
          const path = join(folder, 'some.safetensors')
          writeSafetensors(path, new Map(Object.entries(tensors)), { weights: 'random:1' })
          const read = readAll(path)
          expect([...read.keys()].sort()).toEqual(Object.keys(tensors).sort())
          for (const [name, { dtype, shape, read: original }] of Object.entries(tensors)) {
            const { tensor, bytes } = read.get(name)!
            expect([tensor.dtype, tensor.shape]).toEqual([dtype, shape])
            expect(Buffer.from(bytes).equals(Buffer.from(original()))).toBe(true)
          }
        },
      ),
      { numRuns: 100 },
    )
  })

  test('a header that does not fit its data names the tensor', () => {
    const write = (entry: object, data = 4) => {
      const header = Buffer.from(JSON.stringify({ kernel: entry }))
      const length = Buffer.alloc(8)
      length.writeBigUInt64LE(BigInt(header.length))
      return file(Buffer.concat([length, header, Buffer.alloc(data)]))
    }
    const good = { dtype: 'F32', shape: [1], data_offsets: [0, 4] }
    expect(readAll(write(good)).size).toBe(1)
    expect(() => readAll(write(good, 3))).toThrow(/truncated: tensor kernel/)
    expect(() => readAll(write({ ...good, shape: [2] }))).toThrow(/tensor kernel .* takes 8 bytes, not 4/)
    expect(() => readAll(write({ ...good, dtype: 'F8' }))).toThrow(/tensor kernel has dtype "F8"/)
    expect(() => readAll(write({ ...good, shape: [-1] }))).toThrow(/tensor kernel has shape/)
    expect(() => readAll(write({ ...good, data_offsets: [4] }))).toThrow(/tensor kernel has data_offsets/)
  })
})

describe('recognition', () => {
  const c = caseNamed('r2plus1d-pytorch-narrow')
  const tensors = () => {
    const made = caseTensors(c)
    const shapes = tensorShapes(architectureOf(c))
    return new Map([...shapes].map(([name, shape]) => [name, tensorOf('float32', shape, made(name))]))
  }
  const write = (changed: Map<string, Tensor>): string => {
    const path = join(folder, 'changed.safetensors')
    writeSafetensors(path, changed)
    return path
  }

  test('prefixes of any wrapper are seen through', () => {
    for (const prefix of ['', 'module.', 'module.module.', '_orig_mod.model.']) {
      const path = write(new Map([...tensors()].map(([name, tensor]) => [prefix + name, tensor])))
      expect(networkArchitecture({ weights: path, seed: 0 })).toEqual({
        architecture: architectureOf(c),
        weights: path,
      })
    }
  })

  test('the first differences are named', () => {
    const missing = tensors()
    missing.delete('res2plus1d.conv3.block1.bn1.bias')
    expect(() => loadNetwork({ weights: write(missing), seed: 0 })).toThrow(
      /missing res2plus1d\.conv3\.block1\.bn1\.bias \[12\]/,
    )
    const wrong = tensors().set('linear.bias', tensorOf('float32', [3], new Float32Array(3)))
    expect(() => loadNetwork({ weights: write(wrong), seed: 0 })).toThrow(/linear\.bias is \[3\], not \[7\]/)
    const extra = tensors().set('head.weight', tensorOf('float32', [1], new Float32Array(1)))
    expect(() => loadNetwork({ weights: write(extra), seed: 0 })).toThrow(/unexpected head\.weight \[1\]/)
    const other = new Map([['conv1.weight', tensorOf('float32', [1], new Float32Array(1))]])
    expect(() => loadNetwork({ weights: write(other), seed: 0 })).toThrow(
      /no R\(2\+1\)D network.*missing stem\.0\.weight.*unexpected conv1\.weight/,
    )
  })

  test('a network other than asked for is refused, and one with integers or broken norms for weights', () => {
    const path = write(tensors())
    expect(() => loadNetwork({ weights: path, seed: 0, architecture: { classes: 400 } })).toThrow(/classes 7/)
    expect(() =>
      networkArchitecture({ weights: path, seed: 0, architecture: { blocks: [2, 2, 2, 2] } }),
    ).toThrow(UsageError)
    const whole = tensors().set('linear.bias', tensorOf('int32', [7], new Int32Array(7)))
    expect(() => loadNetwork({ weights: write(whole), seed: 0 })).toThrow(/linear\.bias is of int32/)
    const norm = 'res2plus1d.conv1.bn.running_var'
    const length = tensorShapes(architectureOf(c)).get(norm)![0]!
    const negative = tensors().set(norm, tensorOf('float32', [length], new Float32Array(length).fill(-1)))
    expect(() => loadNetwork({ weights: write(negative), seed: 0 })).toThrow(
      /res2plus1d\.conv1\.bn .* variance -1/,
    )
  })
})
