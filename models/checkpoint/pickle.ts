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
  private readonly stack: unknown[] = []
  private readonly memo = new Map<number, unknown>()

  constructor(
    private readonly reader: Reader,
    private readonly rules: PickleRules,
  ) {}

  private pop(): unknown {
    if (this.stack.length === 0) throw new PickleError('the pickle takes from an empty stack')
    const value = this.stack.pop()
    if (value === MARK) throw new PickleError('the pickle takes a mark for a value')
    return value
  }

  private top(): unknown {
    const value = this.pop()
    this.stack.push(value)
    return value
  }

  private push(value: unknown): void {
    this.stack.push(value)
  }

  private sinceMark(): unknown[] {
    const mark = this.stack.lastIndexOf(MARK)
    if (mark < 0) throw new PickleError('the pickle has no mark where it needs one')
    const items = this.stack.splice(mark)
    items.shift()
    return items
  }

  private remember(key: number): void {
    this.memo.set(key, this.top())
  }

  private recall(key: number): void {
    if (!this.memo.has(key)) throw new PickleError(`the pickle recalls ${key}, which it has not kept`)
    this.push(this.memo.get(key))
  }

  private global(module: unknown, name: unknown): void {
    const found = this.rules.global(String(module), String(name))
    if (!found) {
      throw new PickleError(
        `its pickle asks for ${module}.${name}, which is refused: only tensors and plain containers are read, and nothing is executed`,
      )
    }
    this.push(found)
  }

  private call(): void {
    const args = this.pop()
    const callee = this.pop() as Partial<Global> | null
    if (!(args instanceof Tuple)) throw new PickleError('the pickle calls with something else than a tuple')
    if (typeof callee !== 'object' || callee === null || typeof callee.call !== 'function') {
      throw new PickleError(`its pickle calls ${callee?.name ?? 'something'}, which is refused`)
    }
    this.push(callee.call(args.items))
  }

  /** State of an object: of containers that have attributes beside their items, these are dropped. */
  private build(): void {
    this.pop()
    const target = this.top()
    if (!(target instanceof Map))
      throw new PickleError('its pickle sets the state of an object, which is refused')
  }

  private append(items: readonly unknown[]): void {
    const list = this.top()
    if (!Array.isArray(list)) throw new PickleError('the pickle appends to something else than a list')
    for (const item of items) list.push(item)
  }

  private set(items: readonly unknown[]): void {
    const map = this.top()
    if (!(map instanceof Map)) throw new PickleError('the pickle sets items of something else than a dict')
    if (items.length % 2 !== 0) throw new PickleError('the pickle sets a key without a value')
    for (let i = 0; i < items.length; i += 2) map.set(items[i], items[i + 1])
  }

  private add(items: readonly unknown[]): void {
    const set = this.top()
    if (!(set instanceof Set)) throw new PickleError('the pickle adds items to something else than a set')
    for (const item of items) set.add(item)
  }

  private tuple(count: number): void {
    const items = Array.from({ length: count }, () => this.pop()).reverse()
    this.push(new Tuple(items))
  }

  private persistent(): void {
    if (!this.rules.persistent) throw new PickleError('the pickle has a persistent id where none can be')
    this.push(this.rules.persistent(this.pop()))
  }

  /** Opcodes, by number, with the names of Python's pickletools. */
  private readonly opcodes: Readonly<Record<number, () => void>> = (() => {
    const { reader } = this
    return {
      128: () => this.protocol(reader.u8()), // PROTO
      149: () => void reader.u64(), // FRAME
      40: () => this.push(MARK), // MARK
      48: () => void (this.stack.at(-1) === MARK ? this.stack.pop() : this.pop()), // POP
      49: () => void this.sinceMark(), // POP_MARK
      50: () => this.push(this.top()), // DUP
      78: () => this.push(null), // NONE
      136: () => this.push(true), // NEWTRUE
      137: () => this.push(false), // NEWFALSE
      74: () => this.push(reader.i32()), // BININT
      75: () => this.push(reader.u8()), // BININT1
      77: () => this.push(reader.u16()), // BININT2
      138: () => this.push(reader.long(reader.u8())), // LONG1
      139: () => this.push(reader.long(reader.u32())), // LONG4
      71: () => this.push(reader.f64()), // BINFLOAT
      88: () => this.push(reader.text(reader.u32())), // BINUNICODE
      140: () => this.push(reader.text(reader.u8())), // SHORT_BINUNICODE
      141: () => this.push(reader.text(reader.u64())), // BINUNICODE8
      84: () => this.push(reader.latin1(reader.u32())), // BINSTRING
      85: () => this.push(reader.latin1(reader.u8())), // SHORT_BINSTRING
      66: () => this.push(reader.take(reader.u32())), // BINBYTES
      67: () => this.push(reader.take(reader.u8())), // SHORT_BINBYTES
      142: () => this.push(reader.take(reader.u64())), // BINBYTES8
      150: () => this.push(reader.take(reader.u64())), // BYTEARRAY8
      93: () => this.push([]), // EMPTY_LIST
      97: () => {
        const item = this.pop()
        this.append([item])
      }, // APPEND
      101: () => this.append(this.sinceMark()), // APPENDS
      41: () => this.tuple(0), // EMPTY_TUPLE
      133: () => this.tuple(1), // TUPLE1
      134: () => this.tuple(2), // TUPLE2
      135: () => this.tuple(3), // TUPLE3
      116: () => this.push(new Tuple(this.sinceMark())), // TUPLE
      125: () => this.push(new Map()), // EMPTY_DICT
      115: () => {
        const value = this.pop()
        const key = this.pop()
        this.set([key, value])
      }, // SETITEM
      117: () => this.set(this.sinceMark()), // SETITEMS
      143: () => this.push(new Set()), // EMPTY_SET
      144: () => this.add(this.sinceMark()), // ADDITEMS
      145: () => this.push(new Set(this.sinceMark())), // FROZENSET
      113: () => this.remember(reader.u8()), // BINPUT
      114: () => this.remember(reader.u32()), // LONG_BINPUT
      148: () => this.remember(this.memo.size), // MEMOIZE
      104: () => this.recall(reader.u8()), // BINGET
      106: () => this.recall(reader.u32()), // LONG_BINGET
      99: () => this.global(reader.line(), reader.line()), // GLOBAL
      147: () => {
        const name = this.pop()
        this.global(this.pop(), name)
      }, // STACK_GLOBAL
      82: () => this.call(), // REDUCE
      129: () => this.call(), // NEWOBJ
      98: () => this.build(), // BUILD
      81: () => this.persistent(), // BINPERSID
    }
  })()

  private protocol(version: number): void {
    if (version < 2 || version > 5)
      throw new PickleError(`the pickle is of protocol ${version}; 2 to 5 are read`)
  }

  run(): unknown {
    for (;;) {
      const at = this.reader.at
      const opcode = this.reader.u8()
      if (opcode === 0x2e) return this.pop() // STOP
      const step = this.opcodes[opcode]
      if (!step) {
        const name = REFUSED[opcode] ?? `0x${opcode.toString(16)}`
        throw new PickleError(`its pickle uses opcode ${name} at byte ${at}, which is refused`)
      }
      step()
    }
  }
}

/** Opcodes that make objects in other ways, by their names. */
const REFUSED: Readonly<Record<number, string>> = {
  105: 'INST',
  111: 'OBJ',
  146: 'NEWOBJ_EX',
  130: 'EXT1',
  131: 'EXT2',
  132: 'EXT4',
  80: 'PERSID',
  151: 'NEXT_BUFFER',
  152: 'READONLY_BUFFER',
}

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
