import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as sensors from '../../ffi/nvml-sensors.ts'
import { askHeader, haveHeader, tableSignature } from './cuda-headers.ts'

const haveGcc = Bun.which('gcc') !== null
if (!haveGcc) console.warn('skipped: no gcc here to build an NVML to read from')

const folder = mkdtempSync(join(tmpdir(), 'rnb-nvml-'))
afterAll(() => rmSync(folder, { recursive: true }))
const library = join(folder, 'libnvidia-ml.so.1')

beforeAll(() => {
  if (!haveGcc) return
  const command = ['gcc', '-w', '-shared', '-fPIC', join(import.meta.dir, 'nvml-fake.c'), '-o', library]
  const { exitCode, stderr } = Bun.spawnSync(command)
  if (exitCode !== 0) throw new Error(stderr.toString())
})

test.skipIf(!haveHeader('nvml.h'))('the table is what nvml.h declares', () => {
  const names = Object.keys(sensors.NVML_SENSORS) as (keyof typeof sensors.NVML_SENSORS)[]
  const reasons = [
    'GpuIdle',
    'ApplicationsClocksSetting',
    'SwPowerCap',
    'SyncBoost',
    'SwThermalSlowdown',
    'DisplayClockSetting',
  ]
  const {
    signatures,
    constants: {
      NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX: tx,
      NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX: rx,
      ...constants
    },
    sizes,
  } = askHeader(
    ['nvml.h'],
    names,
    [
      'NVML_CLOCK_SM',
      'NVML_CLOCK_MEM',
      'NVML_PCIE_UTIL_TX_BYTES',
      'NVML_PCIE_UTIL_RX_BYTES',
      'NVML_TEMPERATURE_GPU',
      'NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX',
      'NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX',
      ...reasons.map(reason => `nvmlClocksEventReason${reason}`),
    ],
    {
      sizeof: 'sizeof(nvmlFieldValue_t)',
      fieldId: 'offsetof(nvmlFieldValue_t, fieldId)',
      scopeId: 'offsetof(nvmlFieldValue_t, scopeId)',
      nvmlReturn: 'offsetof(nvmlFieldValue_t, nvmlReturn)',
      value: 'offsetof(nvmlFieldValue_t, value)',
    },
  )
  for (const name of names)
    expect([name, tableSignature(sensors.NVML_SENSORS[name], signatures[name]!)]).toEqual([
      name,
      signatures[name]!,
    ])
  expect(sizes).toEqual(sensors.FIELD_VALUE)
  expect({ tx, rx }).toEqual(sensors.NVLINK_FIELDS)
  expect(constants).toEqual({
    NVML_CLOCK_SM: sensors.NVML_CLOCK.sm,
    NVML_CLOCK_MEM: sensors.NVML_CLOCK.memory,
    NVML_PCIE_UTIL_TX_BYTES: sensors.NVML_PCIE_UTIL.tx,
    NVML_PCIE_UTIL_RX_BYTES: sensors.NVML_PCIE_UTIL.rx,
    NVML_TEMPERATURE_GPU: sensors.NVML_TEMPERATURE_GPU,
    nvmlClocksEventReasonGpuIdle: 1,
    nvmlClocksEventReasonApplicationsClocksSetting: 2,
    nvmlClocksEventReasonSwPowerCap: 4,
    nvmlClocksEventReasonSyncBoost: 16,
    nvmlClocksEventReasonSwThermalSlowdown: 32,
    nvmlClocksEventReasonDisplayClockSetting: 256,
  })
})

/** What a program says that reads the sensors of the NVML above. */
function read(env: Record<string, string> = {}, uuid = 'GPU-1') {
  const file = join(folder, 'program.ts')
  const module = JSON.stringify(join(import.meta.dir, '../../ffi/nvml-sensors.ts'))
  writeFileSync(
    file,
    `import { GpuSensors } from ${module}
    try { const gpu = new GpuSensors('${uuid}'); gpu.read(); console.log(JSON.stringify(gpu.read())) }
    catch (e) { console.error(e.message) }`,
  )
  const { stdout, stderr } = Bun.spawnSync([process.execPath, file], {
    env: { ...process.env, RNB_NVML: library, ...env },
  })
  return {
    reading: stdout.toString() === '' ? undefined : JSON.parse(stdout.toString()),
    error: stderr.toString(),
  }
}

describe.skipIf(!haveGcc)('sensors', () => {
  test('are read in their units', () =>
    expect(read().reading).toEqual({
      sm: 0.75,
      memory: 0.3,
      decoder: 0.99,
      memoryUsedBytes: 10 * 2 ** 30,
      powerW: 350.5,
      energyJ: 5_000_014,
      temperatureC: 54,
      smMHz: 1980,
      memoryMHz: 2619,
      throttled: ['power cap', 'heat'],
      pcieTx: 1_024_000,
      pcieRx: 2_048_000,
      nvlinkTxBytes: 11 * 1024,
      nvlinkRxBytes: 22 * 1024,
    }))
  test('that a GPU lacks read null', () =>
    expect(read({ FAKE_BARE: '1' }).reading).toMatchObject({
      sm: 0.75,
      energyJ: null,
      pcieTx: null,
      nvlinkTxBytes: null,
    }))
  test('of a GPU that is not there are an error', () =>
    expect(read({}, 'GPU-2').error).toContain('nvmlDeviceGetHandleByUUID'))
})
