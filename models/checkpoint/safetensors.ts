import type { SourceFile } from './file.ts'
import { DTYPE_BYTES, type DType, elementCount, type Tensor } from './tensor.ts'
import { writeWhole } from './whole-file.ts'

// The format: 8 bytes little-endian length of a JSON header, the header, then the tensors' bytes.
const LENGTH_BYTES = 8
const LONGEST_HEADER = 100_000_000

const NAMES: Record<DType, string> = {
  float64: 'F64',
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  int64: 'I64',
  int32: 'I32',
  int16: 'I16',
  int8: 'I8',
  uint8: 'U8',
  bool: 'BOOL',
}
const DTYPES = new Map(Object.entries(NAMES).map(([dtype, name]) => [name, dtype as DType]))

const isCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every(n => Number.isSafeInteger(n) && n >= 0)

/** Whether a file that starts with these bytes, of this size, can be one. */
export function isSafetensors(start: Uint8Array, size: number): boolean {
  if (start.length < LENGTH_BYTES + 1 || start[LENGTH_BYTES] !== 0x7b) return false
  const length = new DataView(start.buffer, start.byteOffset).getBigUint64(0, true)
  return length <= BigInt(Math.max(size, LONGEST_HEADER))
}

function readHeader(file: SourceFile): { header: Record<string, unknown>; start: number } {
  const head = file.read(0, LENGTH_BYTES, 'the length of the header')
  const length = Number(new DataView(head.buffer).getBigUint64(0, true))
  if (length > LONGEST_HEADER) throw file.error(`a header of ${length} bytes is no safetensors header`)
  const text = new TextDecoder().decode(file.read(LENGTH_BYTES, length, 'the header'))
  let header: unknown
  try {
    header = JSON.parse(text)
  } catch {
    throw file.error('the safetensors header is not JSON')
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw file.error('the safetensors header is not an object')
  }
  return { header: header as Record<string, unknown>, start: LENGTH_BYTES + length }
}

/** Reads a safetensors file's header; tensors read their bytes when asked. @throws {UsageError} if it is damaged */
export function readSafetensors(file: SourceFile): Map<string, Tensor> {
  const { header, start } = readHeader(file)
  const tensors = new Map<string, Tensor>()
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const { dtype: typeName, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>
    const dtype = typeof typeName === 'string' ? DTYPES.get(typeName) : undefined
    if (dtype === undefined) throw file.error(`tensor ${name} has dtype ${JSON.stringify(typeName)}`)
    if (!isCounts(shape)) throw file.error(`tensor ${name} has shape ${JSON.stringify(shape)}`)
    if (!isCounts(offsets) || offsets.length !== 2) {
      throw file.error(`tensor ${name} has data_offsets ${JSON.stringify(offsets)}`)
    }
    const [from, to] = offsets as [number, number]
    const bytes = elementCount(shape) * DTYPE_BYTES[dtype]
    if (to - from !== bytes) {
      throw file.error(
        `tensor ${name} of ${dtype} ${shape.join(' x ')} takes ${bytes} bytes, not ${to - from}`,
      )
    }
    if (start + to > file.size) {
      throw file.error(`truncated: tensor ${name} ends at byte ${start + to}, the file at ${file.size}`)
    }
    tensors.set(name, { dtype, shape, read: () => file.read(start + from, bytes, `tensor ${name}`) })
  }
  return tensors
}

/** Writes tensors to a file that appears only when it is complete. */
export function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Record<string, string> = {},
): void {
  // Without a prototype, a tensor may have any name.
  const header: Record<string, unknown> = Object.assign(Object.create(null), { __metadata__: metadata })
  let offset = 0
  for (const [name, { dtype, shape }] of tensors) {
    const end = offset + elementCount(shape) * DTYPE_BYTES[dtype]
    header[name] = { dtype: NAMES[dtype], shape, data_offsets: [offset, end] }
    offset = end
  }
  const json = JSON.stringify(header)
  const text = new TextEncoder().encode(json)
  const padded = new Uint8Array(Math.ceil(text.length / 8) * 8).fill(0x20)
  padded.set(text)
  const length = new Uint8Array(LENGTH_BYTES)
  new DataView(length.buffer).setBigUint64(0, BigInt(padded.length), true)
  writeWhole(path, pieces([length, padded], tensors))
}

function* pieces(head: readonly Uint8Array[], tensors: ReadonlyMap<string, Tensor>): Iterable<Uint8Array> {
  yield* head
  for (const tensor of tensors.values()) yield tensor.read()
}
