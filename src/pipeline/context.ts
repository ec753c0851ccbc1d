import type { Item, TensorRef } from '../queue/item.ts'
import { SlotPool } from '../queue/slots.ts'
import { ELEMENT_BYTES, elements } from '../queue/tensor.ts'
import type { Ledger } from '../results/ledger.ts'
import type { RequestFacts, StepContext } from '../steps/step.ts'
import type { Instance } from './plan.ts'
import type { SharedRun } from './shared.ts'

/** Unwinds a step that waits for something when the run is stopped. */
export class Stopped extends Error {
  override readonly name = 'Stopped'
}

/** Output slots and input views of one instance, and which slots it holds: the memory side of a step's context. */
export class InstanceMemory {
  readonly #pools: SlotPool[]
  readonly #own: number[]
  /** Slots that `allocate` gave and no emitted item carries yet. */
  readonly #held = new Set<TensorRef>()

  constructor(
    readonly shared: SharedRun,
    readonly instance: Instance,
  ) {
    this.#pools = shared.pools.map(pool => new SlotPool(pool.slots))
    this.#own = shared.pools.flatMap((pool, id) => (pool.instance === instance.id ? [id] : []))
  }

  /** One free slot for each output tensor, `clips` rows of it. @throws {Stopped} */
  allocate(clips: number): { tensors: TensorRef[] } {
    const tensors = this.#own.map(id => {
      const { spec } = this.shared.pools[id]!
      if (clips > spec.shape[0]!)
        throw new RangeError(
          `${clips} clips asked of a slot of ${spec.shape.join(' x ')} (${this.instance.name})`,
        )
      const slot = this.#pools[id]!.acquire()
      if (slot < 0) throw new Stopped()
      const ref = { pool: id, slot, row: 0, shape: [clips, ...spec.shape.slice(1)] }
      this.#held.add(ref)
      return ref
    })
    return { tensors }
  }

  /** The filled part of a tensor's memory. */
  view(item: Item, tensor: number): Float32Array {
    const ref = item.tensors[tensor]
    if (!ref) throw new RangeError(`${this.instance.name}: the item has no tensor ${tensor}`)
    const rowBytes = elements(ref.shape.slice(1)) * ELEMENT_BYTES.f32
    const memory = this.shared.pools[ref.pool]!.memory[ref.slot]!
    return new Float32Array(memory, ref.row * rowBytes, elements(ref.shape))
  }

  /** The items are on their way: the slots of `whole` belong to whoever takes these parts of it. */
  handOn(whole: Item, parts: readonly Item[] = [whole]): void {
    for (const ref of whole.tensors) {
      this.#held.delete(ref)
      for (let extra = 1; extra < parts.length; extra++) this.#pools[ref.pool]!.retain(ref.slot)
    }
  }

  release(item: Item): void {
    for (const { pool, slot } of item.tensors) this.#pools[pool]!.release(slot)
  }

  /** Gives back what a failed call allocated and did not emit. */
  releaseHeld(): void {
    for (const { pool, slot } of this.#held) this.#pools[pool]!.release(slot)
    this.#held.clear()
  }
}

/** What a step instance sees of the run. */
export function stepContext(memory: InstanceMemory, ledger: Ledger): StepContext {
  const { shared, instance } = memory
  const requestVideo = new Uint32Array(shared.requestVideo)
  return {
    name: instance.name,
    step: instance.step,
    device: instance.device,
    options: instance.options,
    settings: shared.settings,
    inputs: instance.inputs,
    outputs: instance.outputs,
    batch: instance.batch,
    video: request => shared.videos[requestVideo[request]!]!,
    view: (item, tensor) => memory.view(item, tensor),
    allocate: clips => memory.allocate(clips),
    note: (request: number, facts: RequestFacts) => ledger.note(request, facts),
  }
}
