/**
 * Messages per second through a ring, and the time of a hand-off from one thread to another, against postMessage in
 * the same run.
 *
 *     bun bench/queue.ts [--json] [--repeats N] [--note TEXT] [--save]
 *
 * JSON on stdout, a table on stderr (not with --json); --save also writes it to bench/results/queue-DATE.json. Rings
 * hold 500 messages, RnB's default. `words` are messages of four words as they are; `items` are what a pipeline sends,
 * one request with one tensor, encoding and decoding included. Every hand-off blocks in `take` while there is nothing:
 * in `ping-pong` two threads answer each other as fast as they can, in `paced` the sender sends every millisecond to
 * a receiver that sleeps. Latency runs from just before the put to just after the take, on the clock of all threads.
 * Each figure is the median over repeats, the first (cold) one left out, but for the maximum, which is over all.
 */
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { MessageChannel, Worker } from 'node:worker_threads'
import { median, quantile } from 'simple-statistics'
import { monotonicNs } from '../ffi/libc.ts'
import { Barrier } from '../src/queue/barrier.ts'
import { itemWords } from '../src/queue/codec.ts'
import { Control } from '../src/queue/control.ts'
import { Ring } from '../src/queue/ring.ts'
import type { BenchAnswer, BenchJob, Payload } from './queue-worker.ts'

const CAPACITY = 500
const WORDS: Record<Payload, number> = { words: 4, items: itemWords(1, 1, 5, 0) }

const { values: options } = parseArgs({
  args: process.argv.slice(2),
  options: {
    json: { type: 'boolean' },
    save: { type: 'boolean' },
    /** What a reader should know of the conditions. */
    note: { type: 'string' },
    repeats: { type: 'string', default: '7' },
  },
})
const repeats = Number(options.repeats)

type Task<J = BenchJob> = J extends BenchJob ? Omit<J, 'start'> : never
interface Outcome {
  elapsedS: number
  answers: BenchAnswer[]
}

const threads: Worker[] = []

/** Does the tasks at once, each on its own thread, from one start to the last finish. */
async function together(control: Control, tasks: readonly Task[]): Promise<Outcome> {
  const start = Barrier.create(tasks.length, control)
  const answers = tasks.map(async (task, i) => {
    threads[i] ??= new Worker(new URL('./queue-worker.ts', import.meta.url))
    const ports = 'port' in task ? [task.port] : []
    threads[i].postMessage({ ...task, start }, ports)
    const [answer] = (await once(threads[i], 'message')) as [BenchAnswer]
    return answer
  })
  const barrier = new Barrier(start)
  await barrier.allArrived()
  const startNs = monotonicNs()
  barrier.release()
  const all = await Promise.all(answers)
  return { elapsedS: (Math.max(...all.map(answer => answer.finishNs)) - startNs) / 1e9, answers: all }
}

/** One cold run, which does not count, then `repeats`. */
async function repeat(once: () => Promise<Outcome>): Promise<Outcome[]> {
  await once()
  const outcomes: Outcome[] = []
  for (let i = 0; i < repeats; i++) outcomes.push(await once())
  return outcomes
}

interface Throughput {
  name: string
  payload: Payload
  producers: number
  consumers: number
  messagesPerS: number
}

function throughput(
  name: string,
  payload: Payload,
  [producers, consumers]: readonly [number, number],
  outcomes: Outcome[],
): Throughput {
  const rates = outcomes.map(
    ({ elapsedS, answers }) => answers.reduce((sum, { messages }) => sum + messages, 0) / elapsedS,
  )
  return { name, payload, producers, consumers, messagesPerS: Math.round(median(rates)) }
}

async function ringThroughput(payload: Payload, sides: readonly [number, number]): Promise<Throughput> {
  const [producers, consumers] = sides
  const count = Math.floor(1_000_000 / producers)
  const outcomes = await repeat(() => {
    const control = new Control(Control.create())
    const ring = Ring.create(CAPACITY, WORDS[payload], producers, control)
    return together(control, [
      ...Array.from({ length: producers }, () => ({ kind: 'send' as const, ring, payload, count })),
      ...Array.from({ length: consumers }, () => ({ kind: 'receive' as const, ring, payload })),
    ])
  })
  return throughput('ring', payload, sides, outcomes)
}

async function postThroughput(payload: Payload): Promise<Throughput> {
  const count = 50_000
  const outcomes = await repeat(() => {
    const { port1, port2 } = new MessageChannel()
    return together(new Control(Control.create()), [
      { kind: 'post', port: port1, payload, count },
      { kind: 'hear', port: port2, count },
    ])
  })
  return throughput('postMessage', payload, [1, 1], outcomes)
}

function latency(name: string, outcomes: Outcome[]) {
  const runs = outcomes.map(({ answers }) => answers.flatMap(answer => [...answer.latenciesNs]))
  const us = (ns: number) => Math.round(ns / 10) / 100
  const percentile = (p: number) => us(median(runs.map(run => quantile(run, p))))
  return {
    name,
    messages: runs.flat().length,
    p50Us: percentile(0.5),
    p90Us: percentile(0.9),
    p99Us: percentile(0.99),
    maxUs: us(quantile(runs.flat(), 1)),
  }
}

async function ringPingPong() {
  const rounds = 5000
  const outcomes = await repeat(() => {
    const control = new Control(Control.create())
    const [there, back] = [Ring.create(1, 2, 1, control), Ring.create(1, 2, 1, control)]
    return together(control, [
      { kind: 'bounce', from: back, to: there, first: true, rounds },
      { kind: 'bounce', from: there, to: back, first: false, rounds },
    ])
  })
  return latency('ring ping-pong', outcomes)
}

async function ringPaced() {
  const outcomes = await repeat(() => {
    const control = new Control(Control.create())
    const ring = Ring.create(CAPACITY, 2, 1, control)
    return together(control, [
      { kind: 'pace', ring, everyNs: 1e6, rounds: 500 },
      { kind: 'listen', ring },
    ])
  })
  return latency('ring paced', outcomes)
}

async function postPaced() {
  const outcomes = await repeat(() => {
    const { port1, port2 } = new MessageChannel()
    return together(new Control(Control.create()), [
      { kind: 'pacePost', port: port1, everyNs: 1e6, rounds: 500 },
      { kind: 'listenPost', port: port2, rounds: 500 },
    ])
  })
  return latency('postMessage paced', outcomes)
}

async function postPingPong() {
  const rounds = 5000
  const outcomes = await repeat(() => {
    const { port1, port2 } = new MessageChannel()
    return together(new Control(Control.create()), [
      { kind: 'bouncePost', port: port1, first: true, rounds },
      { kind: 'bouncePost', port: port2, first: false, rounds },
    ])
  })
  return latency('postMessage ping-pong', outcomes)
}

const loadBefore = loadavg()[0]!
const date = new Date()
const throughputs: Throughput[] = []
for (const payload of ['words', 'items'] as const) {
  for (const side of [1, 2, 4]) throughputs.push(await ringThroughput(payload, [side, side]))
  throughputs.push(await postThroughput(payload))
}
const latencies = [await ringPingPong(), await postPingPong(), await ringPaced(), await postPaced()]

const report = JSON.stringify(
  {
    benchmark: 'queue',
    command: `bun bench/queue.ts --repeats ${repeats}`,
    date: date.toISOString(),
    machine: { processor: cpus()[0]?.model, threads: cpus().length },
    versions: { bun: Bun.version },
    repeats,
    /** Load average of the last minute before the start; above 0, others used the machine too. */
    loadBefore,
    note: options.note,
    throughputs,
    latencies,
  },
  null,
  1,
)
console.log(report)
if (!options.json) {
  console.error('transport    payload  producers x consumers  messages/s')
  for (const t of throughputs) {
    const sides = `${t.producers} x ${t.consumers}`.padStart(21)
    const rate = t.messagesPerS.toLocaleString('en-US').padStart(11)
    console.error(`${t.name.padEnd(12)} ${t.payload.padEnd(7)} ${sides} ${rate}`)
  }
  console.error('\nhand-off                p50 us    p90 us    p99 us    max us')
  for (const l of latencies) {
    const figures = [l.p50Us, l.p90Us, l.p99Us, l.maxUs].map(us => us.toFixed(1).padStart(9))
    console.error(`${l.name.padEnd(21)} ${figures.join(' ')}`)
  }
}
if (options.save) {
  const folder = join(import.meta.dir, 'results')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `queue-${date.toISOString().slice(0, 10)}.json`), `${report}\n`)
}
await Promise.all(threads.map(thread => thread.terminate()))
