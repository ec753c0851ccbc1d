import { describe, expect, test } from 'bun:test'
import { LAYERS } from '../../models/architecture.ts'
import { foldNetwork } from '../../models/fold.ts'
import type { Network } from '../../models/network.ts'
import { createCpuExecutor } from '../../src/compute/cpu.ts'
import type { NetworkExecutor } from '../../src/compute/executor.ts'
import { elements } from '../../src/queue/tensor.ts'
import {
  architectureOf,
  CASES,
  type Case,
  caseClips,
  caseNamed,
  caseTensors,
  relativeError,
  type Sampled,
} from './cases.ts'

const TOLERANCE = 1e-4
/** For a machine that is busy with other things. */
const TIMEOUT = 120_000

const networkOf = (c: Case): Network => foldNetwork(architectureOf(c), c.name, caseTensors(c))

const executorOf = (network: Network, c: Case, startIndex: number, endIndex: number): NetworkExecutor =>
  createCpuExecutor({
    network,
    startIndex,
    endIndex,
    frames: c.frames,
    size: c.size,
    maxClips: c.clips,
    threads: 2,
  })

function run(executor: NetworkExecutor, input: Float32Array, clips: number): Float32Array {
  const output = new Float32Array(elements(executor.outputShape(clips)))
  executor.run(input, clips, output)
  return output
}

const sample = (values: Float32Array, { step }: Sampled): Float32Array =>
  values.filter((_, i) => i % step === 0)

describe('logits equal those of torch', () => {
  for (const c of CASES) {
    test(
      `${c.name}: ${c.clips} x ${c.frames} x ${c.size}`,
      () => {
        const executor = executorOf(networkOf(c), c, 1, LAYERS)
        const logits = run(executor, caseClips(c), c.clips)
        executor.close()
        expect(executor.outputShape(c.clips)).toEqual([c.clips, c.classes])
        for (const [i, expected] of c.logits.entries()) {
          const row = logits.subarray(i * c.classes, (i + 1) * c.classes)
          expect(relativeError(row, expected)).toBeLessThan(TOLERANCE)
        }
      },
      TIMEOUT,
    )
  }
})

/** Runs every split of the layers into consecutive ranges, each chained; what splits start with in common runs once. */
class Splits {
  private readonly network: Network
  private readonly executors = new Map<string, NetworkExecutor>()
  /** Splits that came to the end. */
  done = 0

  constructor(private readonly c: Case) {
    this.network = networkOf(c)
  }

  private executor(first: number, last: number): NetworkExecutor {
    const key = `${first}-${last}`
    const executor = this.executors.get(key) ?? executorOf(this.network, this.c, first, last)
    this.executors.set(key, executor)
    return executor
  }

  /** Goes on from `values` at a cut, in every way. */
  from(cut: number, values: Float32Array): void {
    const { c } = this
    for (let last = cut + 1; last <= LAYERS; last++) {
      const layers = this.executor(cut + 1, last)
      expect(elements(layers.inputShape(c.clips))).toBe(values.length)
      const output = run(layers, values, c.clips)
      const feature = c.features[last - 1]
      if (feature) {
        expect(layers.outputShape(c.clips)).toEqual(feature.shape)
        expect(relativeError(sample(output, feature), feature.values)).toBeLessThan(TOLERANCE)
        this.from(last, output)
      } else {
        expect(relativeError(output, c.logits.flat())).toBeLessThan(TOLERANCE)
        this.done++
      }
    }
  }

  close(): void {
    for (const executor of this.executors.values()) executor.close()
  }
}

describe('logits and features equal those of torch for every split into layers', () => {
  for (const name of ['torchvision-18', 'r2plus1d-pytorch-18', 'r2plus1d-pytorch-narrow']) {
    test(
      name,
      () => {
        const c = caseNamed(name)
        const splits = new Splits(c)
        splits.from(0, caseClips(c))
        splits.close()
        expect(splits.done).toBe(16)
      },
      TIMEOUT,
    )
  }
})
