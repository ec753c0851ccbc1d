import { allocate, download, fillBytes, free, upload } from '../../../ffi/cuda/memory.ts'
import { Kernel, loadModule, unloadModule } from '../../../ffi/cuda/module.ts'
import { Owner } from '../../../ffi/cuda/owner.ts'
import { synchronizeStream } from '../../../ffi/cuda/stream.ts'
import type { DevicePointer } from '../../../ffi/cuda/types.ts'
import type { Item } from '../../queue/item.ts'
import { type TensorSpec, tensorBytes } from '../../queue/tensor.ts'
import { GpuTransfer } from '../gpu-transfer.ts'
import type { StepContext, StepGpu } from '../step.ts'
import type { Gpu, GpuKernel, GpuModule, Grid, KernelParameter } from './api.ts'

const asDimensions = (size: Grid['blocks']): readonly [number, number, number] =>
  typeof size === 'number' ? [size, 1, 1] : size

function checkGrid(name: string, { blocks, threads, sharedBytes = 0 }: Grid): void {
  const sizes = [...asDimensions(blocks), ...asDimensions(threads)]
  if (sizes.length !== 6 || sizes.some(size => !(Number.isInteger(size) && size >= 1)))
    throw new RangeError(`kernel ${name}: blocks and threads are whole numbers from 1, one or three of each`)
  if (!(Number.isInteger(sharedBytes) && sharedBytes >= 0))
    throw new RangeError(`kernel ${name}: sharedBytes is ${sharedBytes}`)
}

const PARAMETERS: readonly unknown[] = ['pointer', 'u32', 's32', 'f32'] satisfies KernelParameter[]

class UserKernel<const P extends readonly KernelParameter[]> implements GpuKernel<P> {
  readonly #kernel: Kernel<readonly KernelParameter[]>

  constructor(
    readonly gpu: StepGpu,
    kernel: Kernel<readonly KernelParameter[]>,
  ) {
    this.#kernel = kernel
  }

  launch(grid: Grid, ...args: { [K in keyof P]: number }): void {
    const { name, parameters } = this.#kernel
    checkGrid(name, grid)
    const given: readonly unknown[] = args
    if (given.length !== parameters.length)
      throw new RangeError(
        `kernel ${name} takes ${parameters.length} arguments, and ${given.length} are given`,
      )
    given.forEach((value, i) => {
      const fits = typeof value === 'number' && (parameters[i] === 'f32' || Number.isInteger(value))
      if (!fits) throw new TypeError(`kernel ${name}: argument ${i} (${parameters[i]}) is ${String(value)}`)
    })
    const { blocks, threads, sharedBytes = 0 } = grid
    this.#kernel.launch(asDimensions(blocks), asDimensions(threads), sharedBytes, this.gpu.stream, ...args)
  }
}

/** What a step of the user's may do with its GPU. Everything that it makes goes when it closes. */
export class UserGpu implements Gpu {
  readonly device: number
  readonly stream: number
  readonly #owner = new Owner()
  /** For inputs that lie on other GPUs, by their number. */
  readonly #staging = new Map<number, DevicePointer>()
  #transfer: GpuTransfer | undefined

  constructor(
    readonly gpu: StepGpu,
    readonly name: string,
  ) {
    this.device = gpu.context.index
    this.stream = gpu.stream
  }

  load(ptx: string): GpuModule {
    if (typeof ptx !== 'string') throw new TypeError('load() takes the text of a PTX file')
    const module = this.#owner.own(loadModule(ptx), unloadModule)
    const { gpu } = this
    return {
      kernel<const P extends readonly KernelParameter[]>(name: string, parameters: P): GpuKernel<P> {
        const unknown = parameters.find(parameter => !PARAMETERS.includes(parameter))
        if (unknown !== undefined)
          throw new TypeError(`kernel ${name}: no parameter is a ${unknown}; known: ${PARAMETERS.join(', ')}`)
        return new UserKernel<P>(gpu, new Kernel<readonly KernelParameter[]>(module, name, parameters))
      },
    }
  }

  allocate(bytes: number): DevicePointer {
    if (!(Number.isSafeInteger(bytes) && bytes > 0)) throw new RangeError(`allocate(${bytes}): bytes from 1`)
    return this.#owner.own(
      allocate(bytes, { what: `memory of ${this.name}`, lower: 'what it asks for' }),
      free,
    )
  }

  clear(to: number, bytes: number): void {
    fillBytes(to as DevicePointer, 0, bytes, this.gpu.stream)
  }

  upload(to: number, from: ArrayBufferView): void {
    if (from.byteLength === 0) return
    const { byteLength: bytes } = from
    upload(to as DevicePointer, from as Uint8Array, bytes, this.gpu.stream)
  }

  download(from: number, into: ArrayBufferView): void {
    if (into.byteLength === 0) return
    // Memory of its own: what C writes to must not move while it waits.
    const bytes = new Uint8Array(new ArrayBuffer(into.byteLength))
    download(bytes, from as DevicePointer, bytes.length, this.gpu.stream)
    synchronizeStream(this.gpu.stream)
    new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(bytes)
  }

  synchronize(): void {
    synchronizeStream(this.gpu.stream)
  }

  /** Where a tensor's filled rows are on this GPU; from another GPU they are copied once. */
  near(context: StepContext, item: Item, tensor: number, spec: TensorSpec): DevicePointer {
    const from = this.gpu.address(item, tensor)
    if (from.context.index === this.device) return from.pointer
    let to = this.#staging.get(tensor)
    if (to === undefined) {
      to = this.allocate(tensorBytes(context.inputs[tensor]!)) as DevicePointer
      this.#staging.set(tensor, to)
    }
    const bytes = tensorBytes({ ...spec, shape: item.tensors[tensor]!.shape })
    this.#transferFrom(context).copy(to, from, bytes, this.gpu.stream)
    return to
  }

  #transferFrom({ inputs }: StepContext): GpuTransfer {
    this.#transfer ??= this.#owner.own(
      new GpuTransfer(this.gpu, Math.max(...inputs.map(tensorBytes))),
      transfer => transfer.close(),
    )
    return this.#transfer
  }

  close(): void {
    this.#owner.close()
  }
}
