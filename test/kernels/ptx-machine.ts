/**
 * Runs the PTX of kernels/ on the CPU, one thread at a time, as the PTX ISA defines the few instructions that they use:
 * so that a kernel's arithmetic and addresses are tested where there is no GPU. Anything else it meets is an error, and
 * so is any access outside the memory that it was given.
 */

type Value = number
type Step = (thread: Thread) => string | undefined

interface Thread {
  registers: Map<string, Value>
  special: Readonly<Record<string, number>>
}

/** Device memory: pieces at addresses of their own. */
export class Memory {
  readonly #pieces: { address: number; view: DataView }[] = []
  #next = 0x7f0000000000

  /** Places a copy of `bytes`; what lies before and after it is nobody's. @returns its address */
  place(bytes: Uint8Array): number {
    const address = this.#next
    this.#pieces.push({ address, view: new DataView(Uint8Array.from(bytes).buffer) })
    this.#next += Math.ceil(bytes.length / 512) * 512 + 512
    return address
  }

  /** The piece that holds `size` aligned bytes at an address. */
  at(address: number, size: number): { view: DataView; offset: number } {
    if (address % size !== 0) throw new Error(`unaligned access to ${size} bytes at ${address}`)
    for (const piece of this.#pieces) {
      const offset = address - piece.address
      if (offset >= 0 && offset + size <= piece.view.byteLength) return { view: piece.view, offset }
    }
    throw new Error(`access to ${size} bytes at ${address}, which are nobody's`)
  }

  /** What is in a piece now. */
  read(address: number): Uint8Array {
    return new Uint8Array(this.at(address, 1).view.buffer)
  }
}

const SIZES: Readonly<Record<string, number>> = {
  u8: 1,
  u16: 2,
  b16: 2,
  u32: 4,
  b32: 4,
  f32: 4,
  u64: 8,
  b64: 8,
}

function load(view: DataView, offset: number, type: string): Value {
  if (type === 'u8') return view.getUint8(offset)
  if (type === 'u16' || type === 'b16') return view.getUint16(offset, true)
  if (type === 'f32') return view.getFloat32(offset, true)
  if (type === 'u32' || type === 'b32') return view.getUint32(offset, true)
  if (type === 'u64') return Number(view.getBigUint64(offset, true))
  throw new Error(`ld of ${type}`)
}

function store(view: DataView, offset: number, type: string, value: Value): void {
  if (type === 'f32') view.setFloat32(offset, value, true)
  else if (type === 'b32') view.setUint32(offset, value, true)
  else throw new Error(`st of ${type}`)
}

/** The number that the bits of half precision are. */
const halfValue = (bits: number): number => new Float16Array(Uint16Array.of(bits).buffer)[0]!

/** The bits of a number rounded to half precision, to nearest, ties to even. */
const halfBits = (value: number): number => new Uint16Array(Float16Array.of(value).buffer)[0]!

const unsigned = (x: number) => x >>> 0
const signed = (x: number) => x | 0
const rounded = Math.fround

const ARITHMETIC: Readonly<Record<string, (a: number, b: number, c: number) => Value>> = {
  'add.u32': (a, b) => unsigned(a + b),
  'add.u64': (a, b) => a + b,
  'sub.u32': (a, b) => unsigned(a - b),
  'add.f32': (a, b) => rounded(a + b),
  'sub.f32': (a, b) => rounded(a - b),
  'mul.f32': (a, b) => rounded(a * b),
  'mul.lo.u32': (a, b) => unsigned(Math.imul(a, b)),
  'mul.wide.u32': (a, b) => unsigned(a) * unsigned(b),
  'mad.lo.u32': (a, b, c) => unsigned(Math.imul(a, b) + c),
  'mad.lo.s32': (a, b, c) => unsigned(Math.imul(a, b) + c),
  'div.u32': (a, b) => Math.floor(unsigned(a) / unsigned(b)),
  'div.rn.f32': (a, b) => rounded(a / b),
  // Exact but for a second rounding, from float64: of no more than 2^-53.
  'fma.rn.f32': (a, b, c) => rounded(a * b + c),
  'fma.rn.sat.f32': (a, b, c) => Math.min(1, Math.max(0, rounded(a * b + c))),
  'max.u32': (a, b) => Math.max(unsigned(a), unsigned(b)),
  'min.u32': (a, b) => Math.min(unsigned(a), unsigned(b)),
  'max.s32': (a, b) => unsigned(Math.max(signed(a), signed(b))),
  'min.s32': (a, b) => unsigned(Math.min(signed(a), signed(b))),
  'and.b32': (a, b) => unsigned(a & b),
  'and.pred': (a, b) => a & b,
  'shl.b32': (a, b) => unsigned(a << b),
  'shr.u32': (a, b) => unsigned(a) >>> b,
  'setp.ge.u32': (a, b) => Number(unsigned(a) >= unsigned(b)),
  'setp.lt.u32': (a, b) => Number(unsigned(a) < unsigned(b)),
  'setp.ne.u32': (a, b) => Number(a !== b),
  'setp.eq.u32': (a, b) => Number(a === b),
  'selp.u32': (a, b, p) => (p ? a : b),
  'selp.b32': (a, b, p) => (p ? a : b),
  'selp.f32': (a, b, p) => (p ? a : b),
  'cvt.rn.f32.u32': a => rounded(unsigned(a)),
  'cvt.u64.u32': a => unsigned(a),
  'abs.f32': a => Math.abs(a),
  'cvt.f32.f16': a => halfValue(a),
  'cvt.rn.f16.f32': a => halfBits(a),
  'mov.u32': a => a,
  'mov.b32': a => unsigned(a),
  'mov.b16': a => a,
  'mov.u64': a => a,
  'mov.f32': a => a,
}

type Source = (thread: Thread) => Value

function source(text: string, constants: Readonly<Record<string, number>>): Source {
  const bits = /^0f([0-9A-F]{8})$/.exec(text)
  if (bits) {
    const value = new Float32Array(Uint32Array.of(parseInt(bits[1]!, 16)).buffer)[0]!
    return () => value
  }
  if (/^-?\d+$/.test(text)) return () => Number(text)
  if (text in constants) return () => constants[text]!
  if (/^%n?(tid|ctaid)\.[xyz]$/.test(text)) return ({ special }) => special[text]!
  const pair = /^\{\s*(\S+),\s*(\S+)\s*\}$/.exec(text)
  if (pair) {
    const [low, high] = [source(pair[1]!, constants), source(pair[2]!, constants)]
    return thread => unsigned((high(thread) << 16) | low(thread))
  }
  return ({ registers }) => {
    const value = registers.get(text)
    if (value === undefined) throw new Error(`${text} is read before it is written`)
    return value
  }
}

/** Operands of an instruction: what is in braces or brackets stays together. */
const operandsOf = (text: string): string[] => text.match(/\{[^}]*\}|\[[^\]]*\]|[^,\s]+/g) ?? []

/** Where each parameter of a kernel begins, each at a multiple of its size, and where the last one ends. */
function parametersOf(header: string): { offsets: Record<string, number>; bytes: number } {
  const offsets: Record<string, number> = {}
  let bytes = 0
  for (const [, align, type, name, count] of header.matchAll(
    /\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+(\w+)(?:\[(\d+)\])?/g,
  )) {
    const size = type === 'b8' ? 1 : SIZES[type!]!
    const alignment = Number(align ?? size)
    offsets[name!] = Math.ceil(bytes / alignment) * alignment
    bytes = offsets[name!]! + size * Number(count ?? 1)
  }
  return { offsets, bytes }
}

type Triple = readonly [number, number, number]

/** A kernel with its parameters, as they lie in memory. */
export class PtxKernel {
  readonly #steps: Step[] = []
  readonly #labels = new Map<string, number>()
  readonly #parameters: DataView

  constructor(
    ptx: string,
    entry: string,
    parameters: Uint8Array,
    private readonly memory: Memory,
  ) {
    this.#parameters = new DataView(Uint8Array.from(parameters).buffer)
    const lines = ptx.split('\n').map(line => line.replace(/\/\/.*/, '').trim())
    const declared = lines.findIndex(line => line.startsWith(`.visible .entry ${entry}(`))
    if (declared < 0) throw new Error(`no kernel ${entry}`)
    const begin = lines.indexOf('{', declared)
    // Addresses in parameter space begin at 0.
    const { offsets: constants, bytes } = parametersOf(lines.slice(declared, begin).join(' '))
    if (bytes !== parameters.length) throw new Error(`it takes ${bytes} bytes`)
    for (const line of lines.slice(begin + 1, lines.lastIndexOf('}'))) {
      const label = /^(\w+):$/.exec(line)
      if (label) this.#labels.set(label[1]!, this.#steps.length)
      else if (line !== '' && !line.startsWith('.')) this.#steps.push(this.#parse(line, constants))
    }
  }

  /** Runs one thread. @param sizes blocks of the launch, and threads of a block, for a kernel that asks */
  run(block: Triple, thread: Triple, sizes?: { blocks: Triple; threads: Triple }): void {
    const axes = ['x', 'y', 'z'] as const
    const special: Record<string, number> = {}
    axes.forEach((axis, i) => {
      special[`%ctaid.${axis}`] = block[i]!
      special[`%tid.${axis}`] = thread[i]!
      if (!sizes) return
      special[`%nctaid.${axis}`] = sizes.blocks[i]!
      special[`%ntid.${axis}`] = sizes.threads[i]!
    })
    const state: Thread = { registers: new Map(), special }
    for (let at = 0; at < this.#steps.length; at++) {
      const target = this.#steps[at]!(state)
      if (target === 'ret') return
      if (target !== undefined) at = this.#labels.get(target)! - 1
    }
    throw new Error('it runs past its end')
  }

  #parse(line: string, constants: Readonly<Record<string, number>>): Step {
    const found = /^(?:@(!?)(%\w+)\s+)?([a-z][\w.]*)\s*(.*);$/.exec(line)
    if (found === null) throw new Error(`cannot read: ${line}`)
    const [, not, guard, operation, rest] = found
    const step = this.#instruction(operation!, operandsOf(rest!), constants)
    if (guard === undefined) return step
    const holds = source(guard, constants)
    return thread => (Boolean(holds(thread)) === (not === '') ? step(thread) : undefined)
  }

  #instruction(operation: string, operands: string[], constants: Readonly<Record<string, number>>): Step {
    if (operation === 'ret') return () => 'ret'
    if (operation === 'bra') return () => operands[0]!
    const access = /^(ld|st)\.(param|global)(?:\.(v2|v4))?\.(\w+)$/.exec(operation)
    if (access) return this.#access(access, operands, constants)
    const compute = ARITHMETIC[operation]
    if (compute === undefined) throw new Error(`unknown instruction: ${operation}`)
    const [to, ...from] = operands
    const [a, b, c] = from.map(text => source(text, constants))
    const none: Source = () => 0
    const [first, second, third] = [a ?? none, b ?? none, c ?? none]
    return thread => {
      thread.registers.set(to!, compute(first(thread), second(thread), third(thread)))
      return undefined
    }
  }

  #access(access: RegExpExecArray, operands: string[], constants: Readonly<Record<string, number>>): Step {
    const [, direction, space, , type] = access
    const [address, registers] =
      direction === 'ld' ? [operands[1]!, operands[0]!] : [operands[0]!, operands[1]!]
    const place = /^\[([%\w]+)(?:\+(\d+))?\]$/.exec(address)!
    const base = source(place[1]!, constants)
    const offset = Number(place[2] ?? 0)
    const names = registers
      .replace(/[{}]/g, '')
      .split(',')
      .map(text => text.trim())
    const sources = names.map(text => source(text, constants))
    const size = SIZES[type!]!
    return thread => {
      const at = base(thread) + offset
      const where =
        space === 'param' ? { view: this.#parameters, offset: at } : this.memory.at(at, size * names.length)
      names.forEach((name, i) => {
        if (direction === 'ld') thread.registers.set(name, load(where.view, where.offset + size * i, type!))
        else store(where.view, where.offset + size * i, type!, sources[i]!(thread))
      })
      return undefined
    }
  }
}
