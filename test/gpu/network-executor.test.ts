import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { LAYERS, makeArchitecture } from '../../models/architecture.ts'
import { foldNetwork } from '../../models/fold.ts'
import type { Network } from '../../models/network.ts'
import { seededNetwork } from '../../models/seeded.ts'
import type { Kernels } from '../../src/compute/cuda/backend.ts'
import { createCudaHostExecutor } from '../../src/compute/cuda/host-executor.ts'
import type { Precision } from '../../src/compute/cuda/layout.ts'
import {
  CUDA_SELF_TEST_TOLERANCE,
  cudaSelfTest,
  ownKernelsSelfTest,
} from '../../src/compute/cuda/self-test.ts'
import type { NetworkExecutor } from '../../src/compute/executor.ts'
import { runReference } from '../../src/compute/reference.ts'
import { UsageError } from '../../src/errors.ts'
import { elements } from '../../src/queue/tensor.ts'
import { Rng } from '../../src/rng.ts'
import {
  architectureOf,
  CASES,
  type Case,
  caseClips,
  caseNamed,
  caseTensors,
  relativeError,
} from '../models/cases.ts'
import { GPUS, haveCudnn } from './cuda-gpu.ts'

setDefaultTimeout(180_000)

/** What a correct path stays under, against float64 or torch's float32. */
const TOLERANCES: Record<Precision, number> = { fp16: 2e-3, tf32: 2e-3, fp32: 1e-4 }
/** Networks of a few channels average less out than real ones. */
const NARROW: Record<Precision, number> = { fp16: 1e-2, tf32: 4e-3, fp32: 1e-5 }
const PRECISIONS = Object.keys(TOLERANCES) as Precision[]
/** How to compute a convolution is not what these tests are about. */
const TRIES = 3

function run(executor: NetworkExecutor, input: Float32Array, clips: number): Float32Array {
  const output = new Float32Array(elements(executor.outputShape(clips))).fill(Number.NaN)
  executor.run(input, clips, output)
  return output
}

const fresh = (length: number): Float32Array => {
  const rng = Rng.of(Math.floor(Math.random() * 2 ** 31))
  return Float32Array.from({ length }, () => rng.normal())
}

const networks = new Map<string, Network>()

/** Made once for all tests of a case: it takes a second or two. */
function networkOf(c: Case): Network {
  const network = networks.get(c.name) ?? foldNetwork(architectureOf(c), c.name, caseTensors(c))
  networks.set(c.name, network)
  return network
}

function testExecutor(kernels: Kernels, absent: boolean): void {
  describe.skipIf(absent)(`${kernels}: the executor and the definition, in float64, agree`, () => {
    for (const layout of ['torchvision', 'r2plus1d-pytorch'] as const) {
      const architecture = makeArchitecture({ layout, widths: [8, 12, 16, 24], stemMid: 11, classes: 13 })
      const network = seededNetwork(architecture, 2)
      for (const precision of PRECISIONS)
        test(`${layout}, ${precision}: whole, each layer, frames of all kinds`, () => {
          const cases = [
            [1, 5, 8],
            [1, 5, 5],
            [1, 5, 1],
            ...[1, 2, 3, 4, 5].map(layer => [layer, layer, 6]),
          ] as [number, number, number][]
          const errors = cases.map(([startIndex, endIndex, frames]) => {
            const options = { network, startIndex, endIndex, frames, size: 16, device: 0, precision, kernels }
            const executor = createCudaHostExecutor({ ...options, maxClips: 2, counts: [2], tries: TRIES })
            const input = fresh(elements(executor.inputShape(2)))
            const found = run(executor, input, 2)
            const shape = executor.inputShape(1).slice(1)
            executor.close()
            const row = elements(shape)
            const expected = [0, 1].flatMap(i => [
              ...runReference(network, startIndex, endIndex, input.subarray(i * row, (i + 1) * row), shape),
            ])
            return relativeError(found, expected)
          })
          console.info(`${kernels} ${layout} ${precision}: ${errors.map(e => e.toExponential(1)).join(' ')}`)
          for (const error of errors) expect(error).toBeLessThan(NARROW[precision])
        })
    }
  })

  const executorOf = (network: Network, c: Case, first: number, last: number, precision: Precision) =>
    createCudaHostExecutor({
      network,
      startIndex: first,
      endIndex: last,
      frames: c.frames,
      size: c.size,
      maxClips: c.clips,
      counts: [c.clips],
      device: 0,
      precision,
      kernels,
      tries: TRIES,
    })

  describe.skipIf(absent)(`${kernels}: logits equal those of torch`, () => {
    for (const c of CASES)
      for (const precision of PRECISIONS)
        test(`${c.name}, ${precision}: ${c.clips} x ${c.frames} x ${c.size}`, () => {
          const executor = executorOf(networkOf(c), c, 1, LAYERS, precision)
          const error = relativeError(run(executor, caseClips(c), c.clips), c.logits.flat())
          executor.close()
          console.info(`${kernels} ${c.name} ${precision}: ${error.toExponential(2)}`)
          const narrow = c.widths[0] < 64
          expect(error).toBeLessThan((narrow ? NARROW : TOLERANCES)[precision])
        })
  })

  describe.skipIf(absent)(`${kernels}: logits equal those of torch for every split into layers`, () => {
    for (const name of ['torchvision-18', 'r2plus1d-pytorch-18'])
      for (const precision of ['fp16', 'fp32'] as const)
        test(`${name}, ${precision}`, () => {
          const c = caseNamed(name)
          const network = networkOf(c)
          const executors = new Map<string, NetworkExecutor>()
          const errors: number[] = []
          const from = (cut: number, values: Float32Array): void => {
            for (let last = cut + 1; last <= LAYERS; last++) {
              const key = `${cut + 1}-${last}`
              const layers = executors.get(key) ?? executorOf(network, c, cut + 1, last, precision)
              executors.set(key, layers)
              const output = run(layers, values, c.clips)
              if (last < LAYERS) from(last, output)
              else errors.push(relativeError(output, c.logits.flat()))
            }
          }
          from(0, caseClips(c))
          for (const executor of executors.values()) executor.close()
          expect(errors).toHaveLength(16)
          console.info(
            `${kernels} ${name} ${precision}, splits: at most ${Math.max(...errors).toExponential(2)}`,
          )
          for (const error of errors) expect(error).toBeLessThan(TOLERANCES[precision])
        })
  })

  describe.skipIf(absent)(`${kernels}: batches`, () => {
    const architecture = makeArchitecture({ blocks: [1, 1, 1, 1], widths: [16, 24, 32, 40], classes: 10 })
    const network = seededNetwork(architecture, 1)
    const options = { network, frames: 8, size: 32, device: 0, precision: 'fp16', kernels, tries: 1 } as const

    for (const [startIndex, endIndex] of [
      [1, 5],
      [2, 4],
    ] as const)
      test(`of any number of clips give each clip what it gives alone, layers ${startIndex} to ${endIndex}`, () => {
        const counts = [1, 2, 4, 7]
        const executor = createCudaHostExecutor({ ...options, startIndex, endIndex, maxClips: 7, counts })
        const input = fresh(elements(executor.inputShape(7)))
        const row = elements(executor.inputShape(1))
        const out = elements(executor.outputShape(1))
        const alone = Array.from({ length: 7 }, (_, i) =>
          run(executor, input.subarray(i * row, (i + 1) * row), 1),
        )
        for (const clips of [7, 1, 5, 2, 3, 6, 4, 7]) {
          const output = run(executor, input, clips)
          for (let i = 0; i < clips; i++)
            expect(relativeError(output.subarray(i * out, (i + 1) * out), alone[i]!)).toBeLessThan(2e-3)
        }
        expect(() => run(executor, input, 8)).toThrow(RangeError)
        executor.close()
        expect(() => run(executor, input, 1)).toThrow(/closed/)
      })

    test('too many for the memory are an error that names what to lower', () => {
      const large = {
        ...options,
        startIndex: 1,
        endIndex: 5,
        size: 112,
        maxClips: 200_000,
        counts: [200_000],
      }
      expect(() => createCudaHostExecutor(large)).toThrow(
        /CUDA_ERROR_OUT_OF_MEMORY.*activations of 200000 clips.*MiB is free; lower the batch size \(-b\)/,
      )
    })

    test('layers that are not there are wrong use', () => {
      expect(() => createCudaHostExecutor({ ...options, startIndex: 4, endIndex: 3, maxClips: 1 })).toThrow(
        UsageError,
      )
    })
  })

  test.skipIf(absent)(`${kernels}: the self-test of doctor finds the path right`, () => {
    for (const precision of PRECISIONS)
      expect(cudaSelfTest(0, precision, kernels)).toBeLessThan(CUDA_SELF_TEST_TOLERANCE[precision])
  })
}

test.skipIf(GPUS === 0)('every own kernel passes the self-test of doctor', () => {
  const errors = ownKernelsSelfTest(0)
  expect(errors.size).toBeGreaterThan(20)
  for (const error of errors.values()) expect(error).toBeLessThan(1e-3)
})

testExecutor('cudnn', !haveCudnn)
testExecutor('ptx', GPUS === 0)
