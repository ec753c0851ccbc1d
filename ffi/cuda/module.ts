import { ptr } from 'bun:ffi'
import { keep } from '../keep.ts'
import { check, cudaError } from './check.ts'
import {
  CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES,
  CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
  CU_FUNC_ATTRIBUTE_NUM_REGS,
  CU_JIT_ERROR_LOG_BUFFER,
  CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
  CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
  CUDA_SUCCESS,
} from './constants.ts'
import { cuda, out, outNumber, outWord } from './library.ts'
import type { CUfunction, CUmodule, CUstream } from './types.ts'

const LOG_BYTES = 8192
/** Of CUlaunchConfig. */
const CONFIG_BYTES = 56

const cString = (text: string): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(new ArrayBuffer(Buffer.byteLength(text) + 1))
  new TextEncoder().encodeInto(text, bytes)
  return bytes
}

/**
 * Compiles PTX for this thread's device.
 * @param ptx - the text of a file of kernels/
 * @throws {NativeError} with the compiler's words
 */
export function loadModule(ptx: string): CUmodule {
  const log = new Uint8Array(new ArrayBuffer(LOG_BYTES))
  const options = new Int32Array(new ArrayBuffer(8))
  options.set([CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES])
  const values = new BigUint64Array(new ArrayBuffer(16))
  values.set([BigInt(ptr(log)), BigInt(LOG_BYTES)])
  const { cuModuleLoadDataEx } = cuda()
  const status = cuModuleLoadDataEx(out, cString(ptx), options.length, options, values)
  keep(log)
  if (status !== CUDA_SUCCESS) {
    const said = new TextDecoder().decode(log.subarray(0, log.indexOf(0))).trim()
    throw cudaError('cuModuleLoadDataEx', status, said)
  }
  return outNumber() as CUmodule
}

export function unloadModule(module: CUmodule): void {
  check('cuModuleUnload', cuda().cuModuleUnload(module))
}

/** Sizes of a launch: blocks, and threads of a block. */
export type Dimensions = readonly [x: number, y: number, z: number]

/** Types of a kernel's parameters, in order; `bytes`: a struct of that size, passed by value. */
export type Parameter = 'pointer' | 'u32' | 's32' | 'f32' | { readonly bytes: number }

/** What a parameter is given as. */
type Argument<P> = P extends { bytes: number } ? Uint8Array : number
export type Arguments<P extends readonly Parameter[]> = { [K in keyof P]: Argument<P[K]> }

const sizeOf = (parameter: Parameter): number =>
  parameter === 'pointer' ? 8 : typeof parameter === 'object' ? parameter.bytes : 4

/** CUlaunchConfig with one CUlaunchAttribute behind it. */
const launchConfig = new Uint8Array(new ArrayBuffer(CONFIG_BYTES + 72))

/** The configuration of a launch that may begin early, in memory that the next call writes again. */
function earlyConfig(
  blocks: Dimensions,
  threads: Dimensions,
  sharedBytes: number,
  stream: CUstream,
): Uint8Array<ArrayBuffer> {
  const view = new DataView(launchConfig.buffer)
  for (const [i, value] of [...blocks, ...threads, sharedBytes].entries()) view.setUint32(4 * i, value, true)
  view.setBigUint64(32, BigInt(stream ?? 0), true)
  view.setBigUint64(40, BigInt(ptr(launchConfig) + CONFIG_BYTES), true)
  view.setUint32(48, 1, true)
  view.setUint32(CONFIG_BYTES, CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, true)
  view.setUint32(CONFIG_BYTES + 8, 1, true)
  return launchConfig
}

/** A kernel, with memory of its own for the arguments of a launch: for use by one thread. */
export class Kernel<const P extends readonly Parameter[]> {
  readonly #function: CUfunction
  readonly #view: DataView
  readonly #bytes: Uint8Array
  readonly #offsets: number[]
  readonly #pointers: BigUint64Array

  /** @throws {NativeError} if the module has no entry of that name */
  constructor(
    module: CUmodule,
    readonly name: string,
    readonly parameters: P,
  ) {
    check('cuModuleGetFunction', cuda().cuModuleGetFunction(out, module, cString(name)))
    this.#function = outNumber() as CUfunction
    let end = 0
    this.#offsets = parameters.map(parameter => {
      const offset = Math.ceil(end / 8) * 8
      end = offset + sizeOf(parameter)
      return offset
    })
    const memory = new ArrayBuffer(Math.max(8, end))
    this.#view = new DataView(memory)
    this.#bytes = new Uint8Array(memory)
    const base = ptr(this.#bytes)
    this.#pointers = new BigUint64Array(new ArrayBuffer(8 * Math.max(1, parameters.length)))
    for (const [i, offset] of this.#offsets.entries()) this.#pointers[i] = BigInt(base + offset)
  }

  /** Puts a launch on a stream; the arguments are read before it returns. @throws {NativeError} */
  launch(
    blocks: Dimensions,
    threads: Dimensions,
    sharedBytes: number,
    stream: CUstream,
    ...args: Arguments<P>
  ): void {
    for (let i = 0; i < args.length; i++) this.#set(this.parameters[i]!, this.#offsets[i]!, args[i]!)
    const status = cuda().cuLaunchKernel(
      this.#function,
      ...blocks,
      ...threads,
      sharedBytes,
      stream,
      this.#pointers,
      null,
    )
    if (status !== CUDA_SUCCESS) throw cudaError('cuLaunchKernel', status, `kernel ${this.name}`)
  }

  /**
   * The same, but it may begin while the kernel before it on the stream ends: for kernels that wait for that themselves
   * (griddepcontrol.wait) before they read or write what it shares with them. From CUDA 12.3 on, also while the stream is
   * captured.
   */
  launchEarly(
    blocks: Dimensions,
    threads: Dimensions,
    sharedBytes: number,
    stream: CUstream,
    ...args: Arguments<P>
  ): void {
    for (let i = 0; i < args.length; i++) this.#set(this.parameters[i]!, this.#offsets[i]!, args[i]!)
    const config = earlyConfig(blocks, threads, sharedBytes, stream)
    const status = cuda().cuLaunchKernelEx(config, this.#function, this.#pointers, null)
    if (status !== CUDA_SUCCESS) throw cudaError('cuLaunchKernelEx', status, `kernel ${this.name}`)
  }

  #set(parameter: Parameter, offset: number, value: number | Uint8Array): void {
    if (typeof value === 'object') this.#bytes.set(value, offset)
    else if (parameter === 'pointer') this.#view.setBigUint64(offset, BigInt(value), true)
    else if (parameter === 'f32') this.#view.setFloat32(offset, value, true)
    else this.#view.setInt32(offset, value, true)
  }

  /** Lets launches ask for more shared memory than 48 KiB. @throws {NativeError} beyond the device's limit */
  allowSharedMemory(bytes: number): void {
    const which = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    check('cuFuncSetAttribute', cuda().cuFuncSetAttribute(this.#function, which, bytes))
  }

  /** Registers of a thread, and bytes of it that did not fit into registers. @throws {NativeError} */
  get resources(): { registers: number; localBytes: number } {
    const read = (which: number): number => {
      check('cuFuncGetAttribute', cuda().cuFuncGetAttribute(out, which, this.#function))
      return outWord()
    }
    return {
      registers: read(CU_FUNC_ATTRIBUTE_NUM_REGS),
      localBytes: read(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES),
    }
  }
}
