import type { Text } from './text.ts'

/** Bytes of a row of operands in shared memory: 64 channels, the width of the 128-byte swizzle. */
export const ROW_BYTES = 128
/** Channels of a row. */
export const CHUNK = 64
/** Channels that one instruction multiplies. */
export const STEP = 16
/** The swizzle repeats after this many bytes: operands start at multiples of it. */
export const ATOM_BYTES = 1024

export const hex = (value: bigint | number): string => `0x${value.toString(16)}`

/**
 * The upper bits of a matrix descriptor for rows of 128 swizzled bytes, K along the row; what remains is the address in
 * units of 16 bytes. `groupBytes` is the distance between groups of eight rows.
 */
export const descriptorBits = (groupBytes = ATOM_BYTES): bigint =>
  (1n << 62n) | (BigInt(groupBytes >> 4) << 32n) | (1n << 16n)

/** The same for eight rows of 16 bytes in a run, those of the next 8 channels a row further, the next eight rows 128 bytes. */
export const plainDescriptorBits = (): bigint => (8n << 32n) | (1n << 16n)

/** Waits until the phase of that parity of a barrier is complete. */
export function waitFor(t: Text, barrier: string, parity: string): void {
  const again = t.label('wait')
  t.place(again)
  t.do(`mbarrier.try_wait.parity.shared::cta.b64 ${t.p('ready')}, [${barrier}], ${parity}`)
  t.do(`@!${t.p('ready')} bra ${again}`)
}

/** A ring of stages in shared memory: where its stages and barriers lie, and how many there are. */
export interface Ring {
  readonly name: string
  readonly stages: number
  readonly stageBytes: number
  /** From the start of shared memory. */
  readonly at: number
  /** A barrier for each stage: its data is there. The barriers that it is free again follow. */
  readonly barriersAt: number
  /** Filled once, and kept: a stage for each block there is, never freed. */
  readonly kept?: boolean
}

/** A warp's or a thread's place in a ring. */
export class Cursor {
  readonly stage: string
  readonly parity: string
  readonly full: string

  constructor(
    readonly t: Text,
    readonly ring: Ring,
    readonly base: string,
  ) {
    this.stage = t.r(`${ring.name}_stage`)
    this.parity = t.r(`${ring.name}_parity`)
    this.full = t.r(`${ring.name}_full`)
  }

  start(): void {
    this.t.do(`mov.u32 ${this.stage}, 0`, `mov.u32 ${this.parity}, 0`)
  }

  /** Leaves the address of this stage's first barrier in `full`; the second is `8 stages` bytes further. */
  locate(): void {
    this.t.do(`shl.b32 ${this.full}, ${this.stage}, 3`)
    this.t.do(`add.u32 ${this.full}, ${this.full}, ${this.base}`)
  }

  get fullBarrier(): string {
    return `${this.full}+${this.ring.barriersAt}`
  }

  get freeBarrier(): string {
    return `${this.full}+${this.ring.barriersAt + 8 * this.ring.stages}`
  }

  /** Waits until this stage's data is there. */
  waitFull(): void {
    waitFor(this.t, this.fullBarrier, this.parity)
  }

  /** Waits until this stage may be overwritten, which it may at first. */
  waitFree(): void {
    const { t } = this
    t.do(`xor.b32 ${t.r('other')}, ${this.parity}, 1`)
    waitFor(t, this.freeBarrier, t.r('other'))
  }

  /** Says how many bytes will arrive. */
  expect(bytes: number): void {
    const { t } = this
    t.do(`mbarrier.arrive.expect_tx.shared::cta.b64 ${t.d('token')}, [${this.fullBarrier}], ${bytes}`)
  }

  /** Leaves the address of the stage in a register. */
  address(to: string): void {
    this.t.do(`mad.lo.u32 ${to}, ${this.stage}, ${this.ring.stageBytes}, ${this.base}`)
    this.t.do(`add.u32 ${to}, ${to}, ${this.ring.at}`)
  }

  /**
   * Leaves the descriptor of the operand at the start of this stage, or `offset` bytes further.
   * @param bits - all of it but the address
   */
  descriptor(to: string, bits: bigint, offset?: string): void {
    const { t } = this
    const address = t.r('address')
    this.address(address)
    if (offset) t.do(`add.u32 ${address}, ${address}, ${offset}`)
    t.do(`shr.u32 ${address}, ${address}, 4`, `cvt.u64.u32 ${to}, ${address}`)
    t.do(`or.b64 ${to}, ${to}, ${hex(bits)}`)
  }

  next(): void {
    const { t, ring, stage, parity } = this
    t.do(`add.u32 ${stage}, ${stage}, 1`)
    t.do(`setp.eq.u32 ${t.p('wrap')}, ${stage}, ${ring.stages}`)
    t.do(`@${t.p('wrap')} mov.u32 ${stage}, 0`)
    if (!ring.kept) t.do(`@${t.p('wrap')} xor.b32 ${parity}, ${parity}, 1`)
  }
}

/** Has thread 0 make the barriers of rings, and all threads wait for that. @param arrivals - that free a stage */
export function initialise(t: Text, base: string, rings: readonly { ring: Ring; arrivals: number }[]): void {
  const first = t.p('first')
  t.do(`setp.eq.u32 ${first}, ${t.r('thread')}, 0`)
  t.when(first, 'made', () => {
    for (const { ring, arrivals } of rings)
      for (let i = 0; i < ring.stages; i++) {
        t.do(`mbarrier.init.shared::cta.b64 [${base}+${ring.barriersAt + 8 * i}], 1`)
        t.do(
          `mbarrier.init.shared::cta.b64 [${base}+${ring.barriersAt + 8 * (ring.stages + i)}], ${arrivals}`,
        )
      }
    t.do('fence.mbarrier_init.release.cluster', 'fence.proxy.async')
  })
  t.do('bar.sync 0')
}

/** One thread of each warp tells a barrier that the warp is done with a stage. */
export function release(t: Text, barrier: string, lane0: string): void {
  t.do(`@${lane0} mbarrier.arrive.shared::cta.b64 ${t.d('token')}, [${barrier}]`)
}

/** The registers of an accumulator of 64 rows: four for each eight columns. */
export const accumulator = (t: Text, name: string, columns: number): string[] =>
  Array.from({ length: columns / 2 }, (_, i) => t.f(`${name}_${i}`))

/**
 * 64 rows x columns += 64 x 16 times 16 x columns, both from shared memory.
 * @param add - a predicate: false starts the sum anew
 */
export function multiply(t: Text, sums: readonly string[], a: string, b: string, add: string): void {
  const columns = sums.length * 2
  t.do(
    `wgmma.mma_async.sync.aligned.m64n${columns}k16.f32.f16.f16 {${sums.join(', ')}}, ${a}, ${b}, ${add}, 1, 1, 0, 0`,
  )
}

/** Columns of one instruction: at most 256, and equal pieces where it takes several. */
export const pieces = (columns: number): number[] => {
  const count = Math.ceil(columns / 256)
  return Array.from({ length: count }, () => columns / count)
}
