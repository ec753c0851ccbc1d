import { afterAll, describe, expect, test } from 'bun:test'
import { Worker } from 'node:worker_threads'
import { makeArchitecture } from '../../models/architecture.ts'
import { seededNetwork } from '../../models/seeded.ts'
import { createCpuExecutor } from '../../src/compute/cpu.ts'
import { UsageError } from '../../src/errors.ts'
import { elements } from '../../src/queue/tensor.ts'
import { relativeError } from '../models/cases.ts'

const architecture = makeArchitecture({ blocks: [1, 1, 1, 1], widths: [8, 8, 16, 16], classes: 10 })
const network = seededNetwork(architecture, 1)
const options = { network, startIndex: 1, endIndex: 5, frames: 8, size: 32, maxClips: 6, threads: 1 }
const executor = createCpuExecutor(options)
afterAll(() => executor.close())

const wave = (values: Float32Array): Float32Array => values.map((_, i) => Math.sin(i * 0.37))
const input = wave(new Float32Array(elements(executor.inputShape(6))))
const row = elements(executor.inputShape(1))

/** The logits of each clip of the input, one clip a call. */
function oneByOne(): Float32Array[] {
  return Array.from({ length: 6 }, (_, i) => {
    const output = new Float32Array(10)
    executor.run(input.subarray(i * row, (i + 1) * row), 1, output)
    return output
  })
}

describe('the CPU executor', () => {
  test('takes any number of clips, each giving what it gives alone', () => {
    const alone = oneByOne()
    for (let clips = 1; clips <= 6; clips++) {
      const output = new Float32Array(10 * clips)
      executor.run(input, clips, output)
      for (let i = 0; i < clips; i++) {
        expect(relativeError(output.subarray(10 * i, 10 * i + 10), alone[i]!)).toBeLessThan(1e-5)
      }
    }
  })

  test('reads and writes views of shared memory in place, and nothing beside them', () => {
    const memory = new SharedArrayBuffer(4 * (row + 10 + 6))
    const from = new Float32Array(memory, 8, row)
    const to = new Float32Array(memory, 8 + 4 * row + 8, 10)
    from.set(input.subarray(0, row))
    executor.run(from, 1, to)
    expect([...to]).toEqual([...oneByOne()[0]!])
    expect([...from]).toEqual([...input.subarray(0, row)])
    expect([...new Float32Array(memory, 4 * (row + 14), 2)]).toEqual([0, 0])
  })

  test('gives the same numbers every time', () => {
    expect(oneByOne()).toEqual(oneByOne())
  })

  test('refuses clips out of range, views too small, and work after it is closed', () => {
    const output = new Float32Array(60)
    for (const clips of [0, 7, 1.5, Number.NaN]) {
      expect(() => executor.run(input, clips, output)).toThrow(RangeError)
    }
    expect(() => executor.run(input.subarray(1), 6, output)).toThrow(/input of 6 clips takes/)
    expect(() => executor.run(input, 6, output.subarray(1))).toThrow(
      /output of 6 clips takes 60 floats, not 59/,
    )
    const closed = createCpuExecutor(options)
    closed.close()
    closed.close()
    expect(() => closed.run(input, 1, output)).toThrow(/closed/)
  })

  test('refuses layers that the network does not have, and clips too small for it', () => {
    const part = seededNetwork(architecture, 1, 2, 3)
    expect(() => createCpuExecutor({ ...options, network: part })).toThrow(UsageError)
    expect(() => createCpuExecutor({ ...options, startIndex: 3, endIndex: 2 })).toThrow(UsageError)
    expect(() => createCpuExecutor({ ...options, endIndex: 6 })).toThrow(UsageError)
    expect(() => createCpuExecutor({ ...options, frames: 0 })).toThrow(UsageError)
  })

  test('a part of a seeded network is the same part of the whole', () => {
    const layers = { ...options, startIndex: 2, endIndex: 3 }
    const whole = createCpuExecutor(layers)
    const part = createCpuExecutor({ ...layers, network: seededNetwork(architecture, 1, 2, 3) })
    const values = wave(new Float32Array(elements(whole.inputShape(1))))
    const outputs = [whole, part].map(e => {
      const output = new Float32Array(elements(e.outputShape(1)))
      e.run(values, 1, output)
      e.close()
      return output
    })
    expect(outputs[0]!).toEqual(outputs[1]!)
  })
})

test('several workers run sessions of one network, sent without a copy, at once', async () => {
  const memory = new SharedArrayBuffer(4 * row)
  new Float32Array(memory).set(input.subarray(0, row))
  const results = await Promise.all(
    Array.from({ length: 4 }, () => {
      const worker = new Worker(new URL('./executor.worker.ts', import.meta.url), {
        workerData: { options, memory },
      })
      return new Promise<Float32Array>((resolve, reject) => {
        worker.once('message', resolve)
        worker.once('error', reject)
      })
    }),
  )
  const expected = oneByOne()[0]!
  for (const logits of results) expect(logits).toEqual(expected)
})
