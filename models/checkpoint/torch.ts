import type { SourceFile } from './file.ts'
import { PickleError, type PickleRules, PickleTruncated, readPickle } from './pickle.ts'
import { DTYPE_BYTES, type DType, elementCount, type Tensor } from './tensor.ts'
import { type Storage, TensorView, TORCH_RULES } from './torch-rules.ts'
import { readZip, type ZipEntry } from './zip.ts'

/** Keys under which people save the weights beside other things, most usual first. */
const WRAPPERS = ['state_dict', 'model_state_dict', 'model', 'net']

// What files from before torch 1.6 start with: two pickled numbers, then facts about the machine.
const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn
const LEGACY_VERSION = 1001
const FIRST_CHUNK = 1 << 20

/** All bytes of a storage, of the given length. */
type ReadStorage = (storage: Storage) => Uint8Array

/** Elements of a view, row-major without gaps. A view that is that already is not copied. */
function gather(view: TensorView, bytes: Uint8Array, size: number): Uint8Array {
  const { shape, strides } = view
  const elements = elementCount(shape)
  let dense = 1
  const isDense = shape.every((_, i) => {
    const axis = shape.length - 1 - i
    const expected = dense
    dense *= shape[axis]!
    return shape[axis] === 1 || strides[axis] === expected
  })
  const start = view.offset * size
  if (isDense || elements === 0) return bytes.subarray(start, start + elements * size)
  const out = new Uint8Array(new ArrayBuffer(elements * size))
  const index = shape.map(() => 0)
  for (let to = 0; to < out.length; to += size) {
    const from = start + size * index.reduce((sum, n, axis) => sum + n * strides[axis]!, 0)
    for (let b = 0; b < size; b++) out[to + b] = bytes[from + b]!
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis]! === shape[axis]; axis--) index[axis] = 0
  }
  return out
}

function lazyTensor(view: TensorView, read: ReadStorage): Tensor {
  const { dtype } = view.storage
  return { dtype, shape: view.shape, read: () => gather(view, read(view.storage), DTYPE_BYTES[dtype]) }
}

/** The tensors among a dict's values, by name; those of a wrapping dict's known key if it has one. */
function tensorsIn(file: SourceFile, root: unknown, read: ReadStorage): Map<string, Tensor> {
  if (!(root instanceof Map))
    throw file.error('holds no dict of tensors (save model.state_dict() with torch.save)')
  const inner = WRAPPERS.map(key => root.get(key)).find(value => value instanceof Map)
  const tensors = new Map<string, Tensor>()
  for (const [name, value] of (inner ?? root) as Map<unknown, unknown>) {
    if (typeof name === 'string' && value instanceof TensorView) tensors.set(name, lazyTensor(value, read))
  }
  if (tensors.size === 0) {
    const keys = [...root.keys()].slice(0, 5).join(', ')
    throw file.error(`holds no tensors by name; its dict has the keys ${keys || '(none)'}`)
  }
  return tensors
}

/** Runs the pickle machine, and names the file in what it complains of. */
function unpickle(file: SourceFile, bytes: Uint8Array, start = 0, rules: PickleRules = TORCH_RULES) {
  try {
    return readPickle(bytes, rules, start)
  } catch (error) {
    if (error instanceof PickleTruncated) throw error
    if (error instanceof PickleError) throw file.error(error.message)
    throw error
  }
}

/** Keeps the storage read last, since tensors that share one come one after the other. */
function remembering(read: ReadStorage): ReadStorage {
  let last: { key: string; bytes: Uint8Array } | undefined
  return storage => {
    if (last?.key !== storage.key) last = { key: storage.key, bytes: read(storage) }
    return last.bytes
  }
}

const bytesOf = (elements: number, dtype: DType): number => elements * DTYPE_BYTES[dtype]

/** Reads what torch.save has written since 1.6: a ZIP archive with `data.pkl` and a file for each storage. */
export function readTorchZip(file: SourceFile): Map<string, Tensor> {
  const entries = readZip(file)
  const pickles = [...entries.keys()].filter(name => name === 'data.pkl' || name.endsWith('/data.pkl'))
  const [pickle] = pickles
  if (pickle === undefined || pickles.length > 1) {
    throw file.error(`a ZIP archive with ${pickles.length} files named data.pkl, where torch.save writes one`)
  }
  const folder = pickle.slice(0, -'data.pkl'.length)
  const order = entries.get(`${folder}byteorder`)
  if (order && new TextDecoder().decode(order.read()).trim() !== 'little') {
    throw file.error('was written on a big-endian machine, which is not read')
  }
  const entryOf = (storage: Storage): ZipEntry => {
    const entry = entries.get(`${folder}data/${storage.key}`)
    if (!entry) throw file.error(`damaged: storage ${storage.key} is missing from the archive`)
    const bytes = bytesOf(storage.elements, storage.dtype)
    if (entry.size < bytes) {
      throw file.error(
        `damaged: storage ${storage.key} has ${entry.size} bytes, where its tensors take ${bytes}`,
      )
    }
    return entry
  }
  const read = remembering(storage => entryOf(storage).read())
  const rules: PickleRules = {
    ...TORCH_RULES,
    persistent: id => {
      const storage = TORCH_RULES.persistent!(id) as Storage
      entryOf(storage)
      return storage
    },
  }
  try {
    return tensorsIn(file, unpickle(file, entries.get(pickle)!.read(), 0, rules).value, read)
  } catch (error) {
    if (error instanceof PickleTruncated) throw file.error(`damaged: ${error.message}`)
    throw error
  }
}

interface LegacyContent {
  root: unknown
  /** The storages that the content mentions, by key. */
  storages: Map<string, Storage>
  keys: unknown
  /** Where the pickles end. */
  end: number
}

/** The five pickles that an older file starts with: two numbers, the machine, the content, the list of storages. */
function legacyPickles(file: SourceFile, bytes: Uint8Array): LegacyContent {
  const storages = new Map<string, Storage>()
  const rules: PickleRules = {
    ...TORCH_RULES,
    persistent: id => {
      const storage = TORCH_RULES.persistent!(id) as Storage
      storages.set(storage.key, storage)
      return storage
    },
  }
  const magic = unpickle(file, bytes)
  if (magic.value !== LEGACY_MAGIC) throw file.error('a pickle that torch.save did not write')
  const version = unpickle(file, bytes, magic.end)
  if (version.value !== LEGACY_VERSION)
    throw file.error(`of torch's format ${version.value}, not ${LEGACY_VERSION}`)
  const machine = unpickle(file, bytes, version.end)
  if (machine.value instanceof Map && machine.value.get('little_endian') === false) {
    throw file.error('was written on a big-endian machine, which is not read')
  }
  const root = unpickle(file, bytes, machine.end, rules)
  const keys = unpickle(file, bytes, root.end)
  return { root: root.value, storages, keys: keys.value, end: keys.end }
}

/** Where each storage's bytes start: they follow in the order of the list, each after its number of elements. */
function legacyOffsets(file: SourceFile, { storages, keys, end }: LegacyContent): Map<string, number> {
  if (!Array.isArray(keys)) throw file.error('damaged: the list of storages is not a list')
  const offsets = new Map<string, number>()
  let at = end
  for (const key of keys.map(String)) {
    const storage = storages.get(key)
    if (!storage) throw file.error(`damaged: storage ${key} belongs to no tensor`)
    const what = `storage ${key} of ${storage.elements} x ${storage.dtype}`
    const head = file.read(at, 8, what)
    const elements = Number(new DataView(head.buffer).getBigInt64(0, true))
    if (elements !== storage.elements)
      throw file.error(`damaged: ${what} has ${elements} elements in the file`)
    const start = at + 8
    at = start + bytesOf(elements, storage.dtype)
    if (at > file.size) throw file.error(`truncated: ${what} ends at byte ${at}, the file at ${file.size}`)
    offsets.set(key, start)
  }
  return offsets
}

/** Reads what torch.save wrote before 1.6: pickles, then the storages' bytes. */
export function readTorchLegacy(file: SourceFile): Map<string, Tensor> {
  for (let chunk = FIRST_CHUNK; ; chunk *= 4) {
    const bytes = file.read(0, Math.min(chunk, file.size), 'the pickle')
    let content: LegacyContent
    try {
      content = legacyPickles(file, bytes)
    } catch (error) {
      if (!(error instanceof PickleTruncated)) throw error
      if (bytes.length === file.size) throw file.error(`truncated: ${error.message}`)
      continue
    }
    const offsets = legacyOffsets(file, content)
    const read = remembering(storage => {
      const offset = offsets.get(storage.key)
      if (offset === undefined) throw file.error(`damaged: storage ${storage.key} is not in the file`)
      return file.read(offset, bytesOf(storage.elements, storage.dtype), `storage ${storage.key}`)
    })
    return tensorsIn(file, content.root, read)
  }
}
