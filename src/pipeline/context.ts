import { type DeviceContext, makeCurrent, releaseContext, retainContext } from '../../ffi/cuda/context.ts'
import {
  createStream,
  destroyStream,
  recordEvent,
  synchronizeStream,
  waitForEvent,
} from '../../ffi/cuda/stream.ts'
import { type CUstream, offset } from '../../ffi/cuda/types.ts'
import type { Item, TensorRef } from '../queue/item.ts'
import { SlotPool } from '../queue/slots.ts'
import { WOULD_BLOCK } from '../queue/status.ts'
import { ELEMENT_BYTES, elements } from '../queue/tensor.ts'
import type { Ends } from '../results/ends.ts'
import type { Ledger } from '../results/ledger.ts'
import { CopyCounts } from '../results/traffic.ts'
import type { DeviceTensor, RequestFacts, StepContext, Team } from '../steps/step.ts'
import type { GpuCalls } from '../tracing/gpu/calls.ts'
import type { ThreadFacts } from '../tracing/gpu/facts.ts'
import type { ThreadTrace } from '../tracing/thread.ts'
import type { CallNote } from './calls.ts'
import type { Instance, Plan } from './plan.ts'
import type { SharedRun, WorkerMessage } from './shared.ts'

/** Unwinds a step that waits for something when the run is stopped. */
export class Stopped extends Error {
  override readonly name = 'Stopped'
}

/** A GPU as one worker uses it: the device's primary context, and a stream of its own. */
export class WorkerGpu {
  readonly context: DeviceContext
  readonly stream: CUstream

  /** @param kind - of the step: what a loader asks for is little, and engines and other steps wait for it */
  constructor(device: number, kind: string) {
    this.context = retainContext(device)
    this.stream = createStream(kind === 'loader' ? 'urgent' : 'common')
  }

  close(): void {
    destroyStream(this.stream)
    releaseContext(this.context)
  }
}

/** Output slots and input views of one instance, and which slots it holds: the memory side of a step's context. */
export class InstanceMemory {
  readonly #pools: SlotPool[]
  readonly #own: number[]
  /** Slots that `allocate` gave and no emitted item carries yet. */
  readonly #held = new Set<TensorRef>()
  /** Primary contexts of other devices that tensors lie on. */
  readonly #peers = new Map<number, DeviceContext>()

  constructor(
    readonly shared: SharedRun,
    readonly instance: Instance,
    readonly gpu: WorkerGpu | undefined,
  ) {
    this.#pools = shared.pools.map(pool => new SlotPool(pool.slots))
    this.#own = shared.pools.flatMap((pool, id) => (pool.instance === instance.id ? [id] : []))
  }

  /** Whether `allocate` would not wait. */
  hasRoom(): boolean {
    return this.#own.every(id => this.#pools[id]!.free > 0)
  }

  /**
   * One free slot for each output tensor, `clips` rows of it. On a GPU, what this worker's stream is asked from now on
   * waits for those who read the slots before.
   * @param waiting does what waits for a slot where none is free
   * @throws {Stopped}
   */
  allocate(
    clips: number,
    waiting: (wait: () => number) => number = wait => wait(),
  ): { tensors: TensorRef[] } {
    const tensors = this.#own.map(id => {
      const { spec } = this.shared.pools[id]!
      if (clips > spec.shape[0]!)
        throw new RangeError(
          `${clips} clips asked of a slot of ${spec.shape.join(' x ')} (${this.instance.name})`,
        )
      const pool = this.#pools[id]!
      // Another thread of the instance may take the last one at any moment: what counts is that this one has to wait.
      const free = pool.tryAcquire()
      const slot = free === WOULD_BLOCK ? waiting(() => pool.acquire()) : free
      if (slot < 0) throw new Stopped()
      const ref = { pool: id, slot, row: 0, shape: [clips, ...spec.shape.slice(1)] }
      this.#held.add(ref)
      return ref
    })
    this.join({ tensors })
    return { tensors }
  }

  /** The filled part of a tensor's host memory. */
  view(item: Pick<Item, 'tensors'>, tensor: number): Float32Array {
    const ref = this.#ref(item, tensor)
    const { memory, spec } = this.shared.pools[ref.pool]!
    if (spec.type !== 'f32')
      throw new TypeError(`${this.instance.name}: tensor ${tensor} is of ${spec.type}, not f32`)
    const rowBytes = elements(ref.shape.slice(1)) * ELEMENT_BYTES.f32
    return new Float32Array(memory[ref.slot]!, ref.row * rowBytes, elements(ref.shape))
  }

  /** Where the filled part of a tensor lies. */
  address(item: Pick<Item, 'tensors'>, tensor: number): DeviceTensor {
    const ref = this.#ref(item, tensor)
    const { gpu, spec } = this.shared.pools[ref.pool]!
    if (!gpu) throw new TypeError(`${this.instance.name}: tensor ${tensor} is not in device memory`)
    const rowBytes = elements(ref.shape.slice(1)) * ELEMENT_BYTES[spec.type]
    return {
      pointer: offset(gpu.pointers[ref.slot]!, ref.row * rowBytes),
      context: this.#contextOf(gpu.device),
      ready: gpu.ready[ref.slot]!,
      direct: gpu.direct[this.instance.device] ?? true,
    }
  }

  /** Which of the steps that this one reads from an item came from: that which made its tensors. */
  sourceOf(item: Pick<Item, 'tensors'>): number {
    const { plan, pools } = this.shared
    const { sources } = plan.steps[this.instance.step]!
    if (sources.length < 2) return 0
    return sources.indexOf(plan.instances[pools[this.#ref(item, 0).pool]!.instance]!.step)
  }

  #ref(item: Pick<Item, 'tensors'>, tensor: number): TensorRef {
    const ref = item.tensors[tensor]
    if (!ref) throw new RangeError(`${this.instance.name}: the item has no tensor ${tensor}`)
    return ref
  }

  #contextOf(device: number): DeviceContext {
    const own = this.gpu!.context
    if (device === own.index) return own
    let peer = this.#peers.get(device)
    if (!peer) {
      peer = retainContext(device)
      makeCurrent(own)
      this.#peers.set(device, peer)
    }
    return peer
  }

  /** What this worker's stream is asked from now on waits for those who read the slots of an item before, as it does after `allocate`. */
  join({ tensors }: Pick<Item, 'tensors'>): void {
    for (const { pool, slot } of tensors) {
      const { gpu } = this.shared.pools[pool]!
      if (gpu) for (const events of Object.values(gpu.done)) waitForEvent(this.gpu!.stream, events[slot]!)
    }
  }

  /** Waits until this worker's stream has done all that it was asked. */
  synchronize(): void {
    if (this.gpu) synchronizeStream(this.gpu.stream)
  }

  /** What this worker's stream is asked from now on waits until the items' tensors are filled. */
  await(items: readonly Item[]): void {
    for (const { pool, slot } of items.flatMap(item => item.tensors)) {
      const { gpu } = this.shared.pools[pool]!
      if (gpu) waitForEvent(this.gpu!.stream, gpu.ready[slot]!)
    }
  }

  /** The item is on its way: its slots belong to as many who take it, or parts of it. */
  handOn(whole: Item, takers = 1): void {
    for (const ref of whole.tensors) {
      const { gpu } = this.shared.pools[ref.pool]!
      if (gpu) recordEvent(gpu.ready[ref.slot]!, this.gpu!.stream)
      this.#held.delete(ref)
      for (let extra = 1; extra < takers; extra++) this.#pools[ref.pool]!.retain(ref.slot)
    }
  }

  /** This worker has asked its stream for all that reads the item: its slots are free once that is done. */
  release(item: Item): void {
    for (const { pool, slot } of item.tensors) {
      const done = this.shared.pools[pool]!.gpu?.done[this.instance.id]
      if (done) recordEvent(done[slot]!, this.gpu!.stream)
      this.#pools[pool]!.release(slot)
    }
  }

  /** An item that this worker has handed on goes nowhere. */
  takeBack(item: Item): void {
    // Whoever fills a slot next waits for its readers, and this one had none.
    if (this.gpu && item.tensors.length > 0) synchronizeStream(this.gpu.stream)
    this.release(item)
  }

  /** Of an item that this worker has taken, only these cuts go on. */
  cut(item: Item, kept: readonly Item[]): void {
    if (kept.length === 0) {
      this.await([item])
      this.release(item)
      return
    }
    for (const { pool, slot } of item.tensors)
      for (let extra = 1; extra < kept.length; extra++) this.#pools[pool]!.retain(slot)
  }

  /** Gives back what a failed call allocated and did not emit. */
  releaseHeld(): void {
    // Another worker may fill the slot next, on another stream.
    if (this.#held.size > 0 && this.gpu) synchronizeStream(this.gpu.stream)
    for (const { pool, slot } of this.#held) this.#pools[pool]!.release(slot)
    this.#held.clear()
  }

  close(): void {
    for (const peer of this.#peers.values()) releaseContext(peer)
    this.#peers.clear()
  }
}

/** Where what a step says of requests and of the run goes. */
interface Reports {
  ledger: Ledger
  ends: Ends
  trace: ThreadTrace
  calls: CallNote
  /** Where what GPUs do is recorded. */
  work?: GpuCalls
  tell(message: WorkerMessage): void
  team?: Team
}

/** Runs `body` while no other thread of the run does so for this device. @throws {Stopped} */
function aloneOn<T>({ tuning }: SharedRun, device: number, calls: CallNote, body: () => T): T {
  const turn = new SlotPool(tuning[device]!)
  const slot = calls.pause(() => turn.acquire())
  if (slot < 0) throw new Stopped()
  try {
    return body()
  } finally {
    turn.release(slot)
  }
}

/** Which of the run's threads this is, counting those of instances. */
export const threadOf = ({ plan }: SharedRun, { id }: Instance, worker: number): number =>
  plan.instances.slice(0, id).reduce((sum, { workers }) => sum + workers, worker)

/** All threads of a plan's instances, as `threadOf` numbers them. */
export const threadsOf = ({ instances }: Pick<Plan, 'instances'>): ThreadFacts[] =>
  instances.flatMap(({ name, step, workers }) =>
    Array.from({ length: workers }, (_, worker) => ({
      name: workers === 1 ? name : `${name}, worker ${worker}`,
      step,
    })),
  )

/** What a step instance sees of the run. */
export function stepContext(
  memory: InstanceMemory,
  { ledger, ends, trace, calls, work, tell, team }: Reports,
  worker: number,
): StepContext {
  const { shared, instance } = memory
  const requestVideo = new Uint32Array(shared.requestVideo)
  const copies = new CopyCounts(shared.copies, threadOf(shared, instance, worker))
  const step = shared.plan.steps[instance.step]!
  const network = step.network === undefined ? undefined : shared.networks[step.network]
  return {
    name: instance.name,
    step: instance.step,
    device: instance.device,
    worker,
    decoders: instance.decoders,
    options: instance.options,
    settings: { ...shared.settings, architecture: network?.architecture, network },
    inputs: instance.inputs,
    outputs: instance.outputs,
    batch: instance.batch,
    sources: Math.max(1, step.sources.length),
    requests: requestVideo.length,
    video: request => shared.videos[requestVideo[request]!]!,
    arrived: request => ledger.intended(request),
    gpu: memory.gpu && {
      context: memory.gpu.context,
      stream: memory.gpu.stream,
      decoders: shared.decoders[instance.device],
      address: (item, tensor) => memory.address(item, tensor),
      copied: (path, bytes) => copies.add(path, bytes),
      alone: measure => aloneOn(shared, instance.device, calls, measure),
      ...(work && {
        graphs: graphs => {
          for (const { exec, ...parts } of graphs) {
            const facts = work.describe(exec, {
              step: instance.step,
              clips: parts.clips,
              launches: [...parts.launches],
              last: parts.last,
            })
            tell({ type: 'graph', facts })
          }
        },
      }),
    },
    ...(team && { team }),
    view: (item, tensor) => memory.view(item, tensor),
    hasRoom: () => memory.hasRoom(),
    allocate: clips =>
      memory.allocate(clips, wait => trace.timed('wait for a slot', () => calls.pause(wait))),
    remark: message => tell({ type: 'note', message }),
    warn: message => tell({ type: 'warning', message }),
    note: (request: number, facts: RequestFacts) => ledger.note(request, facts),
    awaits: request => ends.awaits(request, instance.step),
    timed: (what, work) => trace.timed(what, work),
    keep: (request, part, json) => ledger.keep(request, part, instance.step, json),
  }
}
