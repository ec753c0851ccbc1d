import type { Pointer } from 'bun:ffi'
import { cuda } from '../cuda/library.ts'
import { Owner } from '../cuda/owner.ts'
import type { CUstream, DevicePointer } from '../cuda/types.ts'
import { NativeError } from '../error.ts'
import { check } from './check.ts'
import { CUDNN_CROSS_CORRELATION, DATA, HEURISTIC, NUMERICAL_NOTE, POINTWISE } from './constants.ts'
import { type CudnnHandle, Descriptor } from './descriptor.ts'
import { libcudnn } from './library.ts'

const cell = new BigUint64Array(new ArrayBuffer(8))

/** A cuDNN handle of this thread's device, working on a stream. @throws {NativeError} */
export function createCudnn(stream: CUstream): CudnnHandle {
  cuda()
  const { cudnnCreate, cudnnSetStream } = libcudnn().symbols
  check('cudnnCreate', cudnnCreate(cell))
  const handle = Number(cell[0]) as CudnnHandle
  try {
    check('cudnnSetStream', cudnnSetStream(handle, stream))
  } catch (error) {
    destroyCudnn(handle)
    throw error
  }
  return handle
}

export function destroyCudnn(handle: CudnnHandle): void {
  check('cudnnDestroy', libcudnn().symbols.cudnnDestroy(handle))
}

/** What plans are made for: the device of a handle, or a device by its properties, which need not be here. */
export type Target =
  | { readonly handle: CudnnHandle; readonly properties?: undefined }
  | { readonly handle?: undefined; readonly properties: Descriptor }

/** Of batch, channels, height and width. */
export type Quad = readonly [n: number, c: number, h: number, w: number]
/** Of height and width. */
export type Pair = readonly [h: number, w: number]

export type ElementType = 'f16' | 'f32'

/**
 * `output = [relu]( conv(input, filter) [+ residual] [+ bias] )` in two dimensions. The channels of a place are
 * together in memory everywhere (filters are [k, r, s, c] there), and all tensors are dense. All have the same type;
 * sums are made in float32.
 */
export interface FusedConvolution {
  readonly type: ElementType
  readonly input: Quad
  /** [k, c, r, s]: output channels, input channels, height, width. */
  readonly filter: Quad
  readonly stride: Pair
  readonly padding: Pair
  readonly bias: boolean
  readonly residual: boolean
  readonly relu: boolean
}

/** Size of what a convolution gives. */
export function outputOf({ input, filter, stride, padding }: FusedConvolution): Quad {
  const along = (axis: 0 | 1): number =>
    Math.floor((input[axis + 2]! + 2 * padding[axis] - filter[axis + 2]!) / stride[axis]) + 1
  return [input[0], filter[0], along(0), along(1)]
}

/** Strides of a dense tensor whose channels are together. */
const denseStrides = ([, c, h, w]: Quad): Quad => [h * w * c, 1, w * c, c]

/** Numbers by which a plan knows its tensors. */
const UID = { input: 1, filter: 2, output: 3, residual: 4, bias: 5, virtual: 10 } as const

/** Memory of a convolution's tensors. */
export interface ConvolutionMemory {
  readonly input: DevicePointer
  readonly filter: DevicePointer
  readonly output: DevicePointer
  readonly residual?: DevicePointer
  readonly bias?: DevicePointer
}

/** One way to compute a convolution, as heuristics propose it. */
export interface Engine {
  readonly config: Descriptor
  /** cuDNN's number of it, within its kind of graph. */
  readonly index: number
  /** Numbers of cuDNN's numerical notes. */
  readonly notes: readonly number[]
}

/** A fused convolution as a graph of cuDNN's, to be asked for engines. Close it after the plans made from it. */
export class ConvolutionGraph {
  readonly #owner = new Owner()
  readonly #graph: Descriptor
  #virtual: number = UID.virtual

  /** @throws {NativeError} if cuDNN cannot describe it */
  constructor(
    readonly problem: FusedConvolution,
    readonly target: Target,
  ) {
    try {
      this.#graph = this.#build()
    } catch (error) {
      this.#owner.close()
      throw error
    }
  }

  #own(descriptor: Descriptor): Descriptor {
    return this.#owner.own(descriptor, made => made.close())
  }

  #tensor(uid: number, shape: Quad, virtual = false): Descriptor {
    const type = virtual || this.problem.type === 'f32' ? DATA.FLOAT : DATA.HALF
    return this.#own(new Descriptor('TENSOR'))
      .set('TENSOR_UNIQUE_ID', 'INT64', uid)
      .set('TENSOR_DATA_TYPE', 'DATA_TYPE', type)
      .set('TENSOR_DIMENSIONS', 'INT64', ...shape)
      .set('TENSOR_STRIDES', 'INT64', ...denseStrides(shape))
      .set('TENSOR_BYTE_ALIGNMENT', 'INT64', 16)
      .set('TENSOR_IS_VIRTUAL', 'BOOLEAN', virtual ? 1 : 0)
      .finalize()
  }

  #pointwise(mode: number, x: Descriptor, b: Descriptor | undefined, y: Descriptor): Descriptor {
    const pointwise = this.#own(new Descriptor('POINTWISE'))
      .set('POINTWISE_MODE', 'POINTWISE_MODE', mode)
      .set('POINTWISE_MATH_PREC', 'DATA_TYPE', DATA.FLOAT)
      .finalize()
    const operation = this.#own(new Descriptor('OPERATION_POINTWISE'))
      .setDescriptors('OPERATION_POINTWISE_PW_DESCRIPTOR', pointwise)
      .setDescriptors('OPERATION_POINTWISE_XDESC', x)
      .setDescriptors('OPERATION_POINTWISE_YDESC', y)
    if (b) operation.setDescriptors('OPERATION_POINTWISE_BDESC', b)
    return operation.finalize()
  }

  #convolution(x: Descriptor, w: Descriptor, y: Descriptor): Descriptor {
    const { stride, padding } = this.problem
    const convolution = this.#own(new Descriptor('CONVOLUTION'))
      .set('CONVOLUTION_COMP_TYPE', 'DATA_TYPE', DATA.FLOAT)
      .set('CONVOLUTION_CONV_MODE', 'CONVOLUTION_MODE', CUDNN_CROSS_CORRELATION)
      .set('CONVOLUTION_SPATIAL_DIMS', 'INT64', 2)
      .set('CONVOLUTION_DILATIONS', 'INT64', 1, 1)
      .set('CONVOLUTION_FILTER_STRIDES', 'INT64', ...stride)
      .set('CONVOLUTION_PRE_PADDINGS', 'INT64', ...padding)
      .set('CONVOLUTION_POST_PADDINGS', 'INT64', ...padding)
      .finalize()
    return this.#own(new Descriptor('OPERATION_CONVOLUTION_FORWARD'))
      .setDescriptors('OPERATION_CONVOLUTION_FORWARD_CONV_DESC', convolution)
      .setDescriptors('OPERATION_CONVOLUTION_FORWARD_X', x)
      .setDescriptors('OPERATION_CONVOLUTION_FORWARD_W', w)
      .setDescriptors('OPERATION_CONVOLUTION_FORWARD_Y', y)
      .set('OPERATION_CONVOLUTION_FORWARD_ALPHA', 'FLOAT', 1)
      .set('OPERATION_CONVOLUTION_FORWARD_BETA', 'FLOAT', 0)
      .finalize()
  }

  #build(): Descriptor {
    const { input, filter, bias, residual, relu } = this.problem
    const shape = outputOf(this.problem)
    const output = this.#tensor(UID.output, shape)
    // The residual is added before the bias: the only order that cuDNN's compiled engines know.
    const after: ((x: Descriptor, y: Descriptor) => Descriptor)[] = []
    if (residual) {
      const z = this.#tensor(UID.residual, shape)
      after.push((x, y) => this.#pointwise(POINTWISE.ADD, x, z, y))
    }
    if (bias) {
      const b = this.#tensor(UID.bias, [1, shape[1], 1, 1])
      after.push((x, y) => this.#pointwise(POINTWISE.ADD, x, b, y))
    }
    if (relu) after.push((x, y) => this.#pointwise(POINTWISE.RELU_FWD, x, undefined, y))
    const result = (last: boolean): Descriptor => (last ? output : this.#tensor(this.#virtual++, shape, true))
    let value = result(after.length === 0)
    const x = this.#tensor(UID.input, input)
    const operations = [this.#convolution(x, this.#tensor(UID.filter, filter), value)]
    for (const [i, operation] of after.entries()) {
      const next = result(i === after.length - 1)
      operations.push(operation(value, next))
      value = next
    }
    const graph = this.#own(new Descriptor('OPERATIONGRAPH'))
    if (this.target.handle) graph.set('OPERATIONGRAPH_HANDLE', 'HANDLE', this.target.handle)
    return graph.setDescriptors('OPERATIONGRAPH_OPS', ...operations).finalize()
  }

  /** Engines in the order in which cuDNN thinks them fast, or that just work. They are closed with the graph. */
  engines(mode: keyof typeof HEURISTIC, most = 100): Engine[] {
    const heuristic = this.#own(new Descriptor('ENGINEHEUR'))
      .setDescriptors('ENGINEHEUR_OPERATION_GRAPH', this.#graph)
      .set('ENGINEHEUR_MODE', 'HEUR_MODE', HEURISTIC[mode])
    if (this.target.properties) heuristic.setDescriptors('ENGINEHEUR_DEVICEPROP', this.target.properties)
    try {
      heuristic.finalize()
    } catch (error) {
      // Nothing to propose, for cuDNN, is an error.
      if (error instanceof NativeError && Math.floor(error.status / 1000) === 3) return []
      throw error
    }
    const configs = heuristic.getDescriptors('ENGINEHEUR_RESULTS', 'ENGINECFG', most)
    for (const config of configs) this.#own(config)
    return configs.map(config => {
      const [engine] = config.getDescriptors('ENGINECFG_ENGINE', 'ENGINE')
      this.#own(engine!)
      return {
        config,
        index: engine!.get('ENGINE_GLOBAL_INDEX', 'INT64')[0]!,
        notes: engine!.get('ENGINE_NUMERICAL_NOTE', 'NUMERICAL_NOTE', 16),
      }
    })
  }

  close(): void {
    this.#owner.close()
  }
}

/** Whether an engine multiplies on tensor cores: for float32, in TF32. */
export const usesTensorCores = ({ notes }: Engine): boolean => notes.includes(NUMERICAL_NOTE.TENSOR_CORE)

/** An engine made ready for one convolution. */
export class ConvolutionPlan {
  readonly #descriptor: Descriptor
  /** Bytes of memory that it needs while it runs. */
  readonly workspaceBytes: number

  /** @throws {NativeError} if the engine cannot do it after all */
  constructor(
    readonly graph: ConvolutionGraph,
    readonly engine: Engine,
  ) {
    const { handle, properties } = graph.target
    this.#descriptor = new Descriptor('EXECUTION_PLAN')
    try {
      if (handle) this.#descriptor.set('EXECUTION_PLAN_HANDLE', 'HANDLE', handle)
      else this.#descriptor.setDescriptors('EXECUTION_PLAN_DEVICEPROP', properties!)
      this.#descriptor.setDescriptors('EXECUTION_PLAN_ENGINE_CONFIG', engine.config).finalize()
      this.workspaceBytes = this.#descriptor.get('EXECUTION_PLAN_WORKSPACE_SIZE', 'INT64')[0]!
    } catch (error) {
      this.#descriptor.close()
      throw error
    }
  }

  /** Puts it on the handle's stream. @throws {NativeError} */
  execute(bound: BoundMemory): void {
    const { handle } = this.graph.target
    const { cudnnBackendExecute: execute } = libcudnn().symbols
    check('cudnnBackendExecute', execute(handle as Pointer, this.#descriptor.handle, bound.descriptor.handle))
  }

  close(): void {
    this.#descriptor.close()
  }
}

/** Memory of a convolution's tensors and workspace, as cuDNN wants it told. */
export class BoundMemory {
  readonly descriptor: Descriptor

  /** @throws {NativeError} */
  constructor(memory: ConvolutionMemory, workspace: DevicePointer) {
    const given = Object.entries(memory).filter(([, pointer]) => pointer !== undefined)
    const uids = given.map(([name]) => UID[name as keyof ConvolutionMemory])
    this.descriptor = new Descriptor('VARIANT_PACK')
    try {
      this.descriptor
        .set('VARIANT_PACK_UNIQUE_IDS', 'INT64', ...uids)
        .set('VARIANT_PACK_DATA_POINTERS', 'VOID_PTR', ...given.map(([, pointer]) => pointer as number))
        .set('VARIANT_PACK_WORKSPACE', 'VOID_PTR', workspace)
        .finalize()
    } catch (error) {
      this.descriptor.close()
      throw error
    }
  }

  close(): void {
    this.descriptor.close()
  }
}
