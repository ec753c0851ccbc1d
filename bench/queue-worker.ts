/** A thread of bench/queue.ts: does one job at a time and answers with what it measured. */
import { once } from 'node:events'
import { type MessagePort, parentPort } from 'node:worker_threads'
import { monotonicNs } from '../ffi/libc.ts'
import { Barrier, type BarrierHandle } from '../src/queue/barrier.ts'
import { decodeItem, encodeItem } from '../src/queue/codec.ts'
import { Control } from '../src/queue/control.ts'
import type { Item } from '../src/queue/item.ts'
import { Ring, type RingHandle } from '../src/queue/ring.ts'

/** Words: four Int32 words as they are. Items: a request with one tensor, encoded and decoded. */
export type Payload = 'words' | 'items'

export type BenchJob = { start: BarrierHandle } & (
  | { kind: 'send'; ring: RingHandle; payload: Payload; count: number }
  | { kind: 'receive'; ring: RingHandle; payload: Payload }
  /** Bounces a message; the first to move sends it and gets it back `rounds` times. */
  | { kind: 'bounce'; from: RingHandle; to: RingHandle; first: boolean; rounds: number }
  /** Sends a message each `everyNs`, so that the receiver has long been asleep. */
  | { kind: 'pace'; ring: RingHandle; everyNs: number; rounds: number }
  | { kind: 'listen'; ring: RingHandle }
  | { kind: 'post'; port: MessagePort; payload: Payload; count: number }
  | { kind: 'hear'; port: MessagePort; count: number }
  | { kind: 'pacePost'; port: MessagePort; everyNs: number; rounds: number }
  | { kind: 'listenPost'; port: MessagePort; rounds: number }
  | { kind: 'bouncePost'; port: MessagePort; first: boolean; rounds: number }
)

export interface BenchAnswer {
  /** When it was done, on the clock of all threads. */
  finishNs: number
  messages: number
  /** From just before a message was sent to just after it was received, of each one received. */
  latenciesNs: Float64Array
}

const item = (request: number): Item => ({
  shares: [{ request, part: 0, parts: 1, clips: 1 }],
  tensors: [{ pool: 0, slot: request & 15, row: 0, shape: [1, 3, 8, 112, 112] }],
  values: [],
})

const stamp = new Float64Array(1)
const stampWords = new Int32Array(stamp.buffer)
const idle = new Int32Array(new SharedArrayBuffer(4))

/** Producers of a pipeline never wait for room; these must, and leave the core to others meanwhile. */
const waitForRoom = (): void => {
  Atomics.wait(idle, 0, 0, 0.01)
}

function send(ring: Ring, payload: Payload, count: number): void {
  const words = new Int32Array(ring.wordsPerMessage)
  for (let i = 0; i < count; i++) {
    let length = 4
    if (payload === 'items') length = encodeItem(item(i), words)
    else words[0] = i
    while (!ring.put(words, length)) waitForRoom()
  }
  ring.close()
}

function receive(ring: Ring, payload: Payload): number {
  const into = new Int32Array(ring.wordsPerMessage)
  let messages = 0
  for (let length = ring.take(into); length > 0; length = ring.take(into)) {
    if (payload === 'words') messages++
    else messages += decodeItem(into, length).tensors.length
  }
  return messages
}

function sendStamp(ring: Ring, words: Int32Array): void {
  stamp[0] = monotonicNs()
  words[0] = stampWords[0]!
  words[1] = stampWords[1]!
  ring.put(words, 2)
}

function age(words: Int32Array): number {
  const now = monotonicNs()
  stampWords[0] = words[0]!
  stampWords[1] = words[1]!
  return now - stamp[0]!
}

function bounce(job: Extract<BenchJob, { kind: 'bounce' }>): Float64Array {
  const [from, to] = [new Ring(job.from), new Ring(job.to)]
  const words = new Int32Array(2)
  const latencies = new Float64Array(job.rounds)
  if (job.first) sendStamp(to, words)
  for (let round = 0; round < job.rounds; round++) {
    from.take(words)
    latencies[round] = age(words)
    if (!job.first || round < job.rounds - 1) sendStamp(to, words)
  }
  return latencies
}

function pace(job: Extract<BenchJob, { kind: 'pace' }>, control: Control): void {
  const ring = new Ring(job.ring)
  const words = new Int32Array(2)
  const startNs = monotonicNs()
  for (let round = 1; round <= job.rounds; round++) {
    control.sleepUntil(startNs + round * job.everyNs)
    sendStamp(ring, words)
  }
  ring.close()
}

function listen(ring: Ring): Float64Array {
  const words = new Int32Array(2)
  const latencies: number[] = []
  while (ring.take(words) > 0) latencies.push(age(words))
  return Float64Array.from(latencies)
}

function post(port: MessagePort, payload: Payload, count: number): void {
  for (let i = 0; i < count; i++) port.postMessage(payload === 'items' ? item(i) : Int32Array.of(i, 0, 0, 0))
}

async function hear(port: MessagePort, count: number): Promise<number> {
  let messages = 0
  const { promise, resolve } = Promise.withResolvers<number>()
  port.on('message', () => {
    messages++
    if (messages === count) resolve(messages)
  })
  return await promise
}

function pacePost(job: Extract<BenchJob, { kind: 'pacePost' }>, control: Control): void {
  const startNs = monotonicNs()
  for (let round = 1; round <= job.rounds; round++) {
    control.sleepUntil(startNs + round * job.everyNs)
    job.port.postMessage(monotonicNs())
  }
}

async function listenPost(port: MessagePort, rounds: number): Promise<Float64Array> {
  const latencies: number[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  port.on('message', (sentNs: number) => {
    if (latencies.push(monotonicNs() - sentNs) === rounds) resolve()
  })
  await promise
  return Float64Array.from(latencies)
}

async function bouncePost(job: Extract<BenchJob, { kind: 'bouncePost' }>): Promise<Float64Array> {
  const { port, first, rounds } = job
  const latencies = new Float64Array(rounds)
  const { promise, resolve } = Promise.withResolvers<void>()
  let round = 0
  port.on('message', (sentNs: number) => {
    latencies[round++] = monotonicNs() - sentNs
    if (!first || round < rounds) port.postMessage(monotonicNs())
    if (round === rounds) resolve()
  })
  if (first) port.postMessage(monotonicNs())
  await promise
  return latencies
}

async function run(job: BenchJob): Promise<BenchAnswer> {
  let messages = 0
  let latenciesNs: Float64Array = new Float64Array(0)
  // A port that nobody listens to yet keeps its messages.
  new Barrier(job.start).arriveAndWait()
  if (job.kind === 'send') send(new Ring(job.ring), job.payload, job.count)
  else if (job.kind === 'receive') messages = receive(new Ring(job.ring), job.payload)
  else if (job.kind === 'bounce') latenciesNs = bounce(job)
  else if (job.kind === 'pace') pace(job, new Control(job.start.control))
  else if (job.kind === 'listen') latenciesNs = listen(new Ring(job.ring))
  else if (job.kind === 'post') post(job.port, job.payload, job.count)
  else if (job.kind === 'hear') messages = await hear(job.port, job.count)
  else if (job.kind === 'pacePost') pacePost(job, new Control(job.start.control))
  else if (job.kind === 'listenPost') latenciesNs = await listenPost(job.port, job.rounds)
  else latenciesNs = await bouncePost(job)
  return { finishNs: monotonicNs(), messages, latenciesNs }
}

if (parentPort) {
  const parent = parentPort
  for (;;) {
    const [job] = (await once(parent, 'message')) as [BenchJob]
    parent.postMessage(await run(job))
  }
}
