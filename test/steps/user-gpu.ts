import type { Gpu, GpuKernel, Grid, KernelParameter } from '../../src/steps/user/api.ts'
import { Memory, PtxKernel } from '../kernels/ptx-machine.ts'

const BYTES: Record<KernelParameter, number> = { pointer: 8, u32: 4, s32: 4, f32: 4 }

type Triple = readonly [number, number, number]
const triple = (size: Grid['blocks']): Triple => (typeof size === 'number' ? [size, 1, 1] : size)

function* cells([x, y, z]: Triple): Generator<Triple> {
  for (let k = 0; k < z; k++) for (let j = 0; j < y; j++) for (let i = 0; i < x; i++) yield [i, j, k]
}

/** Parameters as a kernel finds them, each at a multiple of its size. */
function parameterBytes(parameters: readonly KernelParameter[], args: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 * parameters.length))
  let end = 0
  parameters.forEach((parameter, i) => {
    const size = BYTES[parameter]
    const at = Math.ceil(end / size) * size
    if (parameter === 'pointer') view.setBigUint64(at, BigInt(args[i]!), true)
    else if (parameter === 'f32') view.setFloat32(at, args[i]!, true)
    else view.setInt32(at, args[i]!, true)
    end = at + size
  })
  return new Uint8Array(view.buffer, 0, end)
}

/** What a step is given of a GPU, with every thread of every launch interpreted on the CPU, one after the other. */
export class InterpretedGpu implements Gpu {
  readonly device = 0
  readonly stream = 1
  readonly memory = new Memory()

  load(ptx: string) {
    return {
      kernel: <const P extends readonly KernelParameter[]>(name: string, parameters: P): GpuKernel<P> => ({
        launch: (grid, ...args) => {
          const kernel = new PtxKernel(ptx, name, parameterBytes(parameters, args), this.memory)
          const sizes = { blocks: triple(grid.blocks), threads: triple(grid.threads) }
          for (const block of cells(sizes.blocks))
            for (const thread of cells(sizes.threads)) kernel.run(block, thread, sizes)
        },
      }),
    }
  }

  /** Filled with ones: NaN, if read as numbers. */
  allocate(bytes: number): number {
    return this.memory.place(new Uint8Array(bytes).fill(0xff))
  }

  clear(to: number, bytes: number): void {
    this.upload(to, new Uint8Array(bytes))
  }

  upload(to: number, from: ArrayBufferView): void {
    const { view, offset } = this.memory.at(to, 1)
    const bytes = new Uint8Array(from.buffer, from.byteOffset, from.byteLength)
    new Uint8Array(view.buffer).set(bytes, offset)
  }

  download(from: number, into: ArrayBufferView): void {
    const { view, offset } = this.memory.at(from, 1)
    const bytes = new Uint8Array(view.buffer, offset, into.byteLength)
    new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(bytes)
  }

  synchronize(): void {}
}
