import { type FFIFunction, FFIType, type Library } from 'bun:ffi'
import { SYSTEM_FOLDERS } from './cuda/folders.ts'
import { LibraryError, NativeError } from './error.ts'
import { type LibrarySearch, openLibrary } from './library.ts'

const { ptr: pointer, i32, u32, cstring } = FFIType

/** What rnb calls of NVML, as nvml.h of 12 and 13 declares it, under the exported names. */
export const NVML = {
  nvmlInit_v2: { args: [], returns: i32 },
  nvmlErrorString: { args: [i32], returns: cstring },
  nvmlSystemGetDriverVersion: { args: [pointer, u32], returns: i32 },
  nvmlDeviceGetHandleByUUID: { args: [pointer, pointer], returns: i32 },
  nvmlDeviceGetMemoryInfo: { args: [pointer, pointer], returns: i32 },
  nvmlDeviceGetComputeRunningProcesses_v3: { args: [pointer, pointer, pointer], returns: i32 },
  nvmlSystemGetProcessName: { args: [u32, pointer, u32], returns: i32 },
} as const satisfies Record<string, FFIFunction>

export const NVML_SUCCESS = 0
export const NVML_ERROR_INSUFFICIENT_SIZE = 7

/** struct nvmlProcessInfo_st: bytes of it, and where its fields are. */
export const PROCESS_INFO = { sizeof: 24, pid: 0, usedGpuMemory: 8 }
/** struct nvmlMemory_st. */
export const MEMORY_INFO = { sizeof: 24, total: 0, free: 8, used: 16 }
/** NVML's word for a number that it cannot tell, as for memory of processes in a container. */
const NOT_AVAILABLE = 0xffff_ffff_ffff_ffffn

type Nvml = Library<typeof NVML> & { path: string }

let opened: Nvml | undefined

/** The one place where a status of NVML is looked at. @throws {NativeError} unless it is NVML_SUCCESS */
function check(call: string, status: number, symbols: Nvml['symbols']): void {
  if (status === NVML_SUCCESS) return
  throw new NativeError('NVML', call, status, `nvmlReturn ${status}`, String(symbols.nvmlErrorString(status)))
}

/** Where NVML is. */
export const NVML_SEARCH: LibrarySearch = {
  name: 'NVML',
  override: 'RNB_NVML',
  sonames: ['libnvidia-ml.so.1'],
  folders: SYSTEM_FOLDERS,
  hint: 'It is part of the NVIDIA driver; without it rnb cannot tell whether another process uses a GPU.',
}

function nvml(): Nvml {
  if (opened) return opened
  const library = openLibrary(NVML_SEARCH, NVML)
  check('nvmlInit_v2', library.symbols.nvmlInit_v2(), library.symbols)
  opened = library
  return opened
}

/** A process that uses a GPU for computing. */
export interface GpuProcess {
  pid: number
  /** Its executable, where NVML may see it. */
  name?: string
  /** Of the GPU's memory, where NVML can tell. */
  memoryBytes?: number
}

/** What NVML tells of a GPU. */
export interface GpuUse {
  memory: { total: number; free: number; used: number }
  /** In the order in which NVML lists them; this process too, if it uses the GPU. */
  processes: GpuProcess[]
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)))

function processName(pid: number, { symbols }: Nvml): string | undefined {
  const bytes = new Uint8Array(new ArrayBuffer(4096))
  return symbols.nvmlSystemGetProcessName(pid, bytes, bytes.length) === NVML_SUCCESS ? text(bytes) : undefined
}

function processes(device: number, library: Nvml): GpuProcess[] {
  const { nvmlDeviceGetComputeRunningProcesses_v3: list } = library.symbols
  const count = new Uint32Array(new ArrayBuffer(4))
  for (let room = 64; ; room *= 2) {
    const bytes = new Uint8Array(new ArrayBuffer(room * PROCESS_INFO.sizeof))
    const memory = new DataView(bytes.buffer)
    count[0] = room
    const status = list(device as never, count, bytes)
    if (status === NVML_ERROR_INSUFFICIENT_SIZE) continue
    check('nvmlDeviceGetComputeRunningProcesses_v3', status, library.symbols)
    return Array.from({ length: count[0]! }, (_, i) => {
      const at = i * PROCESS_INFO.sizeof
      const pid = memory.getUint32(at + PROCESS_INFO.pid, true)
      const used = memory.getBigUint64(at + PROCESS_INFO.usedGpuMemory, true)
      const memoryBytes = used === NOT_AVAILABLE ? undefined : Number(used)
      return { pid, name: processName(pid, library), memoryBytes }
    })
  }
}

/**
 * NVML's handle of a GPU.
 * @param uuid - `GPU-...`, as `describeDevice` gives it: NVML's own numbers do not follow CUDA_VISIBLE_DEVICES
 * @throws {LibraryError} without NVML
 * @throws {NativeError}
 */
export function nvmlDevice(uuid: string): number {
  const { symbols } = nvml()
  const handle = new BigUint64Array(new ArrayBuffer(8))
  const name = Buffer.from(new ArrayBuffer(uuid.length + 1))
  name.write(uuid)
  check('nvmlDeviceGetHandleByUUID', symbols.nvmlDeviceGetHandleByUUID(name, handle), symbols)
  return Number(handle[0])
}

/**
 * Memory and compute processes of a GPU.
 * @throws as `nvmlDevice`
 */
export function gpuUse(uuid: string): GpuUse {
  const library = nvml()
  const { symbols } = library
  const device = nvmlDevice(uuid)
  const info = new Uint8Array(new ArrayBuffer(MEMORY_INFO.sizeof))
  check('nvmlDeviceGetMemoryInfo', symbols.nvmlDeviceGetMemoryInfo(device as never, info), symbols)
  const memory = new DataView(info.buffer)
  const bytes = (field: 'total' | 'free' | 'used') => Number(memory.getBigUint64(MEMORY_INFO[field], true))
  return {
    memory: { total: bytes('total'), free: bytes('free'), used: bytes('used') },
    processes: processes(device, library),
  }
}

/** What `doctor` says of NVML: its file and the driver's version, or what to do. */
export function nvmlStatus(): { ok: true; path: string; driver: string } | { ok: false; problem: string } {
  try {
    const { path, symbols } = nvml()
    const bytes = new Uint8Array(new ArrayBuffer(96))
    const status = symbols.nvmlSystemGetDriverVersion(bytes, bytes.length)
    check('nvmlSystemGetDriverVersion', status, symbols)
    return { ok: true, path, driver: text(bytes) }
  } catch (error) {
    if (error instanceof LibraryError || error instanceof NativeError)
      return { ok: false, problem: error.message }
    throw error
  }
}
