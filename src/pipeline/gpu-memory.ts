import {
  type DeviceContext,
  enablePeerAccess,
  makeCurrent,
  releaseContext,
  retainContext,
} from '../../ffi/cuda/context.ts'
import { canAccessPeer } from '../../ffi/cuda/device.ts'
import { allocate, free } from '../../ffi/cuda/memory.ts'
import { Owner } from '../../ffi/cuda/owner.ts'
import { createEvent, destroyEvent } from '../../ffi/cuda/stream.ts'
import { type CUevent, type DevicePointer, offset } from '../../ffi/cuda/types.ts'
import { type TensorSpec, tensorBytes } from '../queue/tensor.ts'
import { DecoderPool, type DecoderPoolHandle } from '../video/nvdec/pool.ts'
import type { Instance, Plan } from './plan.ts'

/** The device side of a pool of slots; plain data, since addresses and events mean the same in all threads. */
export interface DevicePool {
  device: number
  /** Memory of each slot. */
  pointers: DevicePointer[]
  /** Of each slot: its producer has filled it. */
  ready: CUevent[]
  /** By consumer (an instance's id), of each slot: it has read it. Recorded before the slot's count falls. */
  done: Record<number, CUevent[]>
  /** By another GPU of a consumer: whether it reads this one's memory, so that nothing need pass through the host. */
  direct: Record<number, boolean>
}

const ALIGNMENT = 256

/** RNB_P2P=0 has GPUs that could reach each other's memory pass tensors through the host's, to compare or to get by. */
const peersAllowed = (): boolean => process.env.RNB_P2P !== '0'

/** The instances that may take what this one puts out. */
const consumersOf = (plan: Plan, { outQueues }: Instance): Instance[] =>
  plan.instances.filter(({ inQueue }) => outQueues.includes(inQueue))

/** Device memory and events of a run. The main thread makes them before there are workers, and frees them after. */
export class GpuMemory {
  readonly #owner = new Owner()
  readonly #contexts = new Map<number, DeviceContext>()
  readonly #decoders = new Map<number, DecoderPool>()
  /** By consuming and producing device. */
  readonly #direct = new Map<string, boolean>()

  constructor(readonly plan: Plan) {}

  /**
   * Slots of one output tensor of an instance.
   * @throws {NativeError} where the GPU has too little memory: what for, how much there was, what to lower
   */
  pool(instance: Instance, spec: TensorSpec): DevicePool {
    this.#use(instance.device)
    const stride = Math.ceil(tensorBytes(spec) / ALIGNMENT) * ALIGNMENT
    const purpose = {
      what: `${instance.slots} output slots of ${instance.name}`,
      lower: 'num_shared_tensors of that step',
    }
    const base = this.#own(instance.device, allocate(stride * instance.slots, purpose), free)
    const slots = Array.from({ length: instance.slots }, (_, slot) => slot)
    const ready = slots.map(() => this.#event(instance.device))
    const done: Record<number, CUevent[]> = {}
    const direct: Record<number, boolean> = {}
    for (const { id, device } of consumersOf(this.plan, instance)) {
      this.#use(device)
      done[id] = slots.map(() => this.#event(device))
      if (device !== instance.device) direct[device] = this.#reach(device, instance.device)
    }
    const pointers = slots.map(slot => offset(base, slot * stride))
    return { device: instance.device, pointers, ready, done, direct }
  }

  /** How tensors get from GPU to GPU, in words. */
  linkNotes(): string[] {
    return [...this.#direct].map(
      ([link, direct]) => `${link}: ${direct ? 'peer to peer' : 'through pinned memory of the host'}`,
    )
  }

  /** Lets a GPU, which must be this thread's, read another's memory. @returns whether it can */
  #reach(device: number, other: number): boolean {
    const link = `gpu ${other} to gpu ${device}`
    const known = this.#direct.get(link)
    if (known !== undefined) return known
    const direct = peersAllowed() && canAccessPeer(device, other)
    if (direct) enablePeerAccess(this.#contexts.get(other)!)
    this.#direct.set(link, direct)
    return direct
  }

  /** Room for the decoders of each GPU: as many as its instances keep busy. */
  decoderPools(): Record<number, DecoderPoolHandle> {
    const pools: Record<number, DecoderPoolHandle> = {}
    for (const { device } of this.plan.instances.filter(instance => instance.decoders > 0)) {
      if (pools[device]) continue
      this.#use(device)
      const mine = this.plan.instances.filter(instance => instance.device === device)
      const pool = new DecoderPool(DecoderPool.create(mine.reduce((sum, { decoders }) => sum + decoders, 0)))
      this.#decoders.set(
        device,
        this.#own(device, pool, made => made.close()),
      )
      pools[device] = pool.handle
    }
    return pools
  }

  /** What the decoders of each GPU came to, in words. */
  decoderNotes(): string[] {
    return [...this.#decoders].map(([device, { counts }]) => {
      const { made, reused, reconfigured, evicted } = counts
      return `NVDEC decoders of gpu ${device}: ${made} made, ${reused} times reused (${reconfigured} with another size), ${evicted} evicted`
    })
  }

  /** Frees everything, and lets go of the devices. No worker may be left. */
  close(): void {
    this.#owner.close()
  }

  #event(device: number): CUevent {
    return this.#own(device, createEvent('order'), destroyEvent)
  }

  /** Takes over something of a device, to be freed with it as this thread's. */
  #own<T>(device: number, made: T, free: (made: T) => void): T {
    return this.#owner.own(made, m => {
      this.#use(device)
      free(m)
    })
  }

  /** Makes a device this thread's: events and memory made from now on are its own. */
  #use(device: number): void {
    const known = this.#contexts.get(device)
    if (known) makeCurrent(known)
    else this.#contexts.set(device, this.#owner.own(retainContext(device), releaseContext))
  }
}
