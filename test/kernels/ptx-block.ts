/**
 * Runs blocks of threads of a kernel on the CPU, as the PTX ISA defines the instructions that kernels/convolution uses:
 * threads in warps, shared memory, barriers, asynchronous copies, and tensor cores. Shared memory holds NaN until it is
 * written; reading a register that was not written, and touching memory that is nobody's, are errors, and so is a warp
 * whose threads come to different collective instructions. Asynchronous copies are done as late as the kernel allows, or
 * as early: it must not care.
 */
import type { Memory } from './ptx-machine.ts'

/** When an asynchronous copy is done: when it is asked for, or when it is waited for. */
export type Copies = 'early' | 'late'

interface Thread {
  readonly registers: number[]
  readonly special: Readonly<Record<string, number>>
  at: number
  done: boolean
  /** Copies that belong to no group yet, and groups that were not waited for. */
  open: (() => void)[]
  groups: (() => void)[][]
}

interface Block {
  readonly shared: DataView
  readonly copies: Copies
  readonly parameters: Readonly<Record<string, number>>
}

type Plain = (thread: Thread, block: Block) => number | undefined
type Step =
  | { readonly kind: 'plain'; readonly run: Plain }
  | { readonly kind: 'warp'; readonly run: (warp: readonly Thread[], block: Block) => void }
  | { readonly kind: 'barrier' }

const DONE = -1
const WARP = 32

const unsigned = (x: number): number => x >>> 0
const signed = (x: number): number => x | 0
const words = new Uint32Array(1)
const floats = new Float32Array(words.buffer)
const shorts = new Uint16Array(words.buffer)
const halves = new Float16Array(words.buffer)
const floatOf = (bits: number): number => {
  words[0] = bits
  return floats[0]!
}
const halfOf = (bits: number): number => {
  shorts[0] = bits
  return halves[0]!
}
const halfBits = (value: number): number => {
  halves[0] = value
  return shorts[0]!
}

/** To 10 bits of mantissa, to nearest, ties away from zero. */
const tf32Bits = (bits: number): number => unsigned((bits + 0x1000) & 0xffffe000)

const flag = (truth: boolean): number => (truth ? 1 : 0)
const compare = (how: string, a: number, b: number): boolean =>
  how === 'ge' ? a >= b : how === 'lt' ? a < b : how === 'le' ? a <= b : a !== b

const COMPUTE: Readonly<Record<string, (a: number, b: number, c: number) => number>> = {
  'mov.u32': a => a,
  'mov.b32': a => a,
  'mov.f32': a => a,
  'cvta.to.global.u64': a => a,
  'cvt.u64.u32': a => a,
  'add.u32': (a, b) => unsigned(a + b),
  'add.s64': (a, b) => a + b,
  'sub.u32': (a, b) => unsigned(a - b),
  'mul.lo.u32': (a, b) => unsigned(Math.imul(a, b)),
  'mul.lo.u64': (a, b) => a * b,
  'mul.wide.u32': (a, b) => a * b,
  'mul.wide.s32': (a, b) => signed(a) * signed(b),
  'mul.hi.u32': (a, b) => Number((BigInt(a) * BigInt(b)) >> 32n),
  'mad.lo.u32': (a, b, c) => unsigned(Math.imul(a, b) + c),
  'div.u32': (a, b) => Math.floor(a / b),
  'min.u32': (a, b) => Math.min(a, b),
  'and.b32': (a, b) => unsigned(a & b),
  'and.pred': (a, b) => a & b,
  'xor.b32': (a, b) => unsigned(a ^ b),
  'shl.b32': (a, b) => unsigned(a << b),
  'shl.b64': (a, b) => a * 2 ** b,
  'shr.u32': (a, b) => a >>> b,
  'selp.u32': (a, b, p) => (p ? a : b),
  'selp.u64': (a, b, p) => (p ? a : b),
  'add.f32': (a, b) => Math.fround(a + b),
  // A product of float32 is exact in float64; the sum is rounded twice, once to 2^-53.
  'fma.rn.f32': (a, b, c) => Math.fround(a * b + c),
  'max.NaN.f32': (a, b) => (Number.isNaN(a) || Number.isNaN(b) ? Number.NaN : Math.max(a, b)),
  'cvt.f32.f16': a => halfOf(a),
  'cvt.rn.f16x2.f32': (a, b) => unsigned((halfBits(a) << 16) | halfBits(b)),
  'cvt.rna.tf32.f32': a => tf32Bits(a),
}

/** Products of fragments: how deep they are, and what element k of a row of registers is. */
const SHAPES: Readonly<
  Record<string, { depth: number; element: (words: readonly number[], k: number) => number }>
> = {
  'm16n8k16.row.col.f32.f16.f16.f32': {
    depth: 16,
    element: (words, k) => halfOf((words[k >> 1]! >>> (16 * (k & 1))) & 0xffff),
  },
  'm16n8k8.row.col.f32.tf32.tf32.f32': {
    depth: 8,
    element: (words, k) => {
      if ((words[k]! & 0x1fff) !== 0) throw new Error('a tf32 operand that was not rounded')
      return floatOf(words[k]!)
    },
  },
}

/** Operands of an instruction: what is in braces or brackets stays together. */
const operandsOf = (text: string): string[] => text.match(/\{[^}]*\}|\[[^\]]*\]|[^,\s]+/g) ?? []
const inside = (text: string): string[] =>
  text
    .slice(1, -1)
    .split(',')
    .map(name => name.trim())

export class PtxBlockKernel {
  readonly #steps: Step[] = []
  readonly #labels = new Map<string, number>()
  readonly #names = new Map<string, number>()
  readonly #parameters: readonly string[]
  readonly #threads: number

  constructor(
    ptx: string,
    entry: string,
    private readonly memory: Memory,
  ) {
    const found = new RegExp(
      `\\.visible \\.entry ${entry}\\(([^)]*)\\)\\s*\\.maxntid (\\d+), 1, 1\\s*\\{([^\\0]*)\\n\\}`,
    ).exec(ptx)
    if (found === null) throw new Error(`no kernel ${entry}`)
    this.#parameters = [...found[1]!.matchAll(/p_\w+/g)].map(([name]) => name)
    this.#threads = Number(found[2])
    // Labels may be used before they are met.
    const lines: string[] = []
    for (const line of found[3]!.split('\n').map(text => text.replace(/\/\/.*/, '').trim())) {
      const label = /^(\w+):$/.exec(line)
      if (label) this.#labels.set(label[1]!, lines.length)
      else if (line !== '' && !line.startsWith('.')) lines.push(line)
    }
    for (const line of lines) this.#steps.push(this.#parse(line))
  }

  /** Runs all blocks of a grid, one after the other. */
  launch(
    grid: readonly [number, number, number],
    sharedBytes: number,
    args: Readonly<Record<string, number>>,
    copies: Copies,
  ): void {
    const parameters = Object.fromEntries(
      this.#parameters.map(name => {
        const value = args[name.slice(2)]
        if (value === undefined) throw new Error(`no argument for ${name}`)
        return [name, value]
      }),
    )
    for (let z = 0; z < grid[2]; z++)
      for (let y = 0; y < grid[1]; y++)
        for (let x = 0; x < grid[0]; x++) {
          const shared = new DataView(new Uint8Array(sharedBytes).fill(0xff).buffer)
          this.#block({ '%ctaid.x': x, '%ctaid.y': y, '%ctaid.z': z }, { shared, copies, parameters })
        }
  }

  #block(place: Readonly<Record<string, number>>, block: Block): void {
    const threads = Array.from(
      { length: this.#threads },
      (_, i): Thread => ({
        registers: new Array<number>(this.#names.size),
        special: { ...place, '%tid.x': i },
        at: 0,
        done: false,
        open: [],
        groups: [],
      }),
    )
    const warps = Array.from({ length: this.#threads / WARP }, (_, w) =>
      threads.slice(w * WARP, (w + 1) * WARP),
    )
    for (;;) {
      for (const warp of warps) this.#toBarrier(warp, block)
      const waiting = threads.filter(thread => !thread.done)
      if (waiting.length === 0) return
      if (waiting.length < threads.length) throw new Error('a barrier that some threads never come to')
      for (const thread of threads) thread.at++
    }
  }

  /** Runs a warp until all of its threads are at a barrier, or done. */
  #toBarrier(warp: readonly Thread[], block: Block): void {
    for (;;) {
      for (const thread of warp) this.#alone(thread, block)
      const [first, ...others] = warp.filter(thread => !thread.done)
      if (first === undefined) return
      if (others.length + 1 < warp.length || others.some(thread => thread.at !== first.at))
        throw new Error('threads of a warp come to different collective instructions')
      const step = this.#steps[first.at]!
      if (step.kind !== 'warp') return
      step.run(warp, block)
      for (const thread of warp) thread.at++
    }
  }

  /** Runs a thread until it needs others. */
  #alone(thread: Thread, block: Block): void {
    while (!thread.done) {
      const step = this.#steps[thread.at]
      if (step === undefined) throw new Error('it runs past its end')
      if (step.kind !== 'plain') return
      const target = step.run(thread, block)
      if (target === DONE) thread.done = true
      else thread.at = target ?? thread.at + 1
    }
    if (thread.groups.length > 0 || thread.open.length > 0) throw new Error('copies that nobody waits for')
  }

  #register(name: string): number {
    const known = this.#names.get(name)
    if (known !== undefined) return known
    this.#names.set(name, this.#names.size)
    return this.#names.size - 1
  }

  #source(text: string): (thread: Thread) => number {
    if (/^0f[0-9A-F]{8}$/.test(text)) {
      const value = floatOf(Number.parseInt(text.slice(2), 16))
      return () => value
    }
    if (/^(0x)?[0-9a-f]+$/.test(text)) return () => Number(text)
    if (text.startsWith('%') && text.includes('.')) return ({ special }) => special[text]!
    // The one name that is no register is of shared memory, which begins at 0.
    if (!text.startsWith('%')) return () => 0
    const index = this.#register(text)
    return ({ registers }) => {
      const value = registers[index]
      if (value === undefined) throw new Error(`${text} is read before it is written`)
      return value
    }
  }

  #parse(line: string): Step {
    const found = /^(?:@(!?)(%\w+)\s+)?([a-z][\w.]*)\s*(.*);$/i.exec(line)
    if (found === null) throw new Error(`cannot read: ${line}`)
    const [, not, guard, operation, rest] = found
    const operands = operandsOf(rest!)
    if (operation === 'bar.sync') return { kind: 'barrier' }
    if (operation!.startsWith('ldmatrix')) return { kind: 'warp', run: this.#ldmatrix(operands) }
    if (operation!.startsWith('mma')) return { kind: 'warp', run: this.#mma(operation!, operands) }
    const run = this.#plain(operation!, operands)
    if (guard === undefined) return { kind: 'plain', run }
    const holds = this.#source(guard)
    return { kind: 'plain', run: (t, b) => ((holds(t) !== 0) === (not === '') ? run(t, b) : undefined) }
  }

  #plain(operation: string, operands: readonly string[]): Plain {
    if (operation === 'ret') return () => DONE
    if (operation === 'bra') {
      const target = this.#labels.get(operands[0]!)!
      return () => target
    }
    if (operation.startsWith('cp.async')) return this.#copy(operation, operands)
    if (operation.startsWith('ld.param')) {
      const to = this.#register(operands[0]!)
      const [name] = inside(operands[1]!)
      return ({ registers }, { parameters }) => {
        registers[to] = parameters[name!]!
        return undefined
      }
    }
    const access = /^(ld|st)\.(shared|global)(?:\.v(\d))?\.(b32|f32)$/.exec(operation)
    if (access) return this.#access(access, operands)
    if (operation === 'mov.b32' && operands[0]!.startsWith('{')) {
      const [low, high] = inside(operands[0]!).map(name => this.#register(name))
      const from = this.#source(operands[1]!)
      return thread => {
        const word = from(thread)
        thread.registers[low!] = word & 0xffff
        thread.registers[high!] = word >>> 16
        return undefined
      }
    }
    const to = this.#register(operands[0]!)
    const [a, b = () => 0, c = () => 0] = operands.slice(1).map(text => this.#source(text))
    const set = /^setp\.(\w+)(?:\.(and|or))?\.([us])(32|64)$/.exec(operation)
    const compute = set ? undefined : COMPUTE[operation]
    if (!set && !compute) throw new Error(`unknown instruction: ${operation}`)
    if (compute)
      return thread => {
        thread.registers[to] = compute(a!(thread), b(thread), c(thread))
        return undefined
      }
    const [, how, join, sign] = set!
    const value = sign === 's' ? signed : (x: number) => x
    return thread => {
      const truth = compare(how!, value(a!(thread)), value(b(thread)))
      const other = join === undefined || c(thread) !== 0
      thread.registers[to] = flag(join === 'or' ? truth || other : truth && other)
      return undefined
    }
  }

  /** `[%register+offset]` */
  #address(text: string): (thread: Thread) => number {
    const [, base, offset] = /^\[(%\w+)(?:\+(\d+))?\]$/.exec(text)!
    const from = this.#source(base!)
    return thread => from(thread) + Number(offset ?? 0)
  }

  #access([, direction, space, vector, type]: RegExpExecArray, operands: readonly string[]): Plain {
    const [place, registers] =
      direction === 'ld' ? [operands[1]!, operands[0]!] : [operands[0]!, operands[1]!]
    const address = this.#address(place)
    const names = registers.startsWith('{') ? inside(registers) : [registers]
    if (names.length !== Number(vector ?? 1))
      throw new Error(`${names.length} registers for a vector of ${vector}`)
    const indices = names.map(name => this.#register(name))
    const sources = names.map(name => this.#source(name))
    const bytes = 4 * names.length
    return (thread, { shared }) => {
      const at = address(thread)
      if (at % bytes !== 0) throw new Error(`unaligned access to ${bytes} bytes at ${at}`)
      const where = space === 'global' ? this.memory.at(at, bytes) : { view: shared, offset: at }
      for (const [i, index] of indices.entries()) {
        const offset = where.offset + 4 * i
        if (direction === 'ld')
          thread.registers[index] =
            type === 'f32' ? where.view.getFloat32(offset, true) : where.view.getUint32(offset, true)
        else if (type === 'f32') where.view.setFloat32(offset, sources[i]!(thread), true)
        else where.view.setUint32(offset, sources[i]!(thread), true)
      }
      return undefined
    }
  }

  #copy(operation: string, operands: readonly string[]): Plain {
    if (operation === 'cp.async.commit_group')
      return thread => {
        thread.groups.push(thread.open.splice(0))
        return undefined
      }
    if (operation === 'cp.async.wait_all' || operation === 'cp.async.wait_group') {
      const left = operation === 'cp.async.wait_all' ? 0 : Number(operands[0])
      return thread => {
        for (const group of thread.groups.splice(0, Math.max(0, thread.groups.length - left)))
          for (const copy of group) copy()
        return undefined
      }
    }
    const to = this.#address(operands[0]!)
    const from = this.#address(operands[1]!)
    const bytes = Number(operands[2])
    const given = this.#source(operands[3]!)
    return (thread, { shared, copies }) => {
      const [at, source, size] = [to(thread), from(thread), given(thread)]
      if (at % bytes !== 0 || source % bytes !== 0) throw new Error(`unaligned copy from ${source} to ${at}`)
      const target = new Uint8Array(shared.buffer, at, bytes)
      const copy = () => {
        target.fill(0)
        if (size === 0) return
        const { view, offset } = this.memory.at(source, size)
        target.set(new Uint8Array(view.buffer, view.byteOffset + offset, size))
      }
      if (copies === 'early') copy()
      else thread.open.push(copy)
      return undefined
    }
  }

  #ldmatrix(operands: readonly string[]): (warp: readonly Thread[], block: Block) => void {
    const registers = inside(operands[0]!).map(name => this.#register(name))
    const address = this.#address(operands[1]!)
    return (warp, { shared }) => {
      const rows = warp.map(thread => address(thread))
      for (const row of rows) if (row % 16 !== 0) throw new Error(`ldmatrix of an unaligned row at ${row}`)
      for (const [lane, thread] of warp.entries())
        for (const [j, register] of registers.entries())
          thread.registers[register] = shared.getUint32(rows[8 * j + (lane >> 2)]! + 4 * (lane & 3), true)
    }
  }

  #mma(operation: string, operands: readonly string[]): (warp: readonly Thread[]) => void {
    const shape = SHAPES[operation.replace('mma.sync.aligned.', '')]
    if (!shape) throw new Error(`unknown instruction: ${operation}`)
    const [to, a, b, c] = operands.map(text => inside(text).map(name => this.#register(name)))
    const { depth, element } = shape
    const fragment = (warp: readonly Thread[], group: number, registers: readonly number[]): number[] =>
      registers.flatMap(register =>
        [0, 1, 2, 3].map(q => {
          const word = warp[4 * group + q]!.registers[register]
          if (word === undefined) throw new Error('a fragment is read before it is written')
          return word
        }),
      )
    return warp => {
      // Rows of places: groups of four lanes have rows g (registers 0 and 2) and g + 8 (1 and 3); the lower half of the
      // depth is in the former of each.
      const places = Array.from({ length: 16 }, (_, row) =>
        fragment(warp, row & 7, row < 8 ? [a![0]!, a![2]!] : [a![1]!, a![3]!]),
      )
      const channels = Array.from({ length: 8 }, (_, column) => fragment(warp, column, b!))
      const x = places.map(row => Array.from({ length: depth }, (_, k) => element(row, k)))
      const y = channels.map(row => Array.from({ length: depth }, (_, k) => element(row, k)))
      for (const [lane, { registers }] of warp.entries())
        for (let i = 0; i < 4; i++) {
          const [row, column] = [(lane >> 2) + 8 * (i >> 1), 2 * (lane & 3) + (i & 1)]
          let sum = registers[c![i]!]!
          for (let k = 0; k < depth; k++) sum += x[row]![k]! * y[column]![k]!
          registers[to![i]!] = Math.fround(sum)
        }
    }
  }
}
