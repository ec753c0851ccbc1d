import type { Instance } from '../pipeline/plan.ts'
import { keepShares, splitItem } from '../pipeline/segments.ts'
import type { Item } from '../queue/item.ts'
import { tensorBytes } from '../queue/tensor.ts'
import { type Selector, selectorOf } from '../steps/selectors.ts'
import { CPU } from '../steps/step.ts'
import { type Body, Waiters } from './clock.ts'
import type { SimulatedQueue } from './queue.ts'
import { type Call, type Stretch, stretchesOf } from './service.ts'
import { type SimulatedStep, simulatedStep, type UnderWay } from './steps.ts'
import type { SimulatedTeam } from './team.ts'
import { pass, release, retain, type World } from './world.ts'

/** One thread of an instance: takes, waits, hands on and gives back when `src/pipeline/runner.ts` does. */
export class SimulatedWorker {
  readonly #input: SimulatedQueue
  readonly #outputs: SimulatedQueue[]
  readonly #routes: Selector[]
  readonly #step: SimulatedStep
  readonly #delayNs: number
  /** Parts that any group of this step makes of an item. */
  readonly #mostSegments: number
  readonly #leaf: number
  readonly #team: SimulatedTeam | undefined
  /** Whether another thread of the instance offers pieces of its call. */
  readonly #asked: (() => boolean) | undefined

  constructor(
    readonly world: World,
    readonly instance: Instance,
    readonly worker: number,
  ) {
    const { plan, queues, settings } = world
    const { readers, segments, kind, sources } = plan.steps[instance.step]!
    this.#input = queues[instance.inQueue]!
    this.#outputs = instance.outQueues.map(id => queues[id]!)
    this.#routes = readers.map((_, reader) => this.#route(reader, this.#outputs.length / readers.length))
    this.#mostSegments = segments
    this.#leaf = plan.steps.filter(({ last }) => last).findIndex(({ index }) => index === instance.step)
    const own = instance.options.max_batch_delay_ms
    this.#delayNs = (typeof own === 'number' ? own : settings.maxBatchDelayMs) * 1e6
    const team = world.teams[instance.id]
    this.#team = team
    this.#asked = team && (() => team.asked(worker))
    this.#step = simulatedStep(kind, {
      instance,
      slots: instance.slots > 0 ? world.slots[instance.id] : undefined,
      sources: Math.max(1, sources.length),
      service: world.service,
      serve: (request, items, clips) => this.#serve(request, items, clips),
      share: (request, clips) => this.#share(request, clips),
      begin: (request, items, clips, before) => this.#begin(request, items, clips, before),
      emit: item => this.#emit(item),
    })
  }

  #route(reader: number, queues: number): Selector {
    const first = reader * queues
    const { device, outQueues, selector, selectorOptions } = this.instance
    const { instances } = this.world.plan
    const near = outQueues.map(id => instances.some(taker => taker.inQueue === id && taker.device === device))
    const select = selectorOf(selector, {
      queues,
      depth: index => this.#outputs[first + index]!.depth,
      full: index => this.#outputs[first + index]!.depth >= this.#outputs[first + index]!.capacity,
      near: index => near[first + index]!,
      options: selectorOptions,
    })
    return item => first + select(item)
  }

  *run(): Body {
    for (;;) {
      if (this.#step.settle && this.#input.depth === 0) yield* this.#step.settle()
      const items = yield* this.#takeBatch()
      if (!items) break
      if (items.length === 0) yield* this.#helpOthers()
      const timely = this.#timely(items)
      for (let first = 0; first < timely.length; first += this.instance.batch)
        yield* this.#runItems(timely.slice(first, first + this.instance.batch))
    }
    if (this.#step.settle) yield* this.#step.settle()
    for (const queue of new Set(this.#outputs)) queue.close()
  }

  *#takeBatch(): Body<Item[] | undefined> {
    const { clock } = this.world
    const first = yield* this.#input.take(Number.POSITIVE_INFINITY, this.#asked)
    if (!first) return undefined
    if (first === 'elsewhere') return []
    const items = this.#timely([first])
    if (items.length === 0) return items
    const deadline = clock.now + this.#delayNs
    while (items.length < this.instance.batch) {
      if (this.#step.settle && this.#input.depth === 0) yield* this.#step.settle()
      const more = yield* this.#input.take(deadline)
      if (!more || more === 'elsewhere') break
      items.push(...this.#timely([more]))
    }
    return items
  }

  /** Of items that were taken, those requests that have not failed and are not too late. */
  #timely(items: readonly Item[]): Item[] {
    return items.flatMap(item => {
      if (item.shares.every(({ request }) => this.#goesOn(request))) return [item]
      const kept = keepShares(item, ({ request }) => this.#goesOn(request))
      if (kept.length === 0) release(this.world, item)
      else retain(this.world, item, kept.length - 1)
      return kept
    })
  }

  #goesOn(request: number): boolean {
    const { outcomes, overload, clock, intended } = this.world
    const { step } = this.instance
    if (!outcomes.ends.awaits(request, step)) return false
    if (clock.now - intended[request]! <= overload.timeoutNs) return true
    outcomes.lose(request, step, 'timeout')
    return false
  }

  /** What it takes to fetch items that lie on other GPUs. */
  #transferMs(items: readonly Item[]): number {
    const { service, plan } = this.world
    const { device } = this.instance
    if (!service.transferMs || device === CPU) return 0
    let ms = 0
    for (const { pool, shape } of items.flatMap(({ tensors }) => tensors)) {
      const { device: from, outputs } = plan.instances[pool]!
      const onDevice = outputs.filter(({ memory }) => memory === 'device')
      if (from === CPU || from === device || onDevice.length === 0) continue
      const rowBytes = onDevice.reduce((sum, spec) => sum + tensorBytes(spec) / spec.shape[0]!, 0)
      ms += service.transferMs(from, device, shape[0]! * rowBytes)
    }
    return ms
  }

  *#runItems(items: readonly Item[]): Body {
    const { clock, served } = this.world
    const beginNs = clock.now
    const transferMs = this.#transferMs(items)
    if (transferMs > 0) yield* pass(this.world, [{ ms: transferMs }])
    yield* this.#step.run(items)
    for (const item of items) release(this.world, item)
    if (!served) return
    const requests = items.flatMap(({ shares }) => shares.map(({ request }) => request))
    served({ instance: this.instance.id, worker: this.worker, requests, beginNs, endNs: clock.now })
  }

  *#serve(request: number, items: number, clips: number): Body {
    const beginNs = this.world.clock.now
    yield* this.#work({ request, items, clips })
    this.#called(clips, this.world.clock.now - beginNs)
  }

  *#work(call: Omit<Call, 'instance' | 'worker'>): Body {
    const { instance, worker } = this
    yield* pass(this.world, stretchesOf(this.world.service, { instance, worker, ...call }))
  }

  /** As `TeamMember.share`. */
  *#share(request: number, clips: number): Body {
    const { clock, service } = this.world
    const team = this.#team
    const shares = team ? (service.pieces?.(this.instance, request, clips) ?? []) : []
    if (!team || shares.length < 2) {
      yield* this.#serve(request, 1, clips)
      return
    }
    const beginNs = clock.now
    team.offer(this.worker, { request, clips, shares })
    let part = team.own(this.worker)
    this.#input.callTakers()
    for (let by: Call['by'] = 'beginner'; part !== undefined; part = team.own(this.worker), by = 'owner')
      yield* this.#work({ request, items: 1, clips, part, by })
    yield* team.settle(this.worker)
    this.#called(clips, clock.now - beginNs)
  }

  *#helpOthers(): Body {
    const taken = this.#team?.take(this.worker)
    if (!taken) return
    const { request, clips, share: part } = taken
    const beginNs = this.world.clock.now
    yield* this.#work({ request, items: 1, clips, part, by: 'helper' })
    this.world.busyNs[this.instance.id]! += this.world.clock.now - beginNs
    this.#team!.finish(taken)
  }

  /** Its thread was busy with a call of so many clips for so long. */
  #called(clips: number, ns: number): void {
    const { calls, busyNs, threads } = this.world
    const { id } = this.instance
    calls[id]!++
    busyNs[id]! += ns
    const own = threads[id]![this.worker]!
    const before = own.get(clips)
    if (!before) own.set(clips, { calls: 1, ns })
    else {
      before.calls++
      before.ns += ns
    }
  }

  *#begin(request: number, items: number, clips: number, before: UnderWay | undefined): Body<UnderWay> {
    const { clock, service } = this.world
    const { instance, worker } = this
    const stretches = stretchesOf(service, { instance, worker, request, items, clips })
    const own = stretches.findIndex(({ later }) => later)
    const beginNs = clock.now
    yield* pass(this.world, own < 0 ? stretches : stretches.slice(0, own))
    this.#called(clips, clock.now - beginNs)
    const under = { freed: false, over: false, changed: new Waiters(clock) }
    clock.start(this.#goOn(own < 0 ? [] : stretches.slice(own), under, before))
    return under
  }

  /** What a call has left under way: behind the call before, until its last work on a resource is done. */
  *#goOn(stretches: readonly Stretch[], under: UnderWay, before: UnderWay | undefined): Body {
    while (before && !before.freed) {
      before.changed.join()
      yield
    }
    const { clock, busyNs } = this.world
    const beginNs = clock.now
    const latest = stretches.findLastIndex(({ resource }) => resource !== undefined)
    yield* pass(this.world, stretches.slice(0, latest + 1))
    busyNs[this.instance.id]! += clock.now - beginNs
    under.freed = true
    under.changed.wakeAll()
    yield* pass(this.world, stretches.slice(latest + 1))
    under.over = true
    under.changed.wakeAll()
  }

  *#emit(item: Item): Body {
    if (this.#outputs.length === 0) {
      const { clock, service, outcomes } = this.world
      for (const { request } of item.shares)
        if (outcomes.ends.finish(request, [], this.#leaf) && service.result)
          clock.start(pass(this.world, [service.result]))
      release(this.world, item)
      return
    }
    const parts = splitItem(item, this.instance.segments, this.#mostSegments)
    retain(this.world, item, parts.length * this.#routes.length - 1)
    for (const route of this.#routes) {
      // As in RnB, the parts of an item go where the item goes.
      const queue = route(item)
      for (const part of parts) yield* this.#send(part, queue)
    }
  }

  *#send(item: Item, index: number): Body {
    const output = this.#outputs[index]!
    const queue = this.instance.outQueues[index]!
    const { onFull } = this.world.overload
    while (!output.put(item)) {
      if (onFull === 'drop') {
        this.#drop(item, queue)
        return
      }
      if (onFull === 'abort') this.world.full(queue, item.shares[0]!.request)
      yield* output.awaitRoom()
    }
  }

  #drop(item: Item, queue: number): void {
    const { plan, outcomes } = this.world
    const { step } = plan.instances.find(({ inQueue }) => inQueue === queue)!
    for (const { request } of item.shares) outcomes.lose(request, step, 'queue_full')
    release(this.world, item)
  }
}
