import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import * as constants from '../../ffi/cudnn/constants.ts'
import { Descriptor } from '../../ffi/cudnn/descriptor.ts'
import { ConvolutionGraph, ConvolutionPlan, type Engine, usesTensorCores } from '../../ffi/cudnn/graph.ts'
import { cudnnStatus, formatVersion } from '../../ffi/cudnn/library.ts'
import { CUDNN } from '../../ffi/cudnn/symbols.ts'
import { NativeError } from '../../ffi/error.ts'
import { type Architecture, makeArchitecture } from '../../models/architecture.ts'
import { seededNetwork } from '../../models/seeded.ts'
import type { Precision } from '../../src/compute/cuda/layout.ts'
import { makeProgram } from '../../src/compute/cuda/program.ts'
import { askHeader, haveHeader, tableSignature } from './cuda-headers.ts'

// Compiling takes its time on a busy machine.
setDefaultTimeout(60_000)

const haveHeaders = haveHeader('cudnn.h')

describe('the table of cuDNN', () => {
  test.skipIf(!haveHeaders)('is what its headers declare', () => {
    const names = Object.keys(CUDNN) as (keyof typeof CUDNN)[]
    const { signatures } = askHeader(['cudnn.h'], names)
    for (const name of names)
      expect([name, tableSignature(CUDNN[name], signatures[name]!)]).toEqual([name, signatures[name]!])
  })

  test.skipIf(!haveHeaders)('has the numbers that they give its names', () => {
    const { CUDNN_STATUS_SUCCESS, CUDNN_CROSS_CORRELATION } = constants
    const named: Record<string, number> = { CUDNN_STATUS_SUCCESS, CUDNN_CROSS_CORRELATION }
    const add = (prefix: string, table: Record<string, number>, suffix = '') => {
      for (const [name, value] of Object.entries(table)) named[`${prefix}${name}${suffix}`] = value
    }
    add('CUDNN_BACKEND_', constants.DESCRIPTOR, '_DESCRIPTOR')
    add('CUDNN_TYPE_', constants.TYPE)
    add('CUDNN_ATTR_', constants.ATTRIBUTE)
    add('CUDNN_DATA_', constants.DATA)
    add('CUDNN_POINTWISE_', constants.POINTWISE)
    add('CUDNN_HEUR_MODE_', constants.HEURISTIC)
    add('CUDNN_NUMERICAL_NOTE_', constants.NUMERICAL_NOTE)
    expect(askHeader(['cudnn.h'], [], Object.keys(named)).constants).toEqual(named)
  })
})

test('a version is written as people write it', () => {
  expect([91900, 92400, 90101].map(formatVersion)).toEqual(['9.19.0', '9.24.0', '9.1.1'])
})

const status = cudnnStatus()
if (!status.ok) console.warn('skipped: cuDNN’s engines: it is not installed')

/** An H100, as cuDNN describes a device that need not be here. */
const H100 = {
  deviceName: 'NVIDIA H100 80GB HBM3',
  cudaDeviceId: 0,
  deviceVer: 900,
  driverVer: 13000,
  totalGlobalMem: 85_017_755_648,
  multiProcessorCount: 132,
  smClockRateKHz: 1_980_000,
  memClockRateKHz: 2_619_000,
  l2CacheSize: 52_428_800,
  warpSize: 32,
  maxGridSize: [2_147_483_647, 65_535, 65_535],
  maxBlockSize: [1024, 1024, 64],
  maxThreadsPerBlock: 1024,
  maxThreadsPerSM: 2048,
  maxCtasPerSM: 32,
  maxSharedMemoryPerBlock: 49_152,
  maxSharedMemoryPerBlockOptin: 232_448,
  reservedSharedMemoryPerBlock: 1024,
  maxRegistersPerSM: 65_536,
  regsPerBlock: 65_536,
  pciDeviceId: 0,
  isTccDriver: 0,
  supportCoopLaunch: 1,
}

/** The description of an H100, for a cuDNN that can plan for a device that is not here (9.8 and up). */
function describeH100(): Descriptor | undefined {
  try {
    return new Descriptor('DEVICEPROP')
      .setText('DEVICEPROP_JSON_REPRESENTATION', JSON.stringify(H100))
      .finalize()
  } catch (error) {
    if (error instanceof NativeError) return undefined
    throw error
  }
}

const properties = status.ok ? describeH100() : undefined

describe('for an H100, without one, cuDNN has compiled engines', () => {
  const layouts: Architecture['layout'][] = ['torchvision', 'r2plus1d-pytorch']
  const precisions: Precision[] = ['fp16', 'tf32', 'fp32']
  for (const layout of layouts)
    for (const precision of precisions)
      test.skipIf(!properties)(`for every convolution of ${layout} 18 in ${precision}`, () => {
        const network = seededNetwork(makeArchitecture({ layout }), 1)
        const clip = { frames: 8, height: 112, width: 112 }
        const { operations } = makeProgram(network, 1, 5, clip, precision)
        const suits = (engine: Engine) => usesTensorCores(engine) === (precision !== 'fp32')
        for (const operation of operations) {
          if (operation.kind !== 'convolution') continue
          const graph = new ConvolutionGraph(operation.problem(10), { properties: properties! })
          const engine = [...graph.engines('A'), ...graph.engines('FALLBACK')].find(suits)
          expect([operation.output, engine !== undefined]).toEqual([operation.output, true])
          new ConvolutionPlan(graph, engine!).close()
          graph.close()
        }
      })
})
