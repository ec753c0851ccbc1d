import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import type { GpuReading } from '../../ffi/nvml-sensors.ts'
import { HostSensors, kibibytes, parseStat } from '../../src/telemetry/host.ts'
import type { Sample } from '../../src/telemetry/sample.ts'
import { summariseTelemetry } from '../../src/telemetry/summary.ts'
import { Samples } from '../../src/telemetry/telemetry.ts'

const host = { cpu: 0.5, processCores: 1, residentBytes: 1e6, availableBytes: 1e9 }
const sampleAt = (ns: number, gpus: Sample['gpus'] = {}): Sample => ({ ns, host, gpus })

describe('samples', () => {
  test('of a run of any length stay few, even over time, with the first and the last', () =>
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3000 }), fc.integer({ min: 2, max: 64 }), (count, most) => {
        const samples = new Samples(most)
        for (let i = 0; i < count; i++) samples.add(sampleAt(i))
        const times = samples.all.map(({ ns }) => ns)
        expect(times.length).toBeLessThanOrEqual(most + 1)
        expect(times[0]).toBe(0)
        expect(times.at(-1)).toBe(count - 1)
        const steps = times.slice(1, -1).map((t, i) => t - times[i]!)
        expect(new Set(steps).size).toBeLessThanOrEqual(1)
        // No fewer than half of what there is room for.
        expect(times.length).toBeGreaterThanOrEqual(Math.min(count, Math.floor(most / 2)))
      }),
    ))
})

describe('the host', () => {
  test('is busy as /proc/stat says', () => {
    // user nice system idle iowait irq softirq steal guest
    expect(parseStat('cpu  10 1 5 80 4 1 2 3 9\ncpu0 1 1 1 1\n')).toEqual({ busy: 22, all: 106 })
    expect(kibibytes('VmPeak:\t 10 kB\nVmRSS:\t   2048 kB\n', 'VmRSS')).toBe(2 * 2 ** 20)
  })
  test('is read', () => {
    const sensors = new HostSensors()
    expect(sensors.read().cpu).toBeNull()
    const reading = sensors.read()
    expect(reading.residentBytes).toBeGreaterThan(10 * 2 ** 20)
    expect(reading.availableBytes).toBeLessThanOrEqual(
      kibibytes(readFileSync('/proc/meminfo', 'utf8'), 'MemTotal'),
    )
  })
})

describe('a summary', () => {
  const gpu = (energyJ: number | null, sm: number | null): GpuReading => ({
    sm,
    memory: null,
    decoder: 1,
    memoryUsedBytes: 5,
    powerW: 100,
    energyJ,
    temperatureC: 50,
    smMHz: 1000,
    memoryMHz: 2000,
    throttled: sm === 1 ? ['heat'] : [],
    pcieTx: null,
    pcieRx: null,
    nvlinkTxBytes: 10,
    nvlinkRxBytes: null,
  })
  test('has means, highest values and the energy of a video', () => {
    const summary = summariseTelemetry(
      [
        sampleAt(0, { 0: gpu(1000, 0), 1: gpu(50, 0.5) }),
        sampleAt(1, { 0: gpu(1100, 1), 1: gpu(60, null) }),
        sampleAt(2, { 0: gpu(1300, 0.5), 1: gpu(150, 0.5) }),
      ],
      100,
      8,
    )
    expect(summary.samples).toBe(3)
    expect(summary.gpus[0]).toMatchObject({
      device: 'cuda:0',
      sm: { mean: 0.5, max: 1 },
      memory: null,
      energy_j: 300,
      throttled: ['heat'],
      nvlink_tx_bytes: 0,
      nvlink_rx_bytes: null,
    })
    expect(summary.gpus[1]!.sm).toEqual({ mean: 0.5, max: 0.5 })
    expect(summary.energy_j_per_video).toBe(50)
  })
  test('does not guess the energy of GPUs that do not tell it', () => {
    const samples = [
      sampleAt(0, { 0: gpu(1, 0), 1: gpu(null, 0) }),
      sampleAt(1, { 0: gpu(9, 0), 1: gpu(null, 0) }),
    ]
    expect(summariseTelemetry(samples, 100, 8).energy_j_per_video).toBeNull()
    expect(summariseTelemetry([], 100, 0)).toMatchObject({ samples: 0, gpus: [], energy_j_per_video: null })
  })
})
