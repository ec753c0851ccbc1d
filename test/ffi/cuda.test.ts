import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as constants from '../../ffi/cuda/constants.ts'
import { formatUuid } from '../../ffi/cuda/device.ts'
import { pipFolders } from '../../ffi/cuda/folders.ts'
import { Owner } from '../../ffi/cuda/owner.ts'
import { CUDA } from '../../ffi/cuda/symbols.ts'
import * as nvml from '../../ffi/nvml.ts'
import { askHeader, haveHeader, tableSignature } from './cuda-headers.ts'

// Compiling takes its time on a busy machine.
setDefaultTimeout(60_000)

describe('the table of libcuda', () => {
  test.skipIf(!haveHeader('cuda.h'))('is what cuda.h declares', () => {
    const names = Object.keys(CUDA) as (keyof typeof CUDA)[]
    const { signatures } = askHeader(['cuda.h'], names)
    expect(Object.keys(signatures)).toEqual(names)
    for (const name of names)
      expect([name, tableSignature(CUDA[name], signatures[name]!)]).toEqual([name, signatures[name]!])
  })

  test.skipIf(!haveHeader('cuda.h'))('has the numbers that cuda.h gives its names', () => {
    expect(askHeader(['cuda.h'], [], Object.keys(constants)).constants).toEqual({ ...constants })
  })
})

describe('the table of NVML', () => {
  test.skipIf(!haveHeader('nvml.h'))('is what nvml.h declares', () => {
    const names = Object.keys(nvml.NVML) as (keyof typeof nvml.NVML)[]
    const {
      signatures,
      constants: numbers,
      sizes,
    } = askHeader(['nvml.h'], names, ['NVML_SUCCESS', 'NVML_ERROR_INSUFFICIENT_SIZE'], {
      processInfo: 'sizeof(nvmlProcessInfo_t)',
      pid: 'offsetof(nvmlProcessInfo_t, pid)',
      usedGpuMemory: 'offsetof(nvmlProcessInfo_t, usedGpuMemory)',
      memoryInfo: 'sizeof(nvmlMemory_t)',
      total: 'offsetof(nvmlMemory_t, total)',
      free: 'offsetof(nvmlMemory_t, free)',
      used: 'offsetof(nvmlMemory_t, used)',
    })
    for (const name of names)
      expect([name, tableSignature(nvml.NVML[name], signatures[name]!)]).toEqual([name, signatures[name]!])
    expect(numbers).toEqual({
      NVML_SUCCESS: nvml.NVML_SUCCESS,
      NVML_ERROR_INSUFFICIENT_SIZE: nvml.NVML_ERROR_INSUFFICIENT_SIZE,
    })
    const { sizeof: processInfo, ...process } = nvml.PROCESS_INFO
    const { sizeof: memoryInfo, ...memory } = nvml.MEMORY_INFO
    expect(sizes).toEqual({ processInfo, ...process, memoryInfo, ...memory })
  })
})

test('a UUID is written as nvidia-smi writes it', () => {
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => 16 * i + 1)
  expect(formatUuid(bytes)).toBe('GPU-01112131-4151-6171-8191-a1b1c1d1e1f1')
})

describe('an owner', () => {
  test('frees in the reverse order, once, and goes on after a failure', () => {
    const freed: string[] = []
    const owner = new Owner()
    const free = (made: string) => {
      freed.push(made)
      if (made === 'stream') throw new Error('stream')
    }
    for (const made of ['context', 'stream', 'event']) owner.own(made, free)
    expect(() => owner.close()).toThrow('stream')
    expect(freed).toEqual(['event', 'stream', 'context'])
    owner.close()
    expect(freed).toHaveLength(3)
  })
})

describe('libraries that pip installed', () => {
  test('are found in the active environment and beside the python3 on PATH', () => {
    const folder = mkdtempSync(join(tmpdir(), 'rnb-pip-'))
    const saved = { VIRTUAL_ENV: process.env.VIRTUAL_ENV, PATH: process.env.PATH }
    try {
      const libraries = ['active', 'path'].map(name =>
        join(folder, name, 'lib/python3.12/site-packages/nvidia/cudnn/lib'),
      )
      for (const library of libraries) mkdirSync(library, { recursive: true })
      mkdirSync(join(folder, 'path/bin'))
      symlinkSync(process.execPath, join(folder, 'path/bin/python3'))
      process.env.VIRTUAL_ENV = join(folder, 'active')
      process.env.PATH = join(folder, 'path/bin')
      expect(pipFolders(['cudnn']).slice(0, 2)).toEqual(libraries)
      expect(pipFolders(['cudnn-of-another-name'])).toEqual([])
    } finally {
      Object.assign(process.env, saved)
      if (saved.VIRTUAL_ENV === undefined) delete process.env.VIRTUAL_ENV
      rmSync(folder, { recursive: true })
    }
  })
})
