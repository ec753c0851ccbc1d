import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { convolutionPtx } from '../../kernels/hopper/convolution.ts'
import { type ConvolutionKernel, planConvolution, STEM_COLUMNS } from '../../kernels/hopper/plan.ts'
import { packStemWeights, packWeights } from '../../kernels/hopper/weights.ts'
import { makeArchitecture, R2PLUS1D_18 } from '../../models/architecture.ts'
import { seededNetwork } from '../../models/seeded.ts'
import { makeProgram } from '../../src/compute/cuda/program.ts'
import { HopperBackend, lyings, stepsOf } from '../../src/compute/cuda/ptx/hopper/backend.ts'
import {
  candidates,
  chooseHopper,
  type HopperProblem,
  hopperName,
} from '../../src/compute/cuda/ptx/hopper/choose.ts'
import { columnsOf, hopperChannels } from '../../src/compute/cuda/ptx/hopper/places.ts'
import shiftGolden from './fixtures/hopper-shift.golden.ptx' with { type: 'text' }
import splitGolden from './fixtures/hopper-split.golden.ptx' with { type: 'text' }

setDefaultTimeout(60_000)

const SHIFT: ConvolutionKernel = {
  name: 'convolution',
  load: { mode: 'shift', side: 3, pitch: 15 },
  channelsIn: 64,
  channelsOut: 16,
  groups: 2,
  blocks: 1,
  columns: 16,
  stagesA: 2,
  stagesB: 4,
  relu: true,
  residual: false,
  split: 1,
  pads: { height: 15, width: 15 },
}
const SPLIT: ConvolutionKernel = {
  ...SHIFT,
  load: { mode: 'frames', places: 32, frames: 2, total: 225 },
  channelsIn: 144,
  channelsOut: 32,
  groups: 1,
  residual: true,
  split: 2,
}

describe('the text of kernels for compute capability 9.0', () => {
  test('of shifted rows', () => expect(convolutionPtx(SHIFT)).toBe(shiftGolden as string))
  test('of frames, shared by the blocks of a cluster', () =>
    expect(convolutionPtx(SPLIT)).toBe(splitGolden as string))
})

/** All problems of a network. */
function problemsOf(
  layout: 'torchvision' | 'r2plus1d-pytorch',
  frames: number,
  size: number,
): HopperProblem[] {
  const architecture =
    layout === 'torchvision'
      ? R2PLUS1D_18
      : makeArchitecture({ layout, widths: [16, 24, 40, 72], classes: 3 })
  const backend = new HopperBackend(132)
  const clip = { frames, height: size, width: size }
  const network = seededNetwork(architecture, 1)
  const program = makeProgram(network, 1, 5, clip, 'fp16', channels => backend.paddedChannels(channels))
  return stepsOf(program, lyings(program)).map(({ problem }) => problem)
}

const SHARED = 227 * 1024

test('all convolutions of both layouts have kernels that fit, of any size and number of frames', () => {
  for (const [layout, frames, size] of [
    ['torchvision', 8, 112],
    ['torchvision', 16, 112],
    ['torchvision', 5, 50],
    ['r2plus1d-pytorch', 1, 33],
    ['r2plus1d-pytorch', 32, 96],
  ] as const)
    for (const problem of problemsOf(layout, frames, size)) {
      const found = candidates(problem)
      expect(found.length).toBeGreaterThan(0)
      for (const { plan } of found) {
        const { kernel } = plan
        expect(plan.sharedBytes).toBeLessThanOrEqual(SHARED)
        expect(kernel.channelsOut).toBe(plan.columnTiles * kernel.columns)
        expect(kernel.split).toBeLessThanOrEqual(plan.chunks)
        // The copy engine's boxes, and the registers of 128 threads for 64 rows.
        const { load } = kernel
        expect(load.mode === 'frames' ? load.places : plan.boxRows).toBeLessThanOrEqual(256)
        expect(kernel.blocks * kernel.columns).toBeLessThanOrEqual(288)
      }
    }
})

test('channels are padded little, and to what tiles of columns divide', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2048 }), channels => {
      const padded = hopperChannels(channels)
      expect(padded % 16).toBe(0)
      expect(padded).toBeGreaterThanOrEqual(channels)
      expect(padded - channels).toBeLessThan(Math.max(16, 0.2 * channels + 16))
      const columns = columnsOf(padded)
      expect(columns.length).toBeGreaterThan(0)
      for (const count of columns) expect([padded % count, count % 8]).toEqual([0, 0])
    }),
  )
})

test('a kernel that is there is taken in place of one that is hardly better', () => {
  for (const problem of problemsOf('torchvision', 8, 112)) {
    const best = chooseHopper(problem, 10)!
    expect(hopperName(chooseHopper(problem, 10, () => false)!)).toBe(hopperName(best))
    const other = chooseHopper(problem, 10, plan => plan !== best.plan)!
    expect(candidates(problem).map(hopperName)).toContain(hopperName(other))
  }
})

describe('packed weights', () => {
  /** Where the copy engine's 128-byte swizzle puts element `k` of 64 of a row: bits 4 to 6 of an address, xor bits 7 to 9. */
  const element = (row: number, k: number): number => {
    const address = 128 * row + 2 * k
    return (address ^ (((address >> 7) & 7) << 4)) / 2
  }

  test('are blocks of columns x 64 channels as they lie in shared memory, zero beyond the filter', () => {
    const cases = fc.record({
      channelsIn: fc.integer({ min: 1, max: 150 }),
      channelsOut: fc.integer({ min: 1, max: 64 }),
      taps: fc.constantFrom([0, 1, 2], [1], [2, 0]),
    })
    fc.assert(
      fc.property(cases, ({ channelsIn, channelsOut, taps }) => {
        const padded = 16 * Math.ceil(channelsIn / 16)
        const load = { mode: 'im2col', taps: taps.map(t => [0, 0, t]), size: [1, 1, 1] } as never
        const plan = planConvolution({ ...SHIFT, load, channelsIn: padded, channelsOut: 64, columns: 32 })
        const weight = Float32Array.from({ length: channelsOut * channelsIn * 3 }, (_, i) => (i % 2039) + 1)
        const packed = packWeights(plan, { weight, channelsOut, channelsIn, taps: 3 }, taps)
        let sum = 0
        for (let k = 0; k < channelsOut; k++)
          for (let i = 0; i < channelsIn; i++)
            for (const [tap, which] of taps.entries()) {
              const block = (Math.floor(k / 32) * plan.chunks + Math.floor(i / 64)) * taps.length + tap
              const expected = weight[(k * channelsIn + i) * 3 + which]!
              expect(packed[block * 32 * 64 + element(k % 32, i % 64)]).toBe(expected)
              sum += expected
            }
        expect(packed.reduce((a, b) => a + b, 0)).toBe(sum)
      }),
      { numRuns: 30 },
    )
  })

  test('of the stem have a row of the filter beside each other, odd columns of pixels first', () => {
    const load = { mode: 'stem', height: 8, width: 8, pitch: [9, 9] } as const
    const plan = planConvolution({ ...SHIFT, load, channelsOut: 48, columns: 48, blocks: 2 })
    const weight = Float32Array.from({ length: 45 * 3 * 49 }, (_, i) => (i % 2039) + 1)
    const packed = packStemWeights(plan, { weight, channelsOut: 45, channelsIn: 3, taps: 49 })
    expect(packed).toHaveLength(7 * 48 * 64)
    for (let k = 0; k < 48; k++)
      for (let y = 0; y < 7; y++)
        for (const [place, x] of STEM_COLUMNS.entries())
          for (let i = 0; i < 8; i++) {
            const real = k < 45 && x < 7 && i < 3
            const expected = real ? weight[(k * 3 + i) * 49 + 7 * y + x]! : 0
            expect(packed[y * 48 * 64 + element(k, 8 * place + i)]).toBe(expected)
          }
  })
})

const ptxas = Bun.which('ptxas')
if (!ptxas) console.warn('skipping the assembly of kernels for compute capability 9.0: ptxas is missing')

test.skipIf(!ptxas)('ptxas takes them, with sums in registers and products side by side', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rnb-ptx-'))
  try {
    const kernels = new Map<string, ConvolutionKernel>([
      ['golden shift', SHIFT],
      ['golden split', SPLIT],
    ])
    for (const problem of problemsOf('torchvision', 8, 112))
      for (const clips of [1, 64]) {
        const { kernel } = chooseHopper(problem, clips)!.plan
        kernels.set(JSON.stringify(kernel), kernel)
      }
    for (const [name, kernel] of kernels) {
      const file = join(folder, 'kernel.ptx')
      writeFileSync(file, convolutionPtx(kernel))
      const command = [ptxas!, '-v', '-arch=sm_90a', file, '-o', join(folder, 'kernel.cubin')]
      const { stderr, exitCode } = Bun.spawnSync(command)
      const said = `${name}: ${exitCode} ${stderr}`
      expect(said).toStartWith(`${name}: 0 `)
      expect(said).toContain('0 bytes spill stores, 0 bytes spill loads')
      // What ptxas says where it has products wait for each other, or does not take setmaxnreg.
      expect(said).not.toMatch(/C75\d\d/)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})
