/** Element types that checkpoints hold, with their size in bytes. */
export const DTYPE_BYTES = {
  float64: 8,
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  int16: 2,
  int8: 1,
  uint8: 1,
  bool: 1,
} as const

export type DType = keyof typeof DTYPE_BYTES

/** A tensor of a checkpoint: what it is, and its elements when asked for. */
export interface Tensor {
  readonly dtype: DType
  readonly shape: readonly number[]
  /**
   * The elements, row-major without gaps, little-endian.
   * @throws {UsageError} if the file does not hold them undamaged
   */
  read(): Uint8Array
}

export const elementCount = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1)

/** A bfloat16 is the upper half of a float32. */
function widenBfloat16(values: Uint16Array): Float32Array {
  const bits = new Uint32Array(values.length)
  for (let i = 0; i < values.length; i++) bits[i] = values[i]! << 16
  return new Float32Array(bits.buffer)
}

/** The bytes at an address that any typed array accepts. */
const aligned = (bytes: Uint8Array, size: number): Uint8Array =>
  bytes.byteOffset % size === 0 ? bytes : bytes.slice()

/** The elements as 32-bit floats; a float32 tensor is not copied. Integers are not for the network: undefined. */
export function toFloat32(tensor: Tensor): Float32Array | undefined {
  const size = DTYPE_BYTES[tensor.dtype]
  const bytes = aligned(tensor.read(), size)
  const args = [bytes.buffer, bytes.byteOffset, bytes.byteLength / size] as const
  switch (tensor.dtype) {
    case 'float32':
      return new Float32Array(...args)
    case 'float64':
      return Float32Array.from(new Float64Array(...args))
    case 'float16':
      return Float32Array.from(new Float16Array(...args))
    case 'bfloat16':
      return widenBfloat16(new Uint16Array(...args))
    default:
      return undefined
  }
}

/** A tensor in memory. */
export function tensorOf(dtype: DType, shape: readonly number[], bytes: ArrayBufferView): Tensor {
  const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return { dtype, shape, read: () => view }
}

/** The tensor with its floats as another type; integers stay as they are. The elements are converted when read. */
export function withFloats(tensor: Tensor, dtype: 'float32' | 'float16'): Tensor {
  const isFloat = tensor.dtype.includes('float')
  if (!isFloat || tensor.dtype === dtype) return tensor
  const read = () => {
    const floats = toFloat32(tensor)!
    const values = dtype === 'float32' ? floats : Float16Array.from(floats)
    return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
  }
  return { dtype, shape: tensor.shape, read }
}
