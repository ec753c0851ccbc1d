/**
 * Runs kernels of kernels/hopper on the CPU, as the PTX ISA defines the instructions that they use: barriers in shared
 * memory that count arrivals and bytes, tensor maps, products of a warpgroup, clusters. All threads of a cluster take turns;
 * a thread that waits lets the others run. Memory holds NaN until it is written, reading a register that was not written is
 * an error, and so are threads that wait for each other for ever. Copies and products are done as early as they may, or as
 * late: a kernel must not care.
 */
import type { Memory } from './ptx-machine.ts'

/** When copies and products are done: when they are asked for, or when they are waited for. */
export type Pace = 'early' | 'late'

/** A tensor of float16 as a map describes it; axes from the innermost. */
export interface TensorMap {
  readonly kind: 'tiled' | 'im2col'
  readonly at: number
  readonly sizes: readonly number[]
  /** Bytes, of all axes but the innermost. */
  readonly strides: readonly number[]
  readonly swizzle: 'none' | 'bytes128'
  readonly box?: readonly number[]
  readonly lower?: readonly number[]
  readonly upper?: readonly number[]
  readonly steps?: readonly number[]
  readonly channels?: number
  readonly places?: number
}

type Value = number | bigint
interface Barrier {
  readonly count: number
  pending: number
  bytes: number
  phase: number
}
interface Block {
  readonly shared: DataView
  readonly barriers: Map<number, Barrier>
  readonly special: Readonly<Record<string, number>>
  readonly cluster: Block[]
}
interface Thread {
  readonly registers: (Value | undefined)[]
  readonly block: Block
  readonly index: number
  at: number
  done: boolean
  /** Products that were asked for, by group: the last is open. */
  groups: (() => void)[][]
}
type Scope = 'warp' | 'warpgroup' | 'block' | 'cluster'
/** What a thread does by itself: where it goes on, or that it has to wait. */
type Alone = (thread: Thread) => number | 'wait' | undefined
type Step =
  | { readonly scope?: undefined; readonly run: Alone }
  | { readonly scope: Scope; readonly run: (threads: readonly Thread[]) => void }

const SIZES: Readonly<Record<Scope, number>> = {
  warp: 32,
  warpgroup: 128,
  block: Number.POSITIVE_INFINITY,
  cluster: Number.POSITIVE_INFINITY,
}
const DONE = -1
/** Where shared memory begins, and what lies between the addresses of a cluster's blocks. */
const SHARED_START = 512
const WINDOW = 2 ** 24

const words = new Uint32Array(1)
const halves = new Float16Array(words.buffer)
const shorts = new Uint16Array(words.buffer)
const halfOf = (bits: number): number => {
  shorts[0] = bits
  return halves[0]!
}
const halfBits = (value: number): number => {
  halves[0] = value
  return shorts[0]!
}
const u32 = (x: number): number => x >>> 0
const pair = (f: (a: number, b: number) => number) => (a: number, b: number) =>
  u32(
    (halfBits(f(halfOf(a >>> 16), halfOf(b >>> 16))) << 16) |
      halfBits(f(halfOf(a & 0xffff), halfOf(b & 0xffff))),
  )
const wide =
  (f: (a: bigint, b: bigint) => bigint, g: (a: number, b: number) => number) => (a: Value, b: Value) =>
    typeof a === 'bigint' || typeof b === 'bigint' ? f(BigInt(a), BigInt(b)) : g(a, b)
const relu = (x: number): number => (Number.isNaN(x) ? x : Math.max(0, x))
const joined = (high: number, low: number): number => u32((halfBits(high) << 16) | halfBits(low))

type Compute = (a: never, b: never, c: never) => Value
const COMPUTE: Readonly<Record<string, Compute>> = {
  'mov.u32': (a: Value) => a,
  'mov.b32': (a: Value) => a,
  'mov.b64': (a: Value) => a,
  'mov.u64': (a: Value) => a,
  'mov.pred': (a: Value) => a,
  'cvta.param.u64': (a: Value) => a,
  'cvt.u64.u32': (a: Value) => a,
  'add.u32': (a: number, b: number) => u32(a + b),
  'add.u64': wide(
    (a, b) => a + b,
    (a, b) => a + b,
  ),
  'or.b64': wide(
    (a, b) => a | b,
    (a, b) => Number(BigInt(a) | BigInt(b)),
  ),
  'sub.u32': (a: number, b: number) => u32(a - b),
  'mul.lo.u32': (a: number, b: number) => u32(Math.imul(a, b)),
  'mul.wide.u32': (a: number, b: number) => a * b,
  'mad.lo.u32': (a: number, b: number, c: number) => u32(Math.imul(a, b) + c),
  'mad.wide.u32': (a: number, b: number, c: number) => a * b + c,
  'div.u32': (a: number, b: number) => Math.floor(a / b),
  'min.u32': (a: number, b: number) => Math.min(a, b),
  'and.b32': (a: number, b: number) => u32(a & b),
  'and.pred': (a: number, b: number) => a & b,
  'xor.b32': (a: number, b: number) => u32(a ^ b),
  'shl.b32': (a: number, b: number) => u32(a << b),
  'shl.b64': (a: number, b: number) => a * 2 ** b,
  'shr.u32': (a: number, b: number) => a >>> b,
  'selp.b32': (a: number, b: number, p: number) => (p ? a : b),
  'selp.b64': (a: number, b: number, p: number) => (p ? a : b),
  'add.f32': (a: number, b: number) => Math.fround(a + b),
  'add.f16x2': pair((a, b) => a + b),
  'max.f16x2': pair((a, b) => (Number.isNaN(a) ? b : Number.isNaN(b) ? a : Math.max(a, b))),
  'cvt.rn.f16x2.f32': (a: number, b: number) => joined(a, b),
  'cvt.rn.relu.f16x2.f32': (a: number, b: number) => joined(relu(a), relu(b)),
}
const COMPARE: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt: (a, b) => a < b,
  ge: (a, b) => a >= b,
}
/** What changes nothing here: hints, and orders that taking turns gives anyway. */
const NOTHING = /^(fence|prefetch|griddepcontrol|setmaxnreg|wgmma\.fence)/

const operandsOf = (text: string): string[] => text.match(/\[[^\]]*\]|\{[^}]*\}|[^,\s]+/g) ?? []
const inside = (text: string): string[] =>
  text
    .slice(1, -1)
    .split(',')
    .map(name => name.trim())

/** Bits 4 to 6 of an address, xor bits 7 to 9. */
const swizzled = (address: number): number => address ^ (((address >> 7) & 7) << 4)

/** Where element k of a row of an operand is, by its descriptor. */
function locate(bits: Value): (row: number, k: number) => number {
  const descriptor = BigInt(bits)
  const field = (from: bigint) => Number((descriptor >> from) & 0x3fffn) << 4
  const [start, leading, stride] = [field(0n), field(16n), field(32n)]
  return descriptor >> 62n === 1n
    ? (row, k) => swizzled(start + (row >> 3) * stride + (row & 7) * 128 + 2 * k)
    : (row, k) => start + (row >> 3) * stride + (k >> 3) * leading + (row & 7) * 16 + 2 * (k & 7)
}

export class HopperMachine {
  readonly #steps: Step[] = []
  readonly #labels = new Map<string, number>()
  readonly #names = new Map<string, number>()
  readonly #threads: number
  readonly #split: number
  #parameters: Readonly<Record<string, number | TensorMap>> = {}
  #pace: Pace = 'early'
  /** Copies that were asked for and not done. */
  #copies: (() => void)[] = []

  constructor(
    ptx: string,
    private readonly memory: Memory,
  ) {
    const body = /\n\{([^\0]*)\n\}/.exec(ptx)![1]!
    this.#threads = Number(/\.maxntid (\d+)/.exec(ptx)![1])
    this.#split = Number(/\.reqnctapercluster (\d+)/.exec(ptx)?.[1] ?? 1)
    const lines: string[] = []
    for (const line of body.split('\n').map(text => text.replace(/\/\/.*/, '').trim())) {
      const label = /^(\w+):$/.exec(line)
      if (label) this.#labels.set(label[1]!, lines.length)
      else if (line !== '' && !line.startsWith('.')) lines.push(line)
    }
    for (const line of lines) this.#steps.push(this.#parse(line))
  }

  /** Runs all clusters of a grid, one after the other. */
  launch(
    blocks: number,
    sharedBytes: number,
    parameters: Readonly<Record<string, number | TensorMap>>,
    pace: Pace,
  ): void {
    this.#parameters = parameters
    this.#pace = pace
    for (let first = 0; first < blocks; first += this.#split) {
      const cluster: Block[] = []
      for (let rank = 0; rank < this.#split; rank++)
        cluster.push({
          shared: new DataView(new Uint8Array(SHARED_START + sharedBytes).fill(0xff).buffer),
          barriers: new Map(),
          special: { '%ctaid.x': first + rank, '%nctaid.x': blocks, '%cluster_ctarank': rank },
          cluster,
        })
      this.#cluster(cluster)
    }
  }

  #cluster(cluster: readonly Block[]): void {
    const threads = cluster.flatMap(block =>
      Array.from(
        { length: this.#threads },
        (_, index): Thread => ({
          registers: new Array(this.#names.size),
          block,
          index,
          at: 0,
          done: false,
          groups: [[]],
        }),
      ),
    )
    for (;;) {
      let moved = false
      for (const thread of threads) if (this.#alone(thread)) moved = true
      const open = threads.filter(thread => !thread.done)
      if (open.length === 0) break
      if (this.#together(threads)) moved = true
      if (!moved && this.#copies.length === 0) throw new Error('threads wait for each other for ever')
      // Late copies come when nothing else can be done.
      if (!moved) for (const copy of this.#copies.splice(0)) copy()
    }
    if (this.#copies.length > 0) throw new Error('copies that nobody waits for')
  }

  /** Runs a thread until it has to wait. @returns whether it got anywhere */
  #alone(thread: Thread): boolean {
    let moved = false
    while (!thread.done) {
      const step = this.#steps[thread.at]
      if (step === undefined) throw new Error('it runs past its end')
      if (step.scope !== undefined) return moved
      const from = thread.at
      const target = step.run(thread)
      if (target === 'wait') return moved
      if (target === DONE) thread.done = true
      else thread.at = target ?? from + 1
      // A loop that asks a barrier again and again gets nowhere.
      moved ||= !this.#asks(from)
    }
    return moved
  }

  #asks(at: number): boolean {
    return this.#waits.has(at)
  }
  readonly #waits = new Set<number>()

  /** Does what threads do together, where all of them have come to it. */
  #together(threads: readonly Thread[]): boolean {
    let moved = false
    for (let from = 0; from < threads.length; ) {
      const step = threads[from]!.done ? undefined : this.#steps[threads[from]!.at]!
      const size =
        step?.scope === undefined
          ? 32
          : Math.min(SIZES[step.scope], step.scope === 'cluster' ? threads.length : this.#threads)
      const group = threads.slice(from, from + size)
      if (step?.scope !== undefined && from % size === 0) {
        const here = group.filter(thread => !thread.done)
        const all = here.every(
          thread => this.#steps[thread.at] !== undefined && thread.at === threads[from]!.at,
        )
        // A barrier of a block or a cluster may stand in several places.
        const same = here.every(thread => this.#steps[thread.at]!.scope === step.scope)
        const anywhere = step.scope === 'block' || step.scope === 'cluster'
        if (here.length === group.length && (all || (anywhere && same))) {
          step.run(group)
          for (const thread of group) thread.at++
          moved = true
        }
      }
      from += step?.scope === 'warpgroup' && from % 128 === 0 ? 128 : 32
    }
    return moved
  }

  #register(name: string): number {
    const known = this.#names.get(name)
    if (known !== undefined) return known
    this.#names.set(name, this.#names.size)
    return this.#names.size - 1
  }

  #source(text: string): (thread: Thread) => never {
    const constant = (value: Value) => () => value as never
    if (/^-?(0x[0-9a-f]+|\d+)$/.test(text)) {
      const value = BigInt(text.replace('-', ''))
      if (value > BigInt(Number.MAX_SAFE_INTEGER)) return constant(value)
      return constant(text.startsWith('-') ? u32(-Number(value)) : Number(value))
    }
    if (text === '%tid.x') return ({ index }) => index as never
    if (text.startsWith('%') && /%(n?ctaid\.x|cluster_ctarank)/.test(text))
      return ({ block }) => block.special[text]! as never
    if (text === 'shared') return constant(SHARED_START)
    // A parameter that is passed by value, of which the address is taken.
    if (!text.startsWith('%')) return constant(0)
    const index = this.#register(text)
    return ({ registers }) => {
      const value = registers[index]
      if (value === undefined) throw new Error(`${text} is read before it is written`)
      return value as never
    }
  }

  #address(text: string): (thread: Thread) => number {
    const [, base, offset] = /^\[([%\w]+)(?:\+(\d+))?\]$/.exec(text)!
    const from = this.#source(base!)
    return thread => (from(thread) as number) + Number(offset ?? 0)
  }

  #parse(line: string): Step {
    const found = /^(?:@(!?)(%\w+)\s+)?([a-z][\w.:]*)\s*(.*);$/i.exec(line)
    if (found === null) throw new Error(`cannot read: ${line}`)
    const [, not, guard, operation, rest] = found
    const operands = operandsOf(rest!)
    if (NOTHING.test(operation!)) return { run: () => undefined }
    const together = this.#collective(operation!, operands)
    if (together) return together
    if (operation!.startsWith('mbarrier.try_wait')) this.#waits.add(this.#steps.length)
    const run = this.#plain(operation!, operands)
    if (guard === undefined) return { run }
    if (operation === 'bra' && this.#waits.has(this.#steps.length - 1)) this.#waits.add(this.#steps.length)
    const holds = this.#source(guard)
    const retry = this.#waits.has(this.#steps.length)
    return {
      run: thread => {
        if (((holds(thread) as number) !== 0) !== (not === '')) return undefined
        const target = run(thread)
        // The others' turn, then it asks again.
        if (retry) {
          thread.at = target as number
          return 'wait'
        }
        return target
      },
    }
  }

  #collective(operation: string, operands: readonly string[]): Step | undefined {
    if (operation === 'bar.sync') return { scope: 'block', run: () => undefined }
    if (operation === 'bar.warp.sync') return { scope: 'warp', run: () => undefined }
    if (operation === 'barrier.cluster.wait.acquire') return { scope: 'cluster', run: () => undefined }
    if (operation.startsWith('stmatrix')) return { scope: 'warp', run: this.#stmatrix(operands) }
    if (operation.startsWith('wgmma.mma_async'))
      return { scope: 'warpgroup', run: this.#multiply(operation, operands) }
    if (operation.startsWith('wgmma.commit_group'))
      return { scope: 'warpgroup', run: threads => threads[0]!.groups.push([]) }
    if (operation.startsWith('wgmma.wait_group')) {
      const left = Number(operands[0])
      return {
        scope: 'warpgroup',
        run: ([first]) => {
          const { groups } = first!
          for (const group of groups.splice(0, Math.max(0, groups.length - 1 - left)))
            for (const product of group) product()
        },
      }
    }
    return undefined
  }

  #plain(operation: string, operands: readonly string[]): Alone {
    if (operation === 'ret') return () => DONE
    if (operation === 'barrier.cluster.arrive.release') return () => undefined
    if (operation === 'bra') return () => this.#labels.get(operands[0]!)!
    if (operation.startsWith('mbarrier')) return this.#barrier(operation, operands)
    if (operation.startsWith('cp.async.bulk')) return this.#copy(operation, operands)
    if (operation.startsWith('ld.param')) {
      const to = this.#register(operands[0]!)
      const [name] = inside(operands[1]!)
      return ({ registers }) => {
        registers[to] = this.#parameters[name!] as number
        return undefined
      }
    }
    const access = /^(ld|st)\.(shared::cluster|shared|global)(?:\.nc)?(?:\.v(\d))?\.(b32|f32)$/.exec(
      operation,
    )
    if (access) return this.#access(access, operands)
    const to = this.#register(operands[0]!)
    const [a, b = () => 0 as never, c = () => 0 as never] = operands.slice(1).map(text => this.#source(text))
    const set = /^setp\.(\w+)(\.and)?\.u32$/.exec(operation)
    if (set) {
      const compare = COMPARE[set[1]!]!
      return thread => {
        const also = set[2] === undefined || (c(thread) as number) !== 0
        thread.registers[to] = compare(a!(thread), b(thread)) && also ? 1 : 0
        return undefined
      }
    }
    if (operation === 'mapa.shared::cluster.u32')
      return thread => {
        thread.registers[to] = (a!(thread) as number) + WINDOW * ((b(thread) as number) + 1)
        return undefined
      }
    const compute = COMPUTE[operation]
    if (!compute) throw new Error(`unknown instruction: ${operation}`)
    return thread => {
      thread.registers[to] = compute(a!(thread), b(thread), c(thread))
      return undefined
    }
  }

  #access([, direction, space, vector, type]: RegExpExecArray, operands: readonly string[]): Alone {
    const [place, registers] =
      direction === 'ld' ? [operands[1]!, operands[0]!] : [operands[0]!, operands[1]!]
    const address = this.#address(place)
    const names = registers.startsWith('{') ? inside(registers) : [registers]
    const indices = names.map(name => this.#register(name))
    const sources = names.map(name => this.#source(name))
    const bytes = 4 * names.length
    if (names.length !== Number(vector ?? 1)) throw new Error(`${names.length} registers for ${vector}`)
    return thread => {
      const at = address(thread)
      if (at % bytes !== 0) throw new Error(`unaligned access to ${bytes} bytes at ${at}`)
      const of =
        space === 'shared::cluster' ? thread.block.cluster[Math.floor(at / WINDOW) - 1]! : thread.block
      const where = space === 'global' ? this.memory.at(at, bytes) : { view: of.shared, offset: at % WINDOW }
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

  static #settle(barrier: Barrier): void {
    if (barrier.pending < 0) throw new Error('more arrivals than a barrier counts')
    if (barrier.pending > 0 || barrier.bytes !== 0) return
    barrier.phase++
    barrier.pending = barrier.count
  }

  #barrier(operation: string, operands: readonly string[]): Alone {
    const waits = operation.startsWith('mbarrier.try_wait')
    const addressOf = this.#address(waits || operation.includes('arrive') ? operands[1]! : operands[0]!)
    if (operation.startsWith('mbarrier.init')) {
      const count = Number(operands[1])
      return thread => {
        thread.block.barriers.set(addressOf(thread), { count, pending: count, bytes: 0, phase: 0 })
        return undefined
      }
    }
    const found = (thread: Thread): Barrier => {
      const barrier = thread.block.barriers.get(addressOf(thread))
      if (!barrier) throw new Error('no barrier there')
      return barrier
    }
    if (waits) {
      const to = this.#register(operands[0]!)
      const parity = this.#source(operands[2]!)
      return thread => {
        thread.registers[to] = found(thread).phase % 2 !== (parity(thread) as number) ? 1 : 0
        return undefined
      }
    }
    const bytes = operation.includes('expect_tx') ? Number(operands[2]) : 0
    return thread => {
      const barrier = found(thread)
      barrier.bytes += bytes
      barrier.pending--
      HopperMachine.#settle(barrier)
      return undefined
    }
  }

  /** A copy to shared memory by the copy engine: from a map, or of bytes in a run. */
  #copy(operation: string, operands: readonly string[]): Alone {
    const to = this.#address(operands[0]!)
    const tensor = operation.includes('.tensor')
    const barrierAt = this.#address(tensor ? operands[2]! : operands[3]!)
    const fill = tensor ? this.#tensor(operands) : this.#run(operands)
    return thread => {
      const [start, { shared, barriers }] = [to(thread), thread.block]
      const barrier = barriers.get(barrierAt(thread))!
      const write = fill(thread)
      const copy = () => {
        barrier.bytes -= write(shared, start)
        HopperMachine.#settle(barrier)
      }
      if (this.#pace === 'early') copy()
      else this.#copies.push(copy)
      return undefined
    }
  }

  #run(operands: readonly string[]): (thread: Thread) => (shared: DataView, to: number) => number {
    const from = this.#address(operands[1]!)
    const bytes = Number(operands[2])
    return thread => {
      const source = from(thread)
      return (shared, to) => {
        if (to % 16 !== 0) throw new Error('unaligned copy')
        for (let i = 0; i < bytes; i += 4) {
          const { view, offset } = this.memory.at(source + i, 4)
          shared.setUint32(to + i, view.getUint32(offset, true), true)
        }
        return bytes
      }
    }
  }

  #tensor(operands: readonly string[]): (thread: Thread) => (shared: DataView, to: number) => number {
    const [, ...axes] = inside(operands[1]!).map(text => text.replace('{', '').trim())
    const coordinates = axes.map(text => this.#source(text.replace('}', '')))
    const offsets = operands[3] === undefined ? [] : inside(operands[3]).map(Number)
    return thread => {
      const map = this.#parameters.places as TensorMap
      const first = coordinates.map(source => (source(thread) as number) | 0)
      return (shared, to) => {
        const row = map.kind === 'tiled' ? map.box![0]! : map.channels!
        const rows = map.kind === 'tiled' ? tiledRows(map, first) : im2colRows(map, first, offsets)
        let at = to
        for (const place of rows)
          for (let c = 0; c < row; c++, at += 2) {
            const bits = this.#element(map, [first[0]! + c, ...place])
            shared.setUint16(map.swizzle === 'none' ? at : swizzled(at), bits, true)
          }
        return at - to
      }
    }
  }

  /** Zero outside of the tensor. */
  #element({ at, sizes, strides }: TensorMap, place: readonly number[]): number {
    if (place.some((x, axis) => x < 0 || x >= sizes[axis]!)) return 0
    const bytes = place.reduce((sum, x, axis) => sum + x * (axis === 0 ? 2 : strides[axis - 1]!), 0)
    const { view, offset } = this.memory.at(at + bytes, 2)
    return view.getUint16(offset, true)
  }

  #stmatrix(operands: readonly string[]): (warp: readonly Thread[]) => void {
    const address = this.#address(operands[0]!)
    const registers = inside(operands[1]!).map(name => this.#source(name))
    return warp => {
      const rows = warp.map(thread => address(thread))
      for (const [lane, thread] of warp.entries())
        for (const [j, register] of registers.entries()) {
          const at = rows[8 * j + (lane >> 2)]!
          if (at % 16 !== 0) throw new Error(`stmatrix of an unaligned row at ${at}`)
          thread.block.shared.setUint32(at + 4 * (lane & 3), register(thread), true)
        }
    }
  }

  #multiply(operation: string, operands: readonly string[]): (threads: readonly Thread[]) => void {
    const columns = Number(/m64n(\d+)k16/.exec(operation)![1])
    const sums = inside(operands[0]!).map(name => this.#register(name))
    const [a, b, add] = operands.slice(1, 4).map(text => this.#source(text))
    return threads => {
      const [first] = threads
      const [from, by] = [locate(a!(first!)), locate(b!(first!))]
      const adds = (add!(first!) as number) !== 0
      const { shared } = first!.block
      // A warpgroup's descriptors are the same in all of its threads.
      for (const thread of threads)
        if (a!(thread) !== a!(first!) || b!(thread) !== b!(first!)) throw new Error('descriptors differ')
      const read = (at: number) => shared.getFloat16(at, true)
      const product = () => {
        const y = Array.from({ length: columns }, (_, n) =>
          Array.from({ length: 16 }, (_, k) => read(by(n, k))),
        )
        for (let row = 0; row < 64; row++) {
          const x = Array.from({ length: 16 }, (_, k) => read(from(row, k)))
          for (let column = 0; column < columns; column++) {
            const lane = 32 * (row >> 4) + 4 * (row & 7) + ((column & 7) >> 1)
            const register = sums[4 * (column >> 3) + 2 * ((row >> 3) & 1) + (column & 1)]!
            const { registers } = threads[lane]!
            let sum = adds ? (registers[register] as number) : 0
            for (let k = 0; k < 16; k++) sum += x[k]! * y[column]![k]!
            registers[register] = Math.fround(sum)
          }
        }
      }
      if (this.#pace === 'early') product()
      else first!.groups.at(-1)!.push(product)
    }
  }
}

/** The rows of a box, in the order in which they come, without the innermost axis. */
function tiledRows({ box }: TensorMap, first: readonly number[]): number[][] {
  let rows: number[][] = [[]]
  for (let axis = box!.length - 1; axis > 0; axis--)
    rows = rows.flatMap(row => Array.from({ length: box![axis]! }, (_, i) => [first[axis]! + i, ...row]))
  return rows
}

/** The places of an im2col load, in the order in which they come, moved by a tap's offsets. */
function im2colRows(map: TensorMap, first: readonly number[], offsets: readonly number[]): number[][] {
  const { sizes, lower, upper, steps, places } = map
  const place = first.slice(1)
  const spatial = lower!.length
  return Array.from({ length: places! }, () => {
    const row = place.map((x, axis) => x + (offsets[axis] ?? 0))
    for (let axis = 0; axis <= spatial; axis++) {
      if (axis === spatial) place[axis]!++
      else {
        place[axis]! += steps![axis + 1]!
        if (place[axis]! <= sizes[axis + 1]! - 1 + upper![axis]!) break
        place[axis] = lower![axis]!
      }
    }
    return row
  })
}
