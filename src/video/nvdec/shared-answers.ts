// Words of an entry: its state, the question, the answer.
const STATE = 0
const KEY = 1
const ANSWER = 2
const ENTRIES = 64

const EMPTY = 0
const ASKED = 1
const KNOWN = 2

/** Plain data to send to any thread. */
export interface AnswersHandle {
  memory: SharedArrayBuffer
  /** Numbers of an answer. */
  length: number
}

/**
 * Answers, of some numbers each, to questions that take long: the first thread that has one asks, the others wait for what it
 * hears. Only as many questions are kept as there are entries; others are asked each time.
 */
export class SharedAnswers {
  readonly #words: Int32Array
  readonly #length: number

  static create(length: number): AnswersHandle {
    return { memory: new SharedArrayBuffer(4 * ENTRIES * (ANSWER + length)), length }
  }

  constructor({ memory, length }: AnswersHandle) {
    this.#words = new Int32Array(memory)
    this.#length = length
  }

  /** @param key of the question, an Int32. @throws what `ask` throws: the next one asks again */
  get(key: number, ask: () => readonly number[]): number[] {
    for (let at = 0; at < this.#words.length; at += ANSWER + this.#length) {
      const state = this.#claim(at)
      if (state === EMPTY) return this.#ask(at, key, ask)
      if (this.#words[at + KEY] === key)
        return Array.from(this.#words.subarray(at + ANSWER, at + ANSWER + this.#length))
    }
    return [...ask()]
  }

  /** Waits while another thread asks. @returns KNOWN, or EMPTY where the entry is now this thread's to fill */
  #claim(at: number): number {
    for (;;) {
      const state = Atomics.compareExchange(this.#words, at + STATE, EMPTY, ASKED)
      if (state !== ASKED) return state
      Atomics.wait(this.#words, at + STATE, ASKED)
    }
  }

  #ask(at: number, key: number, ask: () => readonly number[]): number[] {
    let state = EMPTY
    try {
      const answer = [...ask()]
      this.#words[at + KEY] = key
      this.#words.set(answer, at + ANSWER)
      state = KNOWN
      return answer
    } finally {
      Atomics.store(this.#words, at + STATE, state)
      Atomics.notify(this.#words, at + STATE)
    }
  }
}
