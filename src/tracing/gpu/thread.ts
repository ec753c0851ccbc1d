import { parentPort } from 'node:worker_threads'
import { droppedRecords, flushActivity, isCuptiError } from '../../../ffi/cupti/activity.ts'
import { Buffers, type BuffersHandle } from '../../../ffi/cupti/buffers.ts'
import { ClockAlignment, type ClockReading, readClocks } from '../../../ffi/cupti/clock.ts'
import { RecordReader } from '../../../ffi/cupti/records.ts'
import type { SharedNamesHandle } from '../../results/shared-names.ts'
import { Collector, type StreamTrack, type WorkRow } from './collector.ts'
import type { GraphFacts, ThreadFacts } from './facts.ts'

export interface GpuTraceData {
  role: 'gpu-trace'
  buffers: BuffersHandle
  names: SharedNamesHandle
  trackRecords: number
  threads: ThreadFacts[]
  /** Both clocks when recording began: times count from there. */
  clock: ClockReading
  /** float64: when the run started, in ns of the monotonic clock; 0 before. */
  started: SharedArrayBuffer
}

export type GpuTraceRequest = { type: 'graph'; facts: GraphFacts } | { type: 'stop' }

/** What was recorded of a run. */
export interface GpuRecords {
  rows: WorkRow[]
  streams: StreamTrack[]
  /** Graphs of the run's networks, and how often each was launched. */
  graphs: { step: number; clips: number; launches: number }[]
  overheads: { name: string; count: number; totalNs: number }[]
  /** How far a moment may be off as far as reading the clocks goes, and how they drifted apart. */
  clock: { errorNs: number; driftNs: number }
  /** Records that CUPTI dropped, and how often there was no buffer for it. */
  dropped: number
  refused: number
  /** Work that no step's call is known of. */
  unattributed: number
}

export type GpuTraceMessage = { type: 'records'; records: GpuRecords } | { type: 'problem'; message: string }

/** How often full buffers are looked for, and CUPTI is asked for those that are not full. */
const LOOK_MS = 25
const FLUSH_MS = 500

/** Reads what CUPTI records of a run: a thread of its own, so that neither the main thread nor a runner has to. */
class GpuTraceThread {
  readonly #buffers: Buffers
  readonly #reader: RecordReader
  readonly #collector: Collector
  #alignment: ClockAlignment
  #errorNs = 0

  constructor(data: GpuTraceData) {
    const { clock, threads, names, trackRecords } = data
    this.#buffers = new Buffers(data.buffers)
    this.#reader = new RecordReader(this.#buffers, clock.cupti)
    this.#alignment = new ClockAlignment(clock, readClocks())
    const started = new Float64Array(data.started)
    this.#collector = new Collector({
      threads,
      names,
      trackRecords,
      started: () => started[0]!,
      monotonic: ns => this.#alignment.monotonic(ns),
    })
  }

  graph(facts: GraphFacts): void {
    this.#collector.graph(facts)
  }

  look(): void {
    for (const buffer of this.#buffers.full()) {
      for (const record of this.#reader.read(buffer)) this.#collector.take(record)
      this.#buffers.giveBack(buffer)
    }
    this.#collector.settle()
  }

  flush(all = false): void {
    flushActivity(all)
    this.#alignment = new ClockAlignment(this.#alignment.first, readClocks())
    this.#errorNs = Math.max(this.#errorNs, this.#alignment.errorNs)
  }

  finish(): GpuRecords {
    this.flush(true)
    this.look()
    const collector = this.#collector
    collector.settle(true)
    return {
      rows: [...collector.rows.values()],
      streams: [...collector.streams.values()].map(({ track: _, ...stream }) => stream),
      graphs: collector.graphs,
      overheads: [...collector.overheads].map(([name, { count, totalNs }]) => ({ name, count, totalNs })),
      clock: { errorNs: this.#errorNs, driftNs: this.#alignment.driftNs },
      dropped: droppedRecords(),
      refused: this.#buffers.refused,
      unattributed: collector.unattributed,
    }
  }
}

/** Reads records until it is told to stop; then says what they came to. */
export function runGpuTrace(data: GpuTraceData): Promise<void> {
  const say = (message: GpuTraceMessage) => parentPort!.postMessage(message)
  const thread = new GpuTraceThread(data)
  return new Promise(resolve => {
    const timers: Timer[] = []
    const end = () => {
      for (const timer of timers) clearInterval(timer)
      parentPort!.off('message', hear)
      resolve()
    }
    const guarded = (work: () => void) => () => {
      try {
        work()
      } catch (error) {
        if (!isCuptiError(error)) throw error
        say({ type: 'problem', message: error.message })
        end()
      }
    }
    const hear = (request: GpuTraceRequest) =>
      guarded(() => {
        if (request.type === 'graph') return thread.graph(request.facts)
        say({ type: 'records', records: thread.finish() })
        end()
      })()
    timers.push(
      setInterval(
        guarded(() => thread.look()),
        LOOK_MS,
      ),
    )
    timers.push(
      setInterval(
        guarded(() => thread.flush()),
        FLUSH_MS,
      ),
    )
    parentPort!.on('message', hear)
  })
}
