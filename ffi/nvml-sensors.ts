import { type FFIFunction, FFIType, type Library, ptr } from 'bun:ffi'
import { openLibrary } from './library.ts'
import { MEMORY_INFO, NVML_SEARCH, NVML_SUCCESS, nvmlDevice } from './nvml.ts'

const { ptr: pointer, i32 } = FFIType

/** What is read of a GPU while a run goes on, as nvml.h of 12 and 13 declares it. */
export const NVML_SENSORS = {
  nvmlDeviceGetUtilizationRates: { args: [pointer, pointer], returns: i32 },
  nvmlDeviceGetDecoderUtilization: { args: [pointer, pointer, pointer], returns: i32 },
  nvmlDeviceGetMemoryInfo: { args: [pointer, pointer], returns: i32 },
  nvmlDeviceGetPowerUsage: { args: [pointer, pointer], returns: i32 },
  nvmlDeviceGetTotalEnergyConsumption: { args: [pointer, pointer], returns: i32 },
  nvmlDeviceGetTemperature: { args: [pointer, i32, pointer], returns: i32 },
  nvmlDeviceGetClockInfo: { args: [pointer, i32, pointer], returns: i32 },
  nvmlDeviceGetCurrentClocksThrottleReasons: { args: [pointer, pointer], returns: i32 },
  nvmlDeviceGetPcieThroughput: { args: [pointer, i32, pointer], returns: i32 },
  nvmlDeviceGetFieldValues: { args: [pointer, i32, pointer], returns: i32 },
} as const satisfies Record<string, FFIFunction>

export const NVML_CLOCK = { sm: 1, memory: 2 } as const
export const NVML_PCIE_UTIL = { tx: 0, rx: 1 } as const
export const NVML_TEMPERATURE_GPU = 0

/** Fields of nvmlDeviceGetFieldValues: KiB of data over NVLink since the driver was loaded, all links together. */
export const NVLINK_FIELDS = { tx: 138, rx: 139 } as const
/** nvmlFieldValue_t: bytes of it, and where its fields are. */
export const FIELD_VALUE = { sizeof: 40, fieldId: 0, scopeId: 4, nvmlReturn: 28, value: 32 } as const
const ALL_LINKS = 0xffff_ffff

/** Bits of why clocks are lower than they could be (nvmlClocksEventReasons and nvmlClocksThrottleReasons). */
export const THROTTLE_REASONS = {
  1: 'idle',
  2: 'clocks set',
  4: 'power cap',
  8: 'hardware slowdown',
  16: 'sync boost',
  32: 'heat',
  64: 'heat, by hardware',
  128: 'power brake',
  256: 'display clocks',
} as const

/** What a GPU does at one moment; null where it has no such sensor. */
export interface GpuReading {
  /** Share of the time in which a kernel ran, and in which memory was read or written: 0..1, over NVML's own period. */
  sm: number | null
  memory: number | null
  /** Share of the time in which NVDEC was busy, 0..1. */
  decoder: number | null
  memoryUsedBytes: number | null
  powerW: number | null
  /** Since the driver was loaded. */
  energyJ: number | null
  temperatureC: number | null
  smMHz: number | null
  memoryMHz: number | null
  throttled: string[]
  /** Over PCIe, bytes per second. */
  pcieTx: number | null
  pcieRx: number | null
  /** Over NVLink, bytes since the driver was loaded. */
  nvlinkTxBytes: number | null
  nvlinkRxBytes: number | null
}

/** Reads one GPU's sensors, whichever it has. */
export class GpuSensors {
  readonly #symbols: Library<typeof NVML_SENSORS>['symbols']
  readonly #device: never
  readonly #memory = new ArrayBuffer(64)
  readonly #view = new DataView(this.#memory)
  readonly #out = ptr(new Uint8Array(this.#memory))
  readonly #fields = new ArrayBuffer(2 * FIELD_VALUE.sizeof)

  /** @param uuid - of the GPU. @throws as `nvmlDevice` */
  constructor(uuid: string) {
    this.#device = nvmlDevice(uuid) as never
    this.#symbols = openLibrary(NVML_SEARCH, NVML_SENSORS).symbols
  }

  read(): GpuReading {
    const { nvmlDeviceGetUtilizationRates: rates, nvmlDeviceGetMemoryInfo: memory } = this.#symbols
    const device = this.#device
    const out = this.#out
    const view = this.#view
    // A sensor that is not there, or may not be read, is no fault: its value is null.
    const value = <T>(status: number, read: () => T): T | null => (status === NVML_SUCCESS ? read() : null)
    const u32At = (offset = 0) => view.getUint32(offset, true)
    const u64At = (offset = 0) => Number(view.getBigUint64(offset, true))
    const symbols = this.#symbols
    const used = value(rates(device, out), () => ({ sm: u32At() / 100, memory: u32At(4) / 100 }))
    const clock = (which: number) => value(symbols.nvmlDeviceGetClockInfo(device, which, out), u32At)
    const pcie = (way: number) =>
      value(symbols.nvmlDeviceGetPcieThroughput(device, way, out), () => 1024 * u32At())
    // The second result, the sampling period, goes behind the first.
    const period = ptr(new Uint8Array(this.#memory), 8)
    const reasons = value(symbols.nvmlDeviceGetCurrentClocksThrottleReasons(device, out), () => u32At()) ?? 0
    const [nvlinkTxBytes, nvlinkRxBytes] = this.#nvlink()
    return {
      sm: used?.sm ?? null,
      memory: used?.memory ?? null,
      decoder: value(symbols.nvmlDeviceGetDecoderUtilization(device, out, period), () => u32At() / 100),
      memoryUsedBytes: value(memory(device, out), () => u64At(MEMORY_INFO.used)),
      powerW: value(symbols.nvmlDeviceGetPowerUsage(device, out), () => u32At() / 1000),
      energyJ: value(symbols.nvmlDeviceGetTotalEnergyConsumption(device, out), () => u64At() / 1000),
      temperatureC: value(symbols.nvmlDeviceGetTemperature(device, NVML_TEMPERATURE_GPU, out), u32At),
      smMHz: clock(NVML_CLOCK.sm),
      memoryMHz: clock(NVML_CLOCK.memory),
      throttled: Object.entries(THROTTLE_REASONS).flatMap(([bit, name]) =>
        reasons & Number(bit) ? [name] : [],
      ),
      pcieTx: pcie(NVML_PCIE_UTIL.tx),
      pcieRx: pcie(NVML_PCIE_UTIL.rx),
      nvlinkTxBytes: nvlinkTxBytes ?? null,
      nvlinkRxBytes: nvlinkRxBytes ?? null,
    }
  }

  #nvlink(): (number | null)[] {
    const view = new DataView(this.#fields)
    const ids = [NVLINK_FIELDS.tx, NVLINK_FIELDS.rx]
    ids.forEach((id, i) => {
      view.setUint32(i * FIELD_VALUE.sizeof + FIELD_VALUE.fieldId, id, true)
      view.setUint32(i * FIELD_VALUE.sizeof + FIELD_VALUE.scopeId, ALL_LINKS, true)
    })
    const { nvmlDeviceGetFieldValues: get } = this.#symbols
    if (get(this.#device, ids.length, new Uint8Array(this.#fields)) !== NVML_SUCCESS) return [null, null]
    return ids.map((_, i) => {
      const at = i * FIELD_VALUE.sizeof
      const status = view.getInt32(at + FIELD_VALUE.nvmlReturn, true)
      return status === NVML_SUCCESS ? 1024 * Number(view.getBigUint64(at + FIELD_VALUE.value, true)) : null
    })
  }
}
