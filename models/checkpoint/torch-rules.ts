import { type Global, PickleError, type PickleRules, Tuple } from './pickle.ts'
import { DTYPE_BYTES, type DType } from './tensor.ts'

/** Memory that tensors are views of: a piece of the file, known by its key. */
export interface Storage {
  readonly dtype: DType
  readonly key: string
  /** Elements in the whole storage. */
  readonly elements: number
  /** Where a view of it starts, in elements (files from before torch 0.4). */
  readonly offset: number
}

/** A tensor as the pickle describes it; offset and strides in elements of its storage. */
export class TensorView {
  constructor(
    readonly storage: Storage,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}
}

const STORAGES: Record<string, DType> = {
  DoubleStorage: 'float64',
  FloatStorage: 'float32',
  HalfStorage: 'float16',
  BFloat16Storage: 'bfloat16',
  LongStorage: 'int64',
  IntStorage: 'int32',
  ShortStorage: 'int16',
  CharStorage: 'int8',
  ByteStorage: 'uint8',
  BoolStorage: 'bool',
}

class StorageType implements Global {
  constructor(
    readonly name: string,
    readonly dtype: DType,
  ) {}
}

const MOST_DIMENSIONS = 16
const MOST_ELEMENTS = 2 ** 31

function counts(value: unknown, what: string): number[] {
  const items = value instanceof Tuple ? value.items : Array.isArray(value) ? value : undefined
  if (
    !items ||
    items.length > MOST_DIMENSIONS ||
    !items.every(n => Number.isSafeInteger(n) && (n as number) >= 0)
  ) {
    throw new PickleError(`damaged: its pickle has a tensor whose ${what} is no list of whole numbers`)
  }
  return items as number[]
}

const isStorage = (value: unknown): value is Storage =>
  typeof value === 'object' && value !== null && 'dtype' in value && 'key' in value && 'elements' in value

/** torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...): a view, checked to lie inside its storage. */
function rebuildTensor(args: readonly unknown[]): TensorView {
  const [storage, offset] = args
  if (!isStorage(storage) || !Number.isSafeInteger(offset) || (offset as number) < 0) {
    throw new PickleError('damaged: its pickle has a tensor without a storage or an offset')
  }
  const shape = counts(args[2], 'size')
  const strides = counts(args[3], 'stride')
  if (shape.length !== strides.length)
    throw new PickleError('damaged: its pickle has a tensor with too few strides')
  const elements = shape.reduce((product, n) => product * n, 1)
  if (elements > MOST_ELEMENTS)
    throw new PickleError(`its pickle has a tensor of ${shape.join(' x ')} elements`)
  const first = storage.offset + (offset as number)
  const last = first + shape.reduce((sum, n, i) => sum + (n - 1) * strides[i]!, 0)
  if (elements > 0 && last >= storage.elements) {
    throw new PickleError(
      `damaged: its pickle has a tensor that ends at element ${last + 1} of storage ${storage.key}, which has ${storage.elements}`,
    )
  }
  return new TensorView(storage, first, shape, strides)
}

/** torch._utils._rebuild_parameter(data, ...): the tensor itself. */
function rebuildParameter(args: readonly unknown[]): unknown {
  if (!(args[0] instanceof TensorView))
    throw new PickleError('damaged: its pickle has a parameter without a tensor')
  return args[0]
}

function orderedDict(args: readonly unknown[]): Map<unknown, unknown> {
  const [items] = args
  const pairs = items instanceof Map ? [...items] : Array.isArray(items) ? items.map(pairOf) : []
  return new Map(pairs)
}

function pairOf(pair: unknown): [unknown, unknown] {
  const items = pair instanceof Tuple ? pair.items : Array.isArray(pair) ? pair : []
  return [items[0], items[1]]
}

const items = (args: readonly unknown[]): readonly unknown[] => {
  const [first] = args
  return first instanceof Tuple ? first.items : Array.isArray(first) || first instanceof Set ? [...first] : []
}

/** Things that are kept as what they were made from: a device, a layout, a size. */
const opaque = (args: readonly unknown[]): unknown => new Tuple(args)

/** Every callable that a pickle may name, and what is made of its arguments. */
const CALLABLES: Record<string, (args: readonly unknown[]) => unknown> = {
  'torch._utils._rebuild_tensor_v2': rebuildTensor,
  'torch._utils._rebuild_tensor': rebuildTensor,
  'torch._utils._rebuild_parameter': rebuildParameter,
  'collections.OrderedDict': orderedDict,
  'torch.Size': args => new Tuple(items(args)),
  'torch.device': opaque,
  'torch.serialization._get_layout': opaque,
  'builtins.set': args => new Set(items(args)),
  'builtins.frozenset': args => new Set(items(args)),
  'builtins.list': args => [...items(args)],
  'builtins.tuple': args => new Tuple(items(args)),
  'builtins.dict': orderedDict,
  // Protocol 2 has no opcode for bytes: text, and the encoding that gives them.
  '_codecs.encode': args => Buffer.from(String(args[0]), 'latin1'),
}

const DTYPES = new Set([...Object.keys(DTYPE_BYTES), 'half', 'float', 'double', 'long', 'int', 'short'])

function findGlobal(module: string, name: string): Global | undefined {
  const full = `${module === '__builtin__' ? 'builtins' : module}.${name}`
  if (Object.hasOwn(CALLABLES, full)) return { name: full, call: CALLABLES[full] }
  if ((module === 'torch' || module === 'torch.cuda') && Object.hasOwn(STORAGES, name)) {
    return new StorageType(full, STORAGES[name]!)
  }
  if (module === 'torch' && DTYPES.has(name)) return { name: full }
  return undefined
}

/** ('storage', type, key, location, elements[, (view key, offset, elements)]), where the view may be None. */
function storageOf(id: unknown): Storage {
  const [kind, type, key, , elements, view] = id instanceof Tuple ? id.items : []
  if (kind !== 'storage' || !(type instanceof StorageType) || !Number.isSafeInteger(elements)) {
    throw new PickleError('damaged: its pickle has a persistent id that is no storage')
  }
  const offset = view instanceof Tuple ? view.items[1] : 0
  if (!Number.isSafeInteger(offset) || (offset as number) < 0) {
    throw new PickleError('damaged: its pickle has a view of a storage without an offset')
  }
  return { dtype: type.dtype, key: String(key), elements: elements as number, offset: offset as number }
}

/** What a checkpoint's pickle may hold: tensors, numbers, text and containers. */
export const TORCH_RULES: PickleRules = { global: findGlobal, persistent: storageOf }
