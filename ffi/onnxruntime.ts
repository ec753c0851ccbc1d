import { CString, type FFIFunction, FFIType, linkSymbols, type Pointer, ptr, read } from 'bun:ffi'
import { LibraryError, NativeError } from './error.ts'
import { keep } from './keep.ts'
import { environmentDefault } from './libc.ts'
import { type LibrarySearch, openLibrary } from './library.ts'
import { memoryFile } from './memory-file.ts'
import { embeddedOnnxRuntime } from './onnxruntime-embedded.ts'

/** The version of the C API that is asked for: what every library since ONNX Runtime 1.12 provides. */
const API_VERSION = 12

const { i32, u32, u64, ptr: pointer, void: nothing } = FFIType

/**
 * The functions used of struct OrtApi: place in the struct, then argument types. A place never changes once released
 * (onnxruntime_c_api.h of 1.12, API versions 1 to 12; test/compute/onnxruntime.test.ts holds them to its whole list).
 */
export const ORT_FUNCTIONS = {
  GetErrorCode: [1, [pointer], i32],
  GetErrorMessage: [2, [pointer], pointer],
  CreateEnv: [3, [i32, pointer, pointer], pointer],
  DisableTelemetryEvents: [6, [pointer], pointer],
  CreateSessionFromArray: [8, [pointer, pointer, u64, pointer, pointer], pointer],
  Run: [9, [pointer, pointer, pointer, pointer, u64, pointer, u64, pointer], pointer],
  CreateSessionOptions: [10, [pointer], pointer],
  SetSessionGraphOptimizationLevel: [23, [pointer, i32], pointer],
  SetIntraOpNumThreads: [24, [pointer, i32], pointer],
  SetInterOpNumThreads: [25, [pointer, i32], pointer],
  CreateTensorWithDataAsOrtValue: [49, [pointer, pointer, u64, pointer, u64, i32, pointer], pointer],
  CreateCpuMemoryInfo: [69, [i32, i32, pointer], pointer],
  ReleaseStatus: [93, [pointer], nothing],
  ReleaseSession: [95, [pointer], nothing],
  ReleaseValue: [96, [pointer], nothing],
  ReleaseSessionOptions: [100, [pointer], nothing],
  AddSessionConfigEntry: [130, [pointer, pointer, pointer], pointer],
  AddExternalInitializers: [210, [pointer, pointer, pointer, u64], pointer],
} as const satisfies Record<string, readonly [number, readonly FFIType[], FFIType]>

type FunctionName = keyof typeof ORT_FUNCTIONS
/** Arrays are given as they are: their addresses would not keep them. */
type Argument = number | bigint | NodeJS.TypedArray | null
type NativeFunction = (...args: Argument[]) => Pointer | number | null

/** enum OrtErrorCode, by value. */
const ERROR_CODES = [
  'ORT_OK',
  'ORT_FAIL',
  'ORT_INVALID_ARGUMENT',
  'ORT_NO_SUCHFILE',
  'ORT_NO_MODEL',
  'ORT_ENGINE_ERROR',
  'ORT_RUNTIME_EXCEPTION',
  'ORT_INVALID_PROTOBUF',
  'ORT_MODEL_LOADED',
  'ORT_NOT_IMPLEMENTED',
  'ORT_INVALID_GRAPH',
  'ORT_EP_FAIL',
] as const

// enum values of the C API
const LOGGING_LEVEL_FATAL = 4
const ENABLE_ALL_OPTIMIZATIONS = 99
const ARENA_ALLOCATOR = 1
const MEMORY_TYPE_DEFAULT = 0
const ELEMENT_FLOAT = 1

const search: LibrarySearch = {
  name: 'ONNX Runtime',
  override: 'RNB_ORT_DIR',
  sonames: ['libonnxruntime.so.1', 'libonnxruntime.so'],
  pattern: /^libonnxruntime\.so\.1\.\d+/,
  hint: 'The network needs it on the CPU: use the build of rnb that carries it, or set RNB_ORT_DIR to the folder of libonnxruntime.so.1',
}

/** Where to look: RNB_ORT_DIR if set, else the library that came with the program, else the system's. */
function place(): LibrarySearch {
  if (process.env.RNB_ORT_DIR || !embeddedOnnxRuntime) return search
  const inside = embeddedOnnxRuntime.startsWith('/$bunfs/')
  return {
    ...search,
    override: undefined,
    sonames: [inside ? memoryFile(embeddedOnnxRuntime, 'rnb-onnxruntime') : embeddedOnnxRuntime],
  }
}

/** Functions from a C struct of function pointers: place in the struct, argument types, result. */
function functionsOf<Name extends string>(
  struct: Pointer,
  places: Readonly<Record<Name, readonly [number, readonly FFIType[], FFIType]>>,
): Record<Name, NativeFunction> {
  const symbols: Record<string, FFIFunction> = {}
  for (const name in places) {
    const [place, args, returns] = places[name]
    symbols[name] = { ptr: read.ptr(struct, place * 8) as Pointer, args: [...args], returns }
  }
  return linkSymbols(symbols).symbols as unknown as Record<Name, NativeFunction>
}

/** A C string. */
function text(value: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(Buffer.byteLength(value) + 1))
  new TextEncoder().encodeInto(value, bytes)
  return bytes
}

/**
 * Since 1.29 the official library reports what it runs to its makers over the network, keeps what it has not sent yet
 * in the home folder, and logs to /tmp, unless this variable is set when it starts.
 */
function forbidTelemetry(): void {
  environmentDefault('ORT_DISABLE_TELEMETRY', '1')
}

/** Memory that C writes a pointer into. */
class Out {
  private readonly cell = new Uint8Array(new ArrayBuffer(8))
  readonly address = ptr(this.cell)

  get value(): Pointer {
    return read.ptr(this.address) as Pointer
  }
}

/** A tensor of 32-bit floats in the caller's memory. */
export interface OrtTensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly data: Float32Array
}

export interface SessionOptions {
  /** Threads that one operator uses, the calling one included. */
  threads: number
  /** Whether idle threads of the pool spin before they sleep: faster between operators, and takes a core meanwhile. */
  spin: boolean
  /** Data of initializers that the model has by name and shape only: used in place. */
  initializers: readonly OrtTensor[]
}

/** A model that is ready to run, for one thread at a time, until it is closed. */
export interface Session {
  /** What the library reads while the session is open; here so that it stays reachable as long. */
  readonly initializers: readonly OrtTensor[]
  /** Runs the model on inputs, and writes its outputs, in the caller's memory. */
  run(inputs: readonly OrtTensor[], outputs: readonly OrtTensor[]): void
  close(): void
}

/** ONNX Runtime's C API, on the CPU. One for each thread; all share the library and its environment. */
export class OnnxRuntime {
  /** Of the library, `1.30.0`. */
  readonly version: string
  readonly path: string
  private readonly functions: Record<FunctionName, NativeFunction>
  private readonly environment: Pointer
  private readonly memoryInfo: Pointer
  private readonly out = new Out()

  /** @throws {LibraryError} if there is no library, or one that is too old */
  constructor() {
    forbidTelemetry()
    const library = openLibrary(place(), { OrtGetApiBase: { args: [], returns: pointer } })
    this.path = library.path
    // struct OrtApiBase { const OrtApi* (*GetApi)(uint32_t version); const char* (*GetVersionString)(void); }
    const base = library.symbols.OrtGetApiBase() as Pointer
    const { GetApi, GetVersionString } = functionsOf(base, {
      GetApi: [0, [u32], pointer],
      GetVersionString: [1, [], pointer],
    })
    this.version = String(new CString(GetVersionString() as Pointer))
    const api = GetApi(API_VERSION) as Pointer | null
    if (!api)
      throw new LibraryError(search.name, [this.path], search.hint, `version ${this.version} is too old`)
    this.functions = functionsOf(api, ORT_FUNCTIONS)
    this.environment = this.create('CreateEnv', LOGGING_LEVEL_FATAL, text('rnb'))
    this.call('DisableTelemetryEvents', this.environment)
    this.memoryInfo = this.create('CreateCpuMemoryInfo', ARENA_ALLOCATOR, MEMORY_TYPE_DEFAULT)
  }

  /** Calls a function that returns a status. @throws {NativeError} for any but success; every failure comes by here. */
  private call(name: FunctionName, ...args: Argument[]): void {
    const status = this.functions[name](...args)
    if (!status) return
    const code = this.functions.GetErrorCode(status) as number
    const message = String(new CString(this.functions.GetErrorMessage(status) as Pointer))
    this.functions.ReleaseStatus(status)
    throw new NativeError('ONNX Runtime', name, code, ERROR_CODES[code] ?? 'unknown status', message)
  }

  /** Calls a function whose last argument receives what it made. */
  private create(name: FunctionName, ...args: Argument[]): Pointer {
    this.call(name, ...args, this.out.address)
    return this.out.value
  }

  /** A value over the tensor's memory; release it after use. */
  private value(tensor: OrtTensor): Pointer {
    const { data, shape } = tensor
    return this.create(
      'CreateTensorWithDataAsOrtValue',
      this.memoryInfo,
      data,
      data.byteLength,
      shapeOf(tensor),
      shape.length,
      ELEMENT_FLOAT,
    )
  }

  /**
   * Loads a model.
   * @param model - a serialised ONNX model; not needed afterwards
   * @throws {NativeError} if it is no valid model, or data of an initializer is missing
   */
  session(model: Uint8Array, options: SessionOptions): Session {
    const settings = this.create('CreateSessionOptions')
    const { initializers } = options
    const values: Pointer[] = []
    try {
      this.call('SetSessionGraphOptimizationLevel', settings, ENABLE_ALL_OPTIMIZATIONS)
      this.call('SetIntraOpNumThreads', settings, options.threads)
      this.call('SetInterOpNumThreads', settings, 1)
      this.call(
        'AddSessionConfigEntry',
        settings,
        text('session.intra_op.allow_spinning'),
        text(options.spin ? '1' : '0'),
      )
      for (const initializer of initializers) values.push(this.value(initializer))
      const names = initializers.map(initializer => text(initializer.name))
      if (names.length > 0) {
        const namePointers = pointers(names.map(name => ptr(name)))
        this.call('AddExternalInitializers', settings, namePointers, pointers(values), names.length)
        keep(...names)
      }
      const handle = this.create(
        'CreateSessionFromArray',
        this.environment,
        model,
        model.byteLength,
        settings,
      )
      return {
        initializers,
        run: (inputs, outputs) => this.run(handle, inputs, outputs),
        close: () => {
          this.functions.ReleaseSession(handle)
          for (const value of values) this.functions.ReleaseValue(value)
        },
      }
    } catch (error) {
      for (const value of values) this.functions.ReleaseValue(value)
      throw error
    } finally {
      this.functions.ReleaseSessionOptions(settings)
    }
  }

  private run(session: Pointer, inputs: readonly OrtTensor[], outputs: readonly OrtTensor[]): void {
    const tensors = [...inputs, ...outputs]
    const names = tensors.map(tensor => text(tensor.name))
    const namePointers = pointers(names.map(name => ptr(name)))
    const values: Pointer[] = []
    try {
      for (const tensor of tensors) values.push(this.value(tensor))
      const valuePointers = pointers(values)
      this.call(
        'Run',
        session,
        null,
        namePointers.subarray(0, inputs.length),
        valuePointers.subarray(0, inputs.length),
        inputs.length,
        namePointers.subarray(inputs.length),
        outputs.length,
        valuePointers.subarray(inputs.length),
      )
    } finally {
      keep(...names, ...tensors.map(({ data }) => data))
      for (const value of values) this.functions.ReleaseValue(value)
    }
  }
}

const shapeOf = (tensor: OrtTensor): BigInt64Array => {
  const shape = new BigInt64Array(new ArrayBuffer(8 * tensor.shape.length))
  for (const [i, size] of tensor.shape.entries()) shape[i] = BigInt(size)
  return shape
}

const pointers = (addresses: readonly number[]): BigUint64Array => {
  const cells = new BigUint64Array(new ArrayBuffer(8 * addresses.length))
  for (const [i, address] of addresses.entries()) cells[i] = BigInt(address)
  return cells
}

let shared: OnnxRuntime | undefined

/** This thread's ONNX Runtime, opened at the first call. @throws {LibraryError} if there is none */
export function onnxRuntime(): OnnxRuntime {
  shared ??= new OnnxRuntime()
  return shared
}
