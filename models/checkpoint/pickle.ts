/**
 * A pickle machine that executes nothing. It knows the opcodes that make numbers, text and containers; what a global
 * name stands for is looked up in a table of the caller's, and a name that is not there ends the reading.
 */

/** What ended the reading, as the rest of a sentence about the file. */
export class PickleError extends Error {
  override readonly name = 'PickleError'
}

/** The pickle goes on after the bytes that were given. */
export class PickleTruncated extends PickleError {
  constructor() {
    super('the pickle ends before its end mark')
  }
}

/** A Python tuple, which differs from a list where a pickle is judged. */
export class Tuple {
  constructor(readonly items: readonly unknown[]) {}
}

/** What an allowed global name stands for: data, made from its arguments if it is called. */
export interface Global {
  /** `torch.FloatStorage`. */
  readonly name: string
  /** Absent where the name may be mentioned and not called. */
  call?(args: readonly unknown[]): unknown
}

export interface PickleRules {
  /** The global, or undefined to refuse it. */
  global(module: string, name: string): Global | undefined
  /** What a persistent id stands for. */
  persistent?(id: unknown): unknown
}

const MARK = Symbol('mark')
const LONGEST_INTEGER = 255

/** Bytes of the pickle, taken in order. */
class Reader {
  private readonly view: DataView

  constructor(
    private readonly bytes: Uint8Array,
    public at: number,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** Moves on by `length` bytes and returns where they start. */
  private skip(length: number): number {
    const start = this.at
    if (start + length > this.bytes.length) throw new PickleTruncated()
    this.at = start + length
    return start
  }

  u8 = () => this.view.getUint8(this.skip(1))
  u16 = () => this.view.getUint16(this.skip(2), true)
  u32 = () => this.view.getUint32(this.skip(4), true)
  i32 = () => this.view.getInt32(this.skip(4), true)
  f64 = () => this.view.getFloat64(this.skip(8), false)
  u64 = () => Number(this.view.getBigUint64(this.skip(8), true))

  take(length: number): Uint8Array {
    const start = this.skip(length)
    return this.bytes.subarray(start, start + length)
  }

  text = (length: number) => new TextDecoder().decode(this.take(length))
  latin1 = (length: number) => Buffer.from(this.take(length)).toString('latin1')

  line(): string {
    const end = this.bytes.indexOf(0x0a, this.at)
    if (end < 0) throw new PickleTruncated()
    const text = this.text(end - this.at)
    this.at++
    return text
  }

  /** A little-endian two's complement integer: a number where it fits. */
  long(length: number): number | bigint {
    if (length > LONGEST_INTEGER) throw new PickleError(`the pickle holds an integer of ${length} bytes`)
    let value = 0n
    const bytes = this.take(length)
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!)
    if (length > 0 && bytes[length - 1]! & 0x80) value -= 1n << BigInt(8 * length)
    const short = Number(value)
    return Number.isSafeInteger(short) ? short : value
  }
}

/** One run over one pickle. */
class Machine {
  readonly stack: unknown[] = []
  readonly memo = new Map<number, unknown>()

  constructor(
    private readonly reader: Reader,
    private readonly rules: PickleRules,
  ) {}

  pop(): unknown {
    if (this.stack.length === 0) throw new PickleError('the pickle takes from an empty stack')
    const value = this.stack.pop()
    if (value === MARK) throw new PickleError('the pickle takes a mark for a value')
    return value
  }

  top(): unknown {
    const value = this.pop()
    this.stack.push(value)
    return value
  }

  push(value: unknown): void {
    this.stack.push(value)
  }

  sinceMark(): unknown[] {
    const mark = this.stack.lastIndexOf(MARK)
    if (mark < 0) throw new PickleError('the pickle has no mark where it needs one')
    const items = this.stack.splice(mark)
    items.shift()
    return items
  }

  remember(key: number): void {
    this.memo.set(key, this.top())
  }

  recall(key: number): void {
    if (!this.memo.has(key)) throw new PickleError(`the pickle recalls ${key}, which it has not kept`)
    this.push(this.memo.get(key))
  }

  global(module: unknown, name: unknown): void {
    const found = this.rules.global(String(module), String(name))
    if (!found) {
      throw new PickleError(
        `its pickle asks for ${module}.${name}, which is refused: only tensors and plain containers are read, and nothing is executed (save the network's state_dict alone)`,
      )
    }
    this.push(found)
  }

  /** The global whose module and name are on the stack. */
  namedGlobal(): void {
    const name = this.pop()
    this.global(this.pop(), name)
  }

  call(): void {
    const args = this.pop()
    const callee = this.pop() as Partial<Global> | null
    if (!(args instanceof Tuple)) throw new PickleError('the pickle calls with something else than a tuple')
    if (typeof callee !== 'object' || callee === null || typeof callee.call !== 'function') {
      throw new PickleError(`its pickle calls ${callee?.name ?? 'something'}, which is refused`)
    }
    this.push(callee.call(args.items))
  }

  /** State of an object: of containers that have attributes beside their items, these are dropped. */
  build(): void {
    this.pop()
    const target = this.top()
    if (!(target instanceof Map))
      throw new PickleError('its pickle sets the state of an object, which is refused')
  }

  append(items: readonly unknown[]): void {
    const list = this.top()
    if (!Array.isArray(list)) throw new PickleError('the pickle appends to something else than a list')
    for (const item of items) list.push(item)
  }

  set(items: readonly unknown[]): void {
    const map = this.top()
    if (!(map instanceof Map)) throw new PickleError('the pickle sets items of something else than a dict')
    if (items.length % 2 !== 0) throw new PickleError('the pickle sets a key without a value')
    for (let i = 0; i < items.length; i += 2) map.set(items[i], items[i + 1])
  }

  add(items: readonly unknown[]): void {
    const set = this.top()
    if (!(set instanceof Set)) throw new PickleError('the pickle adds items to something else than a set')
    for (const item of items) set.add(item)
  }

  tuple(count: number): void {
    const items = Array.from({ length: count }, () => this.pop()).reverse()
    this.push(new Tuple(items))
  }

  persistent(): void {
    if (!this.rules.persistent) throw new PickleError('the pickle has a persistent id where none can be')
    this.push(this.rules.persistent(this.pop()))
  }

  protocol(version: number): void {
    if (version < 2 || version > 5)
      throw new PickleError(`the pickle is of protocol ${version}; 2 to 5 are read`)
  }

  run(): unknown {
    for (;;) {
      const at = this.reader.at
      const opcode = this.reader.u8()
      if (opcode === 0x2e) return this.pop() // STOP
      const step = STEPS.get(opcode)
      if (!step) {
        const name = REFUSED.get(opcode) ?? `0x${opcode.toString(16)}`
        throw new PickleError(`its pickle uses opcode ${name} at byte ${at}, which is refused`)
      }
      step(this, this.reader)
    }
  }
}

type Step = (machine: Machine, reader: Reader) => void

/** Opcodes that are obeyed, by the names of Python's pickletools. */
const OPCODES: Readonly<Record<string, readonly [number, Step]>> = {
  PROTO: [0x80, (m, r) => m.protocol(r.u8())],
  FRAME: [0x95, (_, r) => void r.u64()],
  MARK: [0x28, m => m.push(MARK)],
  POP: [0x30, m => void (m.stack.at(-1) === MARK ? m.stack.pop() : m.pop())],
  POP_MARK: [0x31, m => void m.sinceMark()],
  DUP: [0x32, m => m.push(m.top())],
  NONE: [0x4e, m => m.push(null)],
  NEWTRUE: [0x88, m => m.push(true)],
  NEWFALSE: [0x89, m => m.push(false)],
  BININT: [0x4a, (m, r) => m.push(r.i32())],
  BININT1: [0x4b, (m, r) => m.push(r.u8())],
  BININT2: [0x4d, (m, r) => m.push(r.u16())],
  LONG1: [0x8a, (m, r) => m.push(r.long(r.u8()))],
  LONG4: [0x8b, (m, r) => m.push(r.long(r.u32()))],
  BINFLOAT: [0x47, (m, r) => m.push(r.f64())],
  BINUNICODE: [0x58, (m, r) => m.push(r.text(r.u32()))],
  SHORT_BINUNICODE: [0x8c, (m, r) => m.push(r.text(r.u8()))],
  BINUNICODE8: [0x8d, (m, r) => m.push(r.text(r.u64()))],
  BINSTRING: [0x54, (m, r) => m.push(r.latin1(r.u32()))],
  SHORT_BINSTRING: [0x55, (m, r) => m.push(r.latin1(r.u8()))],
  BINBYTES: [0x42, (m, r) => m.push(r.take(r.u32()))],
  SHORT_BINBYTES: [0x43, (m, r) => m.push(r.take(r.u8()))],
  BINBYTES8: [0x8e, (m, r) => m.push(r.take(r.u64()))],
  BYTEARRAY8: [0x96, (m, r) => m.push(r.take(r.u64()))],
  EMPTY_LIST: [0x5d, m => m.push([])],
  APPEND: [0x61, m => m.append([m.pop()])],
  APPENDS: [0x65, m => m.append(m.sinceMark())],
  EMPTY_TUPLE: [0x29, m => m.tuple(0)],
  TUPLE1: [0x85, m => m.tuple(1)],
  TUPLE2: [0x86, m => m.tuple(2)],
  TUPLE3: [0x87, m => m.tuple(3)],
  TUPLE: [0x74, m => m.push(new Tuple(m.sinceMark()))],
  EMPTY_DICT: [0x7d, m => m.push(new Map())],
  SETITEM: [0x73, m => m.set([m.pop(), m.pop()].reverse())],
  SETITEMS: [0x75, m => m.set(m.sinceMark())],
  EMPTY_SET: [0x8f, m => m.push(new Set())],
  ADDITEMS: [0x90, m => m.add(m.sinceMark())],
  FROZENSET: [0x91, m => m.push(new Set(m.sinceMark()))],
  BINPUT: [0x71, (m, r) => m.remember(r.u8())],
  LONG_BINPUT: [0x72, (m, r) => m.remember(r.u32())],
  MEMOIZE: [0x94, m => m.remember(m.memo.size)],
  BINGET: [0x68, (m, r) => m.recall(r.u8())],
  LONG_BINGET: [0x6a, (m, r) => m.recall(r.u32())],
  GLOBAL: [0x63, (m, r) => m.global(r.line(), r.line())],
  STACK_GLOBAL: [0x93, m => m.namedGlobal()],
  REDUCE: [0x52, m => m.call()],
  NEWOBJ: [0x81, m => m.call()],
  BUILD: [0x62, m => m.build()],
  BINPERSID: [0x51, m => m.persistent()],
}
const STEPS = new Map(Object.values(OPCODES))

/** Opcodes that make objects in other ways, by their names. */
const REFUSED: ReadonlyMap<number, string> = new Map([
  [0x69, 'INST'],
  [0x6f, 'OBJ'],
  [0x92, 'NEWOBJ_EX'],
  [0x82, 'EXT1'],
  [0x83, 'EXT2'],
  [0x84, 'EXT4'],
  [0x50, 'PERSID'],
  [0x97, 'NEXT_BUFFER'],
  [0x98, 'READONLY_BUFFER'],
])

/**
 * Reads the pickle that starts at byte `start`: dicts as Map, lists as arrays, tuples as Tuple.
 * @returns its value, and where the bytes after it start
 * @throws {PickleTruncated} if it goes on after the bytes given
 * @throws {PickleError} for what is damaged or refused
 */
export function readPickle(
  bytes: Uint8Array,
  rules: PickleRules,
  start = 0,
): { value: unknown; end: number } {
  const reader = new Reader(bytes, start)
  const value = new Machine(reader, rules).run()
  return { value, end: reader.at }
}
