import {
  createDecoder,
  type DecoderConfig,
  type DecoderHandle,
  destroyDecoder,
} from '../../../ffi/nvcuvid/decoder.ts'
import { createCapabilities } from './capabilities.ts'
import type { AnswersHandle } from './shared-answers.ts'

/** The pool's memory: plain data, which every thread that shares it is given. */
export interface DecoderPoolHandle {
  memory: SharedArrayBuffer
  decoders: number
  /** What the GPU decodes, as far as any of the threads asked. */
  capabilities: AnswersHandle
}

/** What a pool did, for the summary of a run. */
export interface DecoderPoolCounts {
  /** Decoders made, 30 to 50 ms each. */
  made: number
  /** Times that a decoder was found ready. */
  reused: number
  /** ... of which its size had to be changed. */
  reconfigured: number
  /** Decoders destroyed to make room for others. */
  evicted: number
}

/** A decoder that belongs to the calling thread until it gives it back. */
export interface Lease {
  readonly decoder: DecoderHandle
  /** As it is now: its size may differ from what was asked for, within its largest. */
  readonly config: DecoderConfig
  readonly entry: number
}

// Words of the header.
const LOCK = 0
/** Raised whenever a decoder comes back: those who wait for one look again. */
const GENERATION = 1
const CLOCK = 2
const COUNTS = { made: 3, reused: 4, reconfigured: 5, evicted: 6 } as const
const HEADER = 8

// Words of an entry.
const STATE = 0
const HANDLE = 1
const USED = 3
const CONFIG = 4
const ENTRY = 16

const EMPTY = 0
const IDLE = 1
const TAKEN = 2

const CONFIG_FIELDS = [
  'codec',
  'chroma',
  'depth',
  'surfaceFormat',
  'maxWidth',
  'maxHeight',
  'decodeSurfaces',
  'outputSurfaces',
  'width',
  'height',
] as const satisfies readonly (keyof DecoderConfig)[]
/** All but the size as it is now: decoders that agree on these can stand in for each other. */
const KEY_FIELDS = CONFIG_FIELDS.slice(0, -2)

const STEPS = [512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192]

/** The largest size of a decoder for pictures of a size: a few such sizes serve all videos. */
export function sizeBucket(
  { width, height }: { width: number; height: number },
  limits: { maxWidth: number; maxHeight: number; maxMacroblocks: number },
): { maxWidth: number; maxHeight: number } {
  const step = (size: number, limit: number) =>
    Math.max(size, Math.min(STEPS.find(s => s >= size) ?? size, limit))
  const maxWidth = step(width, limits.maxWidth)
  const maxHeight = step(height, limits.maxHeight)
  const fits = (maxWidth * maxHeight) / 256 <= limits.maxMacroblocks
  return fits ? { maxWidth, maxHeight } : { maxWidth: width, maxHeight: height }
}

/** Decode surfaces of a decoder for a stream that needs so many: streams that need about as many share one. */
export const surfaceBucket = (surfaces: number): number => Math.ceil((surfaces + 1) / 4) * 4

/**
 * Decoders of one GPU, shared by the threads of a process: they take long to make, and are used by one thread at a
 * time. A thread takes one at a time, and gives it back with nothing mapped; if all are taken it waits.
 */
export class DecoderPool {
  /** Makes decoders as long as there is room, even where idle ones would do: so that there is one for each thread. */
  fills = false
  readonly #words: Int32Array
  readonly #entries: number

  constructor(readonly handle: DecoderPoolHandle) {
    this.#words = new Int32Array(handle.memory)
    this.#entries = handle.decoders
  }

  /** @param decoders that exist at the same time, at most: as many as threads decode at once, or more to keep kinds apart */
  static create(decoders: number): DecoderPoolHandle {
    const memory = new SharedArrayBuffer(4 * (HEADER + ENTRY * decoders))
    return { memory, decoders, capabilities: createCapabilities() }
  }

  get counts(): DecoderPoolCounts {
    const count = (word: number) => Atomics.load(this.#words, word)
    return {
      made: count(COUNTS.made),
      reused: count(COUNTS.reused),
      reconfigured: count(COUNTS.reconfigured),
      evicted: count(COUNTS.evicted),
    }
  }

  /**
   * Takes a decoder of the wanted kind: an idle one, of the same size if there is one, or a new one.
   * @throws {NativeError} if none can be made
   */
  take(wanted: DecoderConfig): Lease {
    for (;;) {
      const generation = Atomics.load(this.#words, GENERATION)
      const found = this.#locked(() => this.#find(wanted))
      if (found === undefined) {
        Atomics.wait(this.#words, GENERATION, generation)
        continue
      }
      const { entry, ready, evicted } = found
      if (ready) {
        Atomics.add(this.#words, COUNTS.reused, 1)
        return { entry, decoder: this.#decoderOf(entry), config: this.#configOf(entry) }
      }
      return this.#make(entry, wanted, evicted)
    }
  }

  /** Gives a decoder back; nothing of it may be mapped. @param config as it is now */
  giveBack({ entry }: Lease, config: DecoderConfig): void {
    this.#note(entry, config)
    Atomics.store(this.#words, this.#at(entry) + USED, Atomics.add(this.#words, CLOCK, 1))
    this.#release(entry, IDLE)
  }

  /** Destroys a decoder that is no longer to be trusted. */
  discard({ entry, decoder }: Lease): void {
    try {
      destroyDecoder(decoder)
    } finally {
      this.#release(entry, EMPTY)
    }
  }

  /** Counts a change of size. */
  countReconfigured(): void {
    Atomics.add(this.#words, COUNTS.reconfigured, 1)
  }

  /**
   * Destroys all decoders that nobody has taken, which takes 100 to 200 ms each. For the end: threads may call it each
   * as it finishes, with the GPU's context current, and the last one leaves none.
   */
  close(): void {
    for (let entry = 0; entry < this.#entries; entry++) {
      const idle = Atomics.compareExchange(this.#words, this.#at(entry) + STATE, IDLE, TAKEN) === IDLE
      if (idle) this.discard({ entry, decoder: this.#decoderOf(entry), config: this.#configOf(entry) })
    }
  }

  #at(entry: number): number {
    return HEADER + ENTRY * entry
  }

  /** Picks an entry and marks it taken: ready to use, or to be filled, after what is in it is destroyed. */
  #find(wanted: DecoderConfig): { entry: number; ready: boolean; evicted?: DecoderHandle } | undefined {
    const words = this.#words
    let best: number | undefined
    let empty: number | undefined
    let oldest: number | undefined
    const used = (entry: number) => words[this.#at(entry) + USED]!
    for (let entry = 0; entry < this.#entries; entry++) {
      const state = words[this.#at(entry) + STATE]
      if (state === EMPTY) empty ??= entry
      if (state !== IDLE) continue
      if (oldest === undefined || used(entry) < used(oldest)) oldest = entry
      if (!this.#suits(entry, wanted)) continue
      // Of the right size before others; then the one that was used last.
      const rank = (e: number) => (this.#hasSize(e, wanted) ? 2 ** 32 : 0) + used(e)
      if (best === undefined || rank(entry) > rank(best)) best = entry
    }
    const entry = (this.fills ? (empty ?? best) : (best ?? empty)) ?? oldest
    if (entry === undefined) return undefined
    words[this.#at(entry) + STATE] = TAKEN
    const ready = entry === best
    return { entry, ready, evicted: ready || entry === empty ? undefined : this.#decoderOf(entry) }
  }

  #make(entry: number, config: DecoderConfig, evicted: DecoderHandle | undefined): Lease {
    try {
      if (evicted !== undefined) {
        Atomics.add(this.#words, COUNTS.evicted, 1)
        destroyDecoder(evicted)
      }
      const decoder = createDecoder(config)
      Atomics.add(this.#words, COUNTS.made, 1)
      const words = this.#words
      words[this.#at(entry) + HANDLE] = decoder | 0
      words[this.#at(entry) + HANDLE + 1] = Math.floor(decoder / 2 ** 32)
      this.#note(entry, config)
      return { entry, decoder, config }
    } catch (error) {
      this.#release(entry, EMPTY)
      throw error
    }
  }

  #release(entry: number, state: number): void {
    Atomics.store(this.#words, this.#at(entry) + STATE, state)
    Atomics.add(this.#words, GENERATION, 1)
    Atomics.notify(this.#words, GENERATION)
  }

  #decoderOf(entry: number): DecoderHandle {
    const at = this.#at(entry) + HANDLE
    return ((this.#words[at]! >>> 0) + (this.#words[at + 1]! >>> 0) * 2 ** 32) as DecoderHandle
  }

  #configOf(entry: number): DecoderConfig {
    const at = this.#at(entry) + CONFIG
    const config: Partial<DecoderConfig> = {}
    CONFIG_FIELDS.forEach((field, i) => {
      config[field] = this.#words[at + i]!
    })
    return config as DecoderConfig
  }

  #note(entry: number, config: DecoderConfig): void {
    const at = this.#at(entry) + CONFIG
    CONFIG_FIELDS.forEach((field, i) => {
      this.#words[at + i] = config[field]
    })
  }

  #suits(entry: number, wanted: DecoderConfig): boolean {
    const at = this.#at(entry) + CONFIG
    return KEY_FIELDS.every((field, i) => this.#words[at + i] === wanted[field])
  }

  #hasSize(entry: number, { width, height }: DecoderConfig): boolean {
    const at = this.#at(entry) + CONFIG + KEY_FIELDS.length
    return this.#words[at] === width && this.#words[at + 1] === height
  }

  /** Runs `body` while no other thread runs one. */
  #locked<T>(body: () => T): T {
    const words = this.#words
    while (Atomics.compareExchange(words, LOCK, 0, 1) !== 0) Atomics.wait(words, LOCK, 1)
    try {
      return body()
    } finally {
      Atomics.store(words, LOCK, 0)
      Atomics.notify(words, LOCK, 1)
    }
  }
}
