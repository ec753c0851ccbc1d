import { Worker } from 'node:worker_threads'
import { monotonicNs } from '../../ffi/libc.ts'
import type { Network } from '../../models/network.ts'
import type { Overload } from '../client/overload.ts'
import { Barrier } from '../queue/barrier.ts'
import { Control } from '../queue/control.ts'
import { Ring } from '../queue/ring.ts'
import { Semaphore } from '../queue/semaphore.ts'
import { SlotPool } from '../queue/slots.ts'
import { tensorBytes } from '../queue/tensor.ts'
import { Ledger, type LedgerHandle, STATE } from '../results/ledger.ts'
import type { SharedNamesHandle } from '../results/shared-names.ts'
import { type CopiedBytes, CopyCounts } from '../results/traffic.ts'
import { CPU, type RunSettings } from '../steps/step.ts'
import { hasModules } from '../steps/user/module.ts'
import { createNames, Track, type TrackHandle } from '../tracing/buffer.ts'
import type { RunTrack } from '../tracing/events.ts'
import type { GraphFacts } from '../tracing/gpu/facts.ts'
import { type CallLimits, createCalls, StallWatch } from './calls.ts'
import { threadOf } from './context.ts'
import { GpuMemory } from './gpu-memory.ts'
import { InterruptWatch } from './interrupts.ts'
import type { Plan } from './plan.ts'
import { queueWords, RESULT_WORDS } from './runner.ts'
import {
  type SharedPool,
  type SharedRun,
  STOP,
  sharedWith,
  type WorkerData,
  type WorkerMessage,
} from './shared.ts'
import { createTeam, teamNote } from './team.ts'

export interface LaunchOptions {
  plan: Plan
  settings: RunSettings
  /** By their numbers in the plan. */
  networks: readonly Network[]
  overload: Overload
  /** In place of a schedule's times: so many requests in flight, until then. */
  closedLoop?: { concurrency: number; durationS?: number }
  /** The longest that calls of a step may take: one that takes longer hangs, and the run ends. */
  limits?: CallLimits | undefined
  /** Have every thread note what it does. */
  trace?: boolean
  /** Names of what is noted, if others note things beside the run's threads. */
  names?: SharedNamesHandle
  /** What GPUs do is recorded (see GpuTrace): have every thread say by whom it was asked for. */
  recorded?: boolean
  ledger: LedgerHandle
  /** Intended arrivals in ns from the start, ascending. */
  schedule: Float64Array
  /** Video of each request: an index into `videos`. */
  requestVideo: Uint32Array
  videos: string[]
  /**
   * The process ends with the run, by `_exit`: the run is over once all threads are done with what they used. The ends of a
   * hundred threads at once took 26 seconds on a host with 32 cores (bench/NOTES.md).
   */
  leaveThreads?: boolean
  /** Starts a thread that does the work; by default this program's own. */
  startWorker?: (data: WorkerData) => RunWorker
}

/** A thread of a run as its launch sees it. */
export interface RunWorker {
  on(event: 'message', listener: (message: WorkerMessage) => void): unknown
  on(event: 'error', listener: (error: unknown) => void): unknown
  on(event: 'exit', listener: (code: number) => void): unknown
  unref(): void
}

const startThread = (data: WorkerData): RunWorker =>
  new Worker(Bun.main, { workerData: data, name: data.name })

/** What the run tells as it goes on; all are called on the main thread. */
export interface Watcher {
  /** All workers are warm: the clock starts at this time of `monotonicNs`. */
  started(startNs: number): void
  /** @param leaf which of the last steps is done with it */
  completed(request: number, leaf: number): void
  failed(request: number, step: number, code: string, message: string): void
  /** A graph that a worker will launch on a GPU, where what GPUs do is recorded. */
  graph?(facts: GraphFacts): void
  note(message: string): void
  warn(message: string): void
}

/** How a run ended. */
export type Ending =
  | { kind: 'finished' }
  | { kind: 'interrupted' }
  /** A queue had no room for this request. */
  | { kind: 'full'; queue: number; depth: number; request: number }
  /** A worker threw or died. */
  | { kind: 'crashed'; worker: string; message: string; stack?: string }
  | { kind: 'aborted'; message: string }
  | { kind: 'usage'; message: string }

const shareCopy = (view: Float64Array | Uint32Array): SharedArrayBuffer => {
  const memory = new SharedArrayBuffer(view.byteLength)
  new Uint8Array(memory).set(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
  return memory
}

/** Last steps: each gives a result of its own. */
const leavesOf = (plan: Plan): number => plan.steps.filter(({ last }) => last).length

function share(options: LaunchOptions, gpus: GpuMemory): SharedRun {
  const { plan, schedule, closedLoop } = options
  const outputs = plan.instances.flatMap(instance => instance.outputs).length
  const workers = plan.instances.reduce((sum, instance) => sum + instance.workers, 0)
  const devices = [...new Set(plan.instances.map(({ device }) => device))].filter(device => device !== CPU)
  const teams = plan.instances.filter(({ team }) => team)
  const events = 2 * plan.queues.length + outputs + devices.length + teams.length + 10
  const control = new Control(Control.create(events))
  const pools: SharedPool[] = plan.instances.flatMap(instance =>
    instance.outputs.map((spec, output) => ({
      instance: instance.id,
      output,
      spec,
      slots: SlotPool.create(instance.slots, control),
      ...(spec.memory === 'device'
        ? { memory: [], gpu: gpus.pool(instance, spec) }
        : {
            memory: Array.from({ length: instance.slots }, () => new SharedArrayBuffer(tensorBytes(spec))),
          }),
    })),
  )
  return {
    plan,
    settings: options.settings,
    networks: options.networks,
    overload: options.overload,
    ...(closedLoop && {
      closedLoop: {
        permits: Semaphore.create(closedLoop.concurrency, control),
        durationNs: (closedLoop.durationS ?? Number.POSITIVE_INFINITY) * 1e9,
      },
    }),
    control: control.handle,
    created: Barrier.create(workers, control),
    ready: Barrier.create(workers + 1, control),
    queues: plan.queues.map(queue =>
      Ring.create(queue.capacity, queueWords(queue), queue.producers, control),
    ),
    results: Ring.create(Math.max(1, schedule.length * leavesOf(plan)), RESULT_WORDS, workers, control),
    pools,
    teams: Object.fromEntries(teams.map(instance => [instance.id, createTeam(instance, control)])),
    decoders: gpus.decoderPools(),
    tuning: Object.fromEntries(devices.map(device => [device, SlotPool.create(1, control)])),
    copies: CopyCounts.create(workers),
    ...(options.limits && { calls: createCalls(workers) }),
    recorded: options.recorded === true,
    ledger: options.ledger,
    schedule: shareCopy(schedule),
    requestVideo: shareCopy(options.requestVideo),
    videos: options.videos,
  }
}

/** How often calls are looked at: so many times in the longest that one may take, and at least each second. */
const GLANCES = 4
const LONGEST_GLANCE_MS = 1000

/** Results that are taken before the event loop turns to other things. */
const RESULTS_IN_A_TURN = 256

/** A run that is going on: its workers, and the only place that waits for them. */
export class Launch {
  readonly #gpus: GpuMemory
  readonly #shared: SharedRun
  readonly #control: Control
  readonly #results: Ring
  readonly #ledger: Ledger
  readonly #leaves: number
  /** By request and last step. */
  readonly #reported: Uint8Array
  #ending: Ending | undefined
  readonly #workers: RunWorker[] = []
  readonly #names: SharedNamesHandle
  /** What threads note, in the order of their start; none where the run is not traced. */
  readonly tracks: RunTrack[] = []
  /** Of all workers: each is done with what it used, or, with modules of the user's, its thread has ended. */
  readonly #ends: Promise<void>[] = []
  /** Threads of instances, as they are numbered among these: their names, and what lets the run end without one. */
  readonly #threads: { name: string; leave: () => void }[] = []
  /** Resolves if the run ends without waiting for them. */
  readonly #left = Promise.withResolvers<void>()
  #abandoned = false
  /** The outcome is known: what workers say now comes too late. */
  #over = false

  constructor(
    readonly options: LaunchOptions,
    readonly watcher: Watcher,
  ) {
    this.#names = options.names ?? createNames()
    this.#gpus = new GpuMemory(options.plan)
    this.#shared = share(options, this.#gpus)
    this.#control = new Control(this.#shared.control)
    this.#results = new Ring(this.#shared.results)
    this.#ledger = new Ledger(options.ledger)
    this.#leaves = leavesOf(options.plan)
    this.#reported = new Uint8Array(options.schedule.length * this.#leaves)
  }

  /** Starts the workers, waits for all of them to be warm, lets them go, and reports until the last one ended. */
  async run(): Promise<Ending> {
    this.#start({ role: 'client', name: 'the client', shared: sharedWith(this.#shared) })
    for (const instance of this.options.plan.instances)
      for (let worker = 0; worker < instance.workers; worker++) {
        const name = instance.workers === 1 ? instance.name : `${instance.name}, worker ${worker}`
        const shared = sharedWith(this.#shared, instance)
        this.#start({ role: 'runner', name, shared, instance, worker })
      }
    const created = new Barrier(this.#shared.created)
    const ready = new Barrier(this.#shared.ready)
    // A pending Atomics.waitAsync does not keep the process alive, and workers may all be blocked.
    const alive = setInterval(() => {}, 2 ** 30)
    const watch = this.#watchCalls()
    const interrupts = this.#onGpus ? new InterruptWatch() : undefined
    try {
      if ((await created.allArrived()) === 0) created.release()
      if ((await ready.allArrived()) === 0) {
        // All threads are there, and the warm-up has decoded.
        const note = interrupts?.keepOff()
        if (note !== undefined) this.watcher.note(note)
        // The warm-up may have moved some.
        CopyCounts.clear(this.#shared.copies)
        const startNs = monotonicNs()
        this.#control.startNs = startNs
        this.watcher.started(startNs)
        ready.release()
        const done = new Int32Array(RESULT_WORDS)
        for (let taken = 1; (await this.#results.takeAsync(done)) > 0; taken++) {
          this.#complete(done[0]!, done[1]!)
          // Where results come faster than this loop takes them, it would keep signals and writes waiting.
          if (taken % RESULTS_IN_A_TURN === 0) await new Promise(resolve => setImmediate(resolve))
        }
      }
      await Promise.race([Promise.all(this.#ends), this.#left.promise])
    } finally {
      this.#over = true
      clearInterval(alive)
      clearInterval(watch)
      for (const note of [...this.#gpus.linkNotes(), ...this.#gpus.decoderNotes(), ...this.#teamNotes()])
        this.watcher.note(note)
      this.#freeGpus()
    }
    // A stop can overtake results that were ready before it.
    for (let request = 0; request < this.options.schedule.length; request++)
      for (let leaf = 0; leaf < this.#leaves; leaf++)
        if (this.#ledger.state(request, leaf) === STATE.done) this.#complete(request, leaf)
    return this.#ending ?? { kind: 'finished' }
  }

  /** Lets what has begun finish and begins nothing more. */
  interrupt(): void {
    this.#ending ??= { kind: 'interrupted' }
    this.#control.drain()
  }

  /** Ends the run at once. */
  stop(ending: Ending, reason: number = STOP.interrupted): void {
    this.#ending ??= ending
    this.#control.stop(reason)
  }

  /** Ends the run at once, and leaves workers behind that are inside a library: the process need not wait for them. */
  abandon(): void {
    this.stop({ kind: 'interrupted' })
    for (const worker of this.#workers) worker.unref()
    this.#abandoned = true
    this.#left.resolve()
  }

  /** Ends the run if a call of a step takes too long, and leaves the thread behind that is in it. */
  #watchCalls(): Timer | undefined {
    const { limits } = this.options
    const { calls } = this.#shared
    if (!limits || !calls) return undefined
    const everyMs = Math.min(LONGEST_GLANCE_MS, limits.stallMs / GLANCES, limits.startMs / GLANCES)
    const watch = new StallWatch(calls, limits, everyMs)
    return setInterval(() => {
      for (const { thread, message } of watch.look()) {
        const { name, leave } = this.#threads[thread]!
        this.stop({ kind: 'crashed', worker: name, message }, STOP.failed)
        leave()
      }
    }, everyMs)
  }

  /** Depth of each queue now. */
  depths(): number[] {
    return this.#shared.queues.map(handle => new Ring(handle).depth)
  }

  /** Highest depth of each queue so far. */
  highWater(): number[] {
    return this.#shared.queues.map(handle => new Ring(handle).highWater)
  }

  /** Bytes of tensors that were moved to, from and between GPUs; undefined where the run uses none. */
  copied(): CopiedBytes | undefined {
    return this.#onGpus ? CopyCounts.total(this.#shared.copies) : undefined
  }

  get #onGpus(): boolean {
    return this.options.plan.instances.some(({ device }) => device !== CPU)
  }

  #teamNotes(): string[] {
    const { teams, plan } = this.#shared
    return Object.entries(teams).flatMap(([id, team]) => teamNote(team, plan.instances[Number(id)]!) ?? [])
  }

  /**
   * After a crash the driver may refuse; the crash is what people need to hear of. Workers that were left behind may
   * still use their memory: it goes with the process.
   */
  #freeGpus(): void {
    if (this.#abandoned) return
    try {
      this.#gpus.close()
    } catch (error) {
      if (this.#ending === undefined) throw error
    }
  }

  #complete(request: number, leaf: number): void {
    const at = request * this.#leaves + leaf
    if (this.#reported[at]) return
    this.#reported[at] = 1
    this.watcher.completed(request, leaf)
  }

  /** A thread's track, if the run is traced. */
  #trackOf(data: WorkerData): { track?: TrackHandle } {
    if (!this.options.trace) return {}
    const track = Track.create(this.#names)
    const step = data.role === 'runner' ? { step: data.instance.step } : {}
    this.tracks.push({ name: data.name, handle: track, ...step })
    return { track }
  }

  #start(data: WorkerData): void {
    const worker = (this.options.startWorker ?? startThread)({ ...data, ...this.#trackOf(data) })
    this.#workers.push(worker)
    const crash = (message: string, stack?: string) =>
      this.stop({ kind: 'crashed', worker: data.name, message, stack }, STOP.failed)
    let finished = false
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#ends.push(promise)
    worker.on('message', (message: WorkerMessage) => {
      if (message.type === 'finished') {
        finished = true
        // What modules of the user's say at their end is waited for.
        if (!this.options.leaveThreads || hasModules()) return
        worker.unref()
        resolve()
      } else if (message.type === 'missing') crash(message.message)
      else this.#hear(message)
    })
    worker.on('error', (error: unknown) =>
      error instanceof Error ? crash(error.message, error.stack) : crash(String(error)),
    )
    worker.on('exit', (code: number) => {
      if (!finished) crash(`the worker ended early, with status ${code}`)
      resolve()
    })
    if (data.role !== 'runner') return
    this.#threads[threadOf(this.#shared, data.instance, data.worker)] = {
      name: data.name,
      leave: () => {
        worker.unref()
        this.#abandoned = true
        resolve()
      },
    }
  }

  #hear(message: Exclude<WorkerMessage, { type: 'finished' | 'missing' }>): void {
    if (this.#over) return
    if (message.type === 'failure')
      this.watcher.failed(message.request, message.step, message.code, message.message)
    else if (message.type === 'note') this.watcher.note(message.message)
    else if (message.type === 'graph') this.watcher.graph?.(message.facts)
    else if (message.type === 'warning') this.watcher.warn(message.message)
    else if (message.type === 'usage') this.stop({ kind: 'usage', message: message.message }, STOP.usage)
    else {
      const { queue, request } = message
      const depth = new Ring(this.#shared.queues[queue]!).depth
      this.stop({ kind: 'full', queue, depth, request }, STOP.queueFull)
    }
  }
}
