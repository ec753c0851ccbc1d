import { ptr } from 'bun:ffi'
import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pipFolders, toolkitFolders } from '../../ffi/cuda/folders.ts'
import { Buffers, callbacksFor } from '../../ffi/cupti/buffers.ts'
import { ClockAlignment } from '../../ffi/cupti/clock.ts'
import * as constants from '../../ffi/cupti/constants.ts'
import { offsetsFromHeaders } from '../../ffi/cupti/generate-offsets.ts'
import offsets from '../../ffi/cupti/offsets.json'
import { CUPTI, CUPTI_COUNTERS } from '../../ffi/cupti/symbols.ts'
import { askHeader, haveHeader, tableSignature } from './cuda-headers.ts'

// Compiling takes its time on a busy machine.
setDefaultTimeout(60_000)

const HEADERS = ['cupti.h', 'cupti_profiler_host.h', 'cupti_range_profiler.h', 'cupti_target.h']

describe('CUPTI', () => {
  test.skipIf(!haveHeader('cupti_range_profiler.h'))('the tables are what its headers declare', () => {
    const table = { ...CUPTI, ...CUPTI_COUNTERS }
    const names = Object.keys(table) as (keyof typeof table)[]
    const { signatures } = askHeader(HEADERS, names)
    for (const name of names)
      expect([name, tableSignature(table[name], signatures[name]!)]).toEqual([name, signatures[name]!])
  })

  test.skipIf(!haveHeader('cupti.h'))('names have the numbers that its headers give them', () => {
    expect(askHeader(HEADERS, [], Object.keys(constants)).constants).toEqual({ ...constants })
  })

  test.skipIf(!haveHeader('cupti_range_profiler.h'))('struct offsets are those of its headers', () => {
    const folder = [...toolkitFolders(), ...pipFolders(['cu13'])]
      .map(lib => join(dirname(lib), 'include'))
      .find(include => existsSync(join(include, 'cupti_range_profiler.h')))
    expect(offsets as ReturnType<typeof offsetsFromHeaders>).toEqual(offsetsFromHeaders(folder))
  })

  test('records of CUPTI 12 have the fields where those of 13 have them', () => {
    expect(offsets.CUpti_ActivityKernel9).toEqual(offsets.CUpti_ActivityKernel)
    expect(offsets.CUpti_ActivityMemcpy5).toEqual(offsets.CUpti_ActivityMemcpy)
    expect(offsets.CUpti_ActivityOverhead2).toEqual(offsets.CUpti_ActivityOverhead)
  })

  test('buffers are handed out once each, come back with their size, and are counted when they run out', () => {
    const handle = Buffers.create(3, 4096)
    const { symbols } = callbacksFor(handle)
    const buffers = new Buffers(handle)
    const out = new BigUint64Array(new ArrayBuffer(24))
    const at = ptr(out)
    const request = () => {
      symbols.request(at, (at + 8) as typeof at, (at + 16) as typeof at)
      return Number(out[0])
    }
    const given = [request(), request(), request()]
    expect(given.map(address => address - buffers.address)).toEqual([0, 4096, 8192])
    expect(Number(out[1])).toBe(4096)
    expect([request(), buffers.refused]).toEqual([0, 1])
    expect([...buffers.full()]).toEqual([])
    symbols.complete(given[1]! as typeof at, 4096, 96)
    const [full, ...others] = buffers.full()
    expect([full, others]).toEqual([{ index: 1, at: 4096, bytes: 96 }, []])
    // Until it is given back, it is the reader's.
    expect(request()).toBe(0)
    buffers.giveBack(full!)
    expect(request()).toBe(given[1]!)
    expect(buffers.refused).toBe(2)
  })

  test('moments between two readings of the clocks lie between them, and the error is the worse bracket’s', () => {
    const cupti = 1_790_000_000_000_000_007n
    const alignment = new ClockAlignment(
      { monotonicNs: 1e9, cupti, errorNs: 40 },
      { monotonicNs: 2e9, cupti: cupti + 1_000_000_100n, errorNs: 25 },
    )
    expect(alignment.monotonic(0)).toBe(1e9)
    expect(alignment.monotonic(1_000_000_100)).toBeCloseTo(2e9, 3)
    expect(alignment.monotonic(500_000_050)).toBeCloseTo(1.5e9, 3)
    expect([alignment.errorNs, alignment.driftNs]).toEqual([40, 100])
  })
})
