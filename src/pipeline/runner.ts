import { LibraryError } from '../../ffi/error.ts'
import { monotonicNs, threadCpuNs } from '../../ffi/libc.ts'
import { permitsOf } from '../client/client.ts'
import { wasFull, wasLate } from '../client/overload.ts'
import { UsageError, VideoError, type VideoErrorCode } from '../errors.ts'
import { Barrier } from '../queue/barrier.ts'
import { decodeItem, encodeItem, itemWords } from '../queue/codec.ts'
import { Control } from '../queue/control.ts'
import type { Item, Share } from '../queue/item.ts'
import { ELSEWHERE, Ring } from '../queue/ring.ts'
import { Ends } from '../results/ends.ts'
import { Ledger, type TopClass } from '../results/ledger.ts'
import { plannedKind, plannedSelector } from '../steps/index.ts'
import { CPU, type StepInstance } from '../steps/step.ts'
import type { Track } from '../tracing/buffer.ts'
import { GpuCalls } from '../tracing/gpu/calls.ts'
import { ThreadTrace } from '../tracing/thread.ts'
import { type Call, CallNote } from './calls.ts'
import { InstanceMemory, Stopped, stepContext, threadOf, WorkerGpu } from './context.ts'
import { deviceLoss } from './device-loss.ts'
import type { Instance, PlannedQueue } from './plan.ts'
import { keepShares, splitItem } from './segments.ts'
import { type RunnerData, type SharedRun, STOP, type WorkerMessage } from './shared.ts'
import { scoresOfShares } from './sink.ts'
import { TeamMember } from './team.ts'

export const queueWords = (queue: PlannedQueue): number =>
  itemWords(queue.maxShares, queue.maxTensors, queue.maxRank, queue.maxValues)

/** A request, and which of the last steps is done with it. */
export const RESULT_WORDS = 2

/**
 * Calls of a step after which its thread's garbage is collected, a pause of some milliseconds: JavaScriptCore counts
 * shared memory (queues, weights, slots) as each thread's own, and lets garbage grow in proportion to that.
 */
const COLLECT_IDLE = 4000
const COLLECT_BUSY = 8000

/** One instance of a step in its worker: takes items, runs the step on batches of them, hands its outputs on. */
class Runner {
  readonly #control: Control
  readonly #ledger: Ledger
  readonly #ends: Ends
  readonly #trace: ThreadTrace
  readonly #calls: CallNote
  readonly #gpu: WorkerGpu | undefined
  /** Where what its GPU does is recorded. */
  readonly #work: GpuCalls | undefined
  readonly #memory: InstanceMemory
  /** The instance's threads, where they do pieces of each other's work. */
  readonly #team: TeamMember | undefined
  readonly #input: Ring
  /** In the selector's order, and each once. */
  readonly #outputs: Ring[]
  readonly #producing: Ring[]
  readonly #results: Ring
  readonly #received: Int32Array
  readonly #sent: Int32Array
  /** Of the steps that read from this one: which of `#outputs` an item goes to. */
  readonly #routes: ((item: Item) => number)[] = []
  /** How many these are. */
  readonly #readers: number
  /** By source, how many parts of a request come before its own. */
  readonly #firstParts: number[]
  /** Parts that any group of this step makes of an item. */
  readonly #mostSegments: number
  /** Which of the last steps this is. */
  readonly #leaf: number
  /** The step's name, or its kind. */
  readonly #what: string
  /** Items joined to a batch at most, and the longest that the first of them waits. */
  readonly #batch: number
  readonly #delayNs: number
  /** Calls since garbage was collected. */
  #uncollected = 0

  readonly shared: SharedRun
  readonly instance: Instance
  readonly worker: number

  constructor(
    { shared, instance, worker, track }: RunnerData,
    readonly tell: (message: WorkerMessage) => void,
  ) {
    this.shared = shared
    this.instance = instance
    this.worker = worker
    this.#trace = new ThreadTrace(track)
    this.#calls = new CallNote(shared.calls, threadOf(shared, instance, worker))
    const { plan } = shared
    this.#control = new Control(shared.control)
    this.#ledger = new Ledger(shared.ledger)
    this.#ends = new Ends(this.#ledger, plan.steps, permitsOf(shared))
    // A driver may hang where it is first asked for something.
    this.#calls.begin('create', monotonicNs())
    const { sources, readers, segments, kind, name } = plan.steps[instance.step]!
    this.#gpu = instance.device === CPU ? undefined : new WorkerGpu(instance.device, kind)
    this.#work = this.#gpu && shared.recorded ? new GpuCalls(threadOf(shared, instance, worker)) : undefined
    this.#memory = new InstanceMemory(shared, instance, this.#gpu)
    this.#input = new Ring(shared.queues[instance.inQueue]!)
    const team = shared.teams[instance.id]
    this.#team =
      team &&
      new TeamMember(team, {
        instance,
        worker,
        input: this.#input,
        waiting: wait => this.#trace.timed('wait for others', () => this.#calls.pause(wait)),
        stopped: () => new Stopped(),
      })
    // A queue that the selector knows by two numbers has this producer once.
    const rings = new Map(instance.outQueues.map(id => [id, new Ring(shared.queues[id]!)]))
    this.#producing = [...rings.values()]
    this.#outputs = instance.outQueues.map(id => rings.get(id)!)
    this.#results = new Ring(shared.results)
    this.#received = new Int32Array(queueWords(plan.queues[instance.inQueue]!))
    this.#sent = new Int32Array(Math.max(1, ...instance.outQueues.map(id => queueWords(plan.queues[id]!))))
    this.#what = name ?? kind
    this.#mostSegments = segments
    this.#readers = readers.length
    this.#leaf = plan.steps.filter(({ last }) => last).findIndex(({ index }) => index === instance.step)
    const leaving = sources.map(source => plan.steps[source]!.leaving)
    this.#firstParts = leaving.map((_, source) =>
      leaving.slice(0, source).reduce((sum, parts) => sum + parts, 0),
    )
    this.#batch = instance.batch
    const own = instance.options.max_batch_delay_ms
    this.#delayNs = (typeof own === 'number' ? own : shared.settings.maxBatchDelayMs) * 1e6
  }

  /** Chooses among the queues of one reader; each has a selector of its own, so that all get an even share. */
  async #route(reader: number, queues: number): Promise<(item: Item) => number> {
    const first = reader * queues
    const { device, outQueues } = this.instance
    const takers = outQueues.map(id => this.shared.plan.instances.filter(({ inQueue }) => inQueue === id))
    const select = await plannedSelector(this.instance.selector, {
      queues,
      depth: index => this.#outputs[first + index]!.depth,
      full: index => this.#outputs[first + index]!.depth >= this.#outputs[first + index]!.capacity,
      near: index => takers[first + index]!.some(taker => taker.device === device),
      options: this.instance.selectorOptions,
    })
    return item => first + select(item)
  }

  async run(): Promise<void> {
    try {
      await this.#live()
    } catch (error) {
      throw this.#gpu ? deviceLoss(error, this.#gpu.stream, this.instance, this.shared.plan) : error
    } finally {
      this.#calls.end()
    }
  }

  async #live(): Promise<void> {
    const kind = await plannedKind(this.shared.plan.steps[this.instance.step]!)
    for (let reader = 0; reader < this.#readers; reader++)
      this.#routes.push(await this.#route(reader, this.#outputs.length / this.#readers))
    const reports = {
      ledger: this.#ledger,
      ends: this.#ends,
      trace: this.#trace,
      calls: this.#calls,
      ...(this.#work && { work: this.#work }),
      ...(this.#team && { team: this.#team }),
      tell: this.tell,
    }
    const step = await kind.create(stepContext(this.#memory, reports, this.worker))
    this.#calls.end()
    if (new Barrier(this.shared.created).arriveAndWait())
      await this.#watched('warm-up', () => step.warmUp?.())
    if (new Barrier(this.shared.ready).arriveAndWait()) await this.#serve(step)
    for (const queue of [...this.#producing, this.#results]) queue.close()
    await this.#watched('close', () => {
      step.close?.()
      this.#memory.close()
      this.#gpu?.close()
    })
  }

  async #serve(step: StepInstance): Promise<void> {
    const emit = (item: Item) => this.#emit(item)
    try {
      for (;;) {
        this.#collectGarbage()
        if (step.settle && this.#input.depth === 0) await this.#settle(step, emit)
        const taken = this.#takeBatch(step, emit)
        // Most come at once: a promise for each would cost more than the rest of a short step.
        const items = taken instanceof Promise ? await taken : taken
        if (!items) break
        if (items.length === 0) await this.#helpOthers(step)
        else await this.#runBatch(step, items, emit)
      }
      if (this.#control.stopped !== 0) return
      await this.#watched('settle', () => step.settle?.(emit))
      await this.#watched('flush', () => step.flush?.(emit))
    } catch (error) {
      if (!(error instanceof Stopped)) throw error
    }
  }

  /** While nothing waits: nobody knows when something will, and what is under way must not wait for it. */
  async #settle(step: StepInstance, emit: (item: Item) => void): Promise<void> {
    await this.#trace.timed('settle', () => this.#watched('settle', () => step.settle!(emit)))
  }

  async #watched(call: Call, work: () => void | Promise<void>): Promise<void> {
    this.#calls.begin(call, monotonicNs())
    try {
      await work()
    } finally {
      this.#calls.end()
    }
  }

  /** At a moment when nothing waits, if there is one. */
  #collectGarbage(): void {
    const least = this.#input.depth === 0 ? COLLECT_IDLE : COLLECT_BUSY
    if (++this.#uncollected < least) return
    this.#uncollected = 0
    Bun.gc(true)
  }

  /**
   * An item as soon as there is one, with those that follow within the batch delay; undefined at the end, and none if
   * what was there goes no further, or if another thread asks for help.
   */
  #takeBatch(
    step: StepInstance,
    emit: (item: Item) => void,
  ): Item[] | undefined | Promise<Item[] | undefined> {
    // On an interrupt, requests that nobody has begun stay where they are.
    if (this.instance.inQueue === 0 && this.#control.draining) return undefined
    const first = this.#take(Number.POSITIVE_INFINITY, step.help && this.#team?.asked)
    if (!first) return undefined
    if (first.length === 0 || first.length >= this.#batch) return first
    return this.#trace.timed('batch', () => this.#fill(first, step, emit))
  }

  /** Adds to the items of a batch what follows within the delay; undefined if the run was stopped. */
  async #fill(items: Item[], step: StepInstance, emit: (item: Item) => void): Promise<Item[] | undefined> {
    const deadlineNs = monotonicNs() + this.#delayNs
    while (items.length < this.#batch) {
      if (step.settle && this.#input.depth === 0) await this.#settle(step, emit)
      const more = this.#take(deadlineNs)
      if (!more) return this.#control.stopped === 0 ? items : undefined
      items.push(...more)
    }
    return items
  }

  /**
   * The next item, or what is left of it that goes on; undefined at the end, or at the deadline, and none if it would wait while
   * there is something else to do.
   */
  #take(deadlineNs: number, elsewhere?: () => boolean): Item[] | undefined {
    const length = this.#input.take(this.#received, deadlineNs, elsewhere)
    if (length === ELSEWHERE) return []
    if (length < 0) return undefined
    const now = monotonicNs()
    this.#trace.track?.depth(this.instance.inQueue, now, this.#input)
    const timely = this.#timely([this.#numbered(decodeItem(this.#received, length))], now)
    for (const { request, part } of timely.flatMap(item => item.shares))
      this.#ledger.stamp(request, part, this.instance.step, 'runnerStart', now)
    return timely
  }

  /** Where several steps lead here, parts are numbered on from source to source. */
  #numbered(item: Item): Item {
    if (this.#firstParts.length < 2) return item
    const first = this.#firstParts[this.#memory.sourceOf(item)]!
    return { ...item, shares: item.shares.map(share => ({ ...share, part: first + share.part })) }
  }

  /** Of items that were taken, those requests that have not failed and are not too late. */
  #timely(items: readonly Item[], now: number): Item[] {
    return items.flatMap(item => {
      if (item.shares.every(({ request }) => this.#goesOn(request, now))) return [item]
      const kept = keepShares(item, ({ request }) => this.#goesOn(request, now))
      this.#memory.cut(item, kept)
      return kept
    })
  }

  #goesOn(request: number, now: number): boolean {
    const { step } = this.instance
    if (!this.#ends.awaits(request, step)) return false
    const { timeoutNs } = this.shared.overload
    if (now - this.#ledger.intended(request) <= timeoutNs) return true
    this.#fail(request, step, 'timeout', wasLate(timeoutNs))
    return false
  }

  /** The first failure of a request on the way through a step is heard. */
  #fail(request: number, step: number, code: VideoErrorCode, message: string): void {
    if (this.#ends.fail(request, step)) this.tell({ type: 'failure', request, step, code, message })
  }

  async #runBatch(step: StepInstance, taken: readonly Item[], emit: (item: Item) => void): Promise<void> {
    // The batch may have waited for its last items; and what is left of items may be more than there were.
    const items = this.#timely(taken, monotonicNs())
    for (let first = 0; first < items.length; first += this.#batch)
      await this.#runItems(step, items.slice(first, first + this.#batch), emit)
  }

  async #runItems(step: StepInstance, items: readonly Item[], emit: (item: Item) => void): Promise<void> {
    const shares = items.flatMap(item => item.shares)
    const now = monotonicNs()
    const { step: index, device, replica } = this.instance
    for (const { request, part } of shares) {
      this.#ledger.place(request, part, index, device, replica, shares.length)
      this.#ledger.stamp(request, part, index, 'inferenceStart', now)
    }
    this.#trace.request = shares.length === 1 ? shares[0]!.request : -1
    this.#calls.begin('run', now, shares)
    try {
      // A GPU that hangs may do so in any call, these included that only put something on its stream.
      this.#memory.await(items)
      try {
        this.#work?.begin(shares[0]!.request)
        await step.run(items, emit)
      } catch (error) {
        // It ends the run, and nobody waits for the inputs' slots: a GPU that has failed would refuse them, and be heard in
        // place of what the step said of it.
        if (!(error instanceof VideoError)) throw error
        this.#memory.releaseHeld()
        for (const { request } of shares) this.#fail(request, this.instance.step, error.code, error.message)
      } finally {
        this.#work?.end()
      }
      for (const item of items) this.#memory.release(item)
    } finally {
      this.#calls.end()
    }
    this.#trace.request = -1
    if (this.#trace.track) this.#note(this.#trace.track, shares, now)
  }

  /** Does a piece of what another thread of the instance is making, if one is still offered. */
  async #helpOthers(step: StepInstance): Promise<void> {
    const team = this.#team
    const taken = step.help && team?.take()
    if (!team || !taken) return
    const { out, piece } = taken
    const { request } = out.shares[0]!
    const now = monotonicNs()
    const cpuBegin = threadCpuNs()
    this.#trace.request = request
    this.#calls.begin('run', now, out.shares)
    try {
      this.#memory.join(out)
      this.#work?.begin(request)
      const facts = await step.help!(out, piece)
      this.#memory.synchronize()
      team.finish(taken, facts, Math.round((threadCpuNs() - cpuBegin) / 1000))
    } catch (error) {
      if (!(error instanceof VideoError)) throw error
      this.#memory.synchronize()
      team.fail(taken)
    } finally {
      this.#work?.end()
      this.#calls.end()
      this.#trace.request = -1
    }
    this.#trace.track?.span(`${this.#what}, helping`, now, monotonicNs(), request, piece.count)
  }

  #note(track: Track, shares: readonly Share[], beginNs: number): void {
    const endNs = monotonicNs()
    if (shares.length > 1) track.span(this.#what, beginNs, endNs, -1, shares.length)
    for (const { request, part } of shares)
      track.visit(this.#what, beginNs, endNs, request, part, shares.length)
  }

  #emit(item: Item): void {
    const now = monotonicNs()
    for (const { request, part } of item.shares)
      this.#ledger.stamp(request, part, this.instance.step, 'inferenceFinish', now)
    if (this.#outputs.length === 0) {
      this.#finish(item)
      return
    }
    const parts = splitItem(item, this.instance.segments, this.#mostSegments)
    this.#memory.handOn(item, parts.length * this.#routes.length)
    for (const route of this.#routes) {
      // As in RnB, the parts of an item go where the item goes.
      const queue = route(item)
      for (const part of parts) this.#send(part, queue, now)
    }
  }

  /** @param now when the step was done with it */
  #send(item: Item, index: number, now: number): void {
    const output = this.#outputs[index]!
    const length = encodeItem(item, this.#sent)
    const { onFull } = this.shared.overload
    while (!output.put(this.#sent, length)) {
      const queue = this.instance.outQueues[index]!
      if (onFull === 'drop') {
        this.#drop(item, queue)
        return
      }
      if (onFull === 'abort') {
        this.tell({ type: 'full', queue, request: item.shares[0]!.request })
        this.#control.stop(STOP.queueFull)
      }
      const status = this.#trace.timed('wait for room', () => this.#calls.pause(() => output.awaitRoom()))
      if (status < 0) throw new Stopped()
    }
    this.#trace.track?.depth(this.instance.outQueues[index]!, now, output)
  }

  #drop(item: Item, queue: number): void {
    const { queues, instances } = this.shared.plan
    const { step } = instances.find(({ inQueue }) => inQueue === queue)!
    const message = wasFull(queues[queue]!)
    for (const { request } of item.shares) this.#fail(request, step, 'queue_full', message)
    this.#memory.takeBack(item)
  }

  /** After a last step: the classes of each request, which is done there. */
  #finish(item: Item): void {
    const [logits] = item.tensors
    // A pipeline may end before a network does: what leaves it then are no classes.
    if (logits?.shape.length === 2) {
      const classes = logits.shape[1]!
      const scored = scoresOfShares(
        this.#memory.view(item, 0),
        classes,
        item.shares,
        this.shared.settings.top,
      )
      for (const { share, scores } of scored) this.#complete(share.request, scores)
    } else {
      for (const { request } of item.shares) this.#complete(request, [])
    }
    this.#memory.handOn(item)
    this.#memory.release(item)
  }

  #complete(request: number, scores: readonly TopClass[]): void {
    if (this.#ends.finish(request, scores, this.#leaf))
      this.#results.put(Int32Array.of(request, this.#leaf), RESULT_WORDS)
  }
}

/** Runs one instance until its input is closed or the run is stopped. */
export async function runRunner(data: RunnerData, tell: (message: WorkerMessage) => void): Promise<void> {
  try {
    await new Runner(data, tell).run()
  } catch (error) {
    const control = new Control(data.shared.control)
    if (error instanceof UsageError) {
      tell({ type: 'usage', message: error.message })
      control.stop(STOP.usage)
    } else if (error instanceof LibraryError) {
      tell({ type: 'missing', message: error.message })
      control.stop(STOP.failed)
    } else throw error
  }
}
