import { ptr } from 'bun:ffi'
import { keep } from '../keep.ts'
import { check } from './check.ts'
import { cuda } from './library.ts'
import type { DevicePointer } from './types.ts'

const CU_TENSOR_MAP_DATA_TYPE_FLOAT16 = 6
const CU_TENSOR_MAP_INTERLEAVE_NONE = 0
const CU_TENSOR_MAP_SWIZZLE = { none: 0, bytes128: 3 } as const
const CU_TENSOR_MAP_L2_PROMOTION_L2_128B = 2
const CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE = 0

const MAP_BYTES = 128
const ALIGNMENT = 64

/** A tensor in a device's memory, as the copy engine sees it; axes from the innermost, which is dense. */
export interface MappedTensor {
  readonly at: DevicePointer
  readonly sizes: readonly number[]
  /** Bytes from one to the next, of all axes but the innermost: multiples of 16. */
  readonly strides: readonly number[]
  readonly swizzle: keyof typeof CU_TENSOR_MAP_SWIZZLE
}

const words64 = (values: readonly number[]): BigUint64Array => {
  const words = new BigUint64Array(new ArrayBuffer(8 * values.length))
  words.set(values.map(BigInt))
  return words
}
const words32 = (values: readonly number[]): Int32Array => {
  const words = new Int32Array(new ArrayBuffer(4 * values.length))
  words.set(values)
  return words
}

/** Has the driver write a map to memory that is aligned as it asks; a copy is what kernels are given. */
function encode(
  call: 'cuTensorMapEncodeTiled' | 'cuTensorMapEncodeIm2col',
  write: (map: number) => number,
): Uint8Array {
  const memory = new Uint8Array(new ArrayBuffer(MAP_BYTES + ALIGNMENT))
  const skip = (ALIGNMENT - (ptr(memory) % ALIGNMENT)) % ALIGNMENT
  const status = write(ptr(memory) + skip)
  keep(memory)
  check(call, status)
  return memory.slice(skip, skip + MAP_BYTES)
}

/** A map of float16 elements that brings boxes; what is outside of the tensor reads as zero. @throws {NativeError} */
export function tiledMap({ at, sizes, strides, swizzle }: MappedTensor, box: readonly number[]): Uint8Array {
  const [dims, steps] = [words64(sizes), words64(strides)]
  const [boxes, ones] = [words32(box), words32(sizes.map(() => 1))]
  return encode('cuTensorMapEncodeTiled', map =>
    cuda().cuTensorMapEncodeTiled(
      map as never,
      CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
      sizes.length,
      at,
      dims,
      steps,
      boxes,
      ones,
      CU_TENSOR_MAP_INTERLEAVE_NONE,
      CU_TENSOR_MAP_SWIZZLE[swizzle],
      CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
    ),
  )
}

/** Which places an im2col map visits: those of a box within (or beyond) the tensor, at steps. */
export interface Visits {
  /** First and last place along each inner spatial axis, from the tensor's own: negative ones are before its first. */
  readonly lower: readonly number[]
  readonly upper: readonly number[]
  /** Along all axes. */
  readonly steps: readonly number[]
  /** Channels and places that a load brings. */
  readonly channels: number
  readonly places: number
}

/** A map of float16 elements that brings a run of places, with what a filter's tap sees there. @throws {NativeError} */
export function im2colMap({ at, sizes, strides, swizzle }: MappedTensor, visits: Visits): Uint8Array {
  const [dims, bytes] = [words64(sizes), words64(strides)]
  const [lower, upper, steps] = [words32(visits.lower), words32(visits.upper), words32(visits.steps)]
  return encode('cuTensorMapEncodeIm2col', map =>
    cuda().cuTensorMapEncodeIm2col(
      map as never,
      CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
      sizes.length,
      at,
      dims,
      bytes,
      lower,
      upper,
      visits.channels,
      visits.places,
      steps,
      CU_TENSOR_MAP_INTERLEAVE_NONE,
      CU_TENSOR_MAP_SWIZZLE[swizzle],
      CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
    ),
  )
}
