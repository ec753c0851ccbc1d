import { Rng } from '../../src/rng.ts'

/** Length in words, from 3 to `longest`, of message `number` of a producer. */
const lengthOf = (producer: number, number: number, longest: number): number =>
  3 + (((producer * 31 + number * 7) >>> 0) % (longest - 2))

const wordOf = (producer: number, number: number, index: number): number =>
  Math.imul(producer * 65_537 + number, 0x9e3779b1) ^ Math.imul(index, 0x85ebca6b)

/** Fills `into` with message `number` of a producer: both, then words that follow from them. @returns its length. */
export function writeMessage(into: Int32Array, producer: number, number: number): number {
  const length = lengthOf(producer, number, into.length)
  into[0] = producer
  into[1] = number
  for (let i = 2; i < length; i++) into[i] = wordOf(producer, number, i)
  return length
}

/** Whether the words are a message as `writeMessage` wrote it, whole and untorn. */
export function isMessage(words: Int32Array, length: number): boolean {
  const [producer, number] = [words[0]!, words[1]!]
  if (length !== lengthOf(producer, number, words.length)) return false
  for (let i = 2; i < length; i++) if (words[i] !== wordOf(producer, number, i)) return false
  return true
}

const idle = new Int32Array(new SharedArrayBuffer(4))

/** Lets other threads run. */
export const yieldThread = (): void => {
  Atomics.wait(idle, 0, 0, 0.02)
}

/** Pauses of random length, most of them none, so that threads meet at ever new points. */
export function jitter(seed: number): () => void {
  const rng = new Rng([seed | 1, seed ^ 0x5bd1e995, 3, 4])
  const pause = [0.9, 0.99, 0.5][seed % 3]!
  return () => {
    const draw = rng.next()
    if (draw < pause) return
    if (draw > 0.998) return yieldThread()
    for (let i = rng.int(400); i > 0; i--) Atomics.load(idle, 0)
  }
}
