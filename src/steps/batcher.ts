import * as v from 'valibot'
import { copy } from '../../ffi/cuda/memory.ts'
import { offset } from '../../ffi/cuda/types.ts'
import { UsageError } from '../errors.ts'
import type { Item } from '../queue/item.ts'
import { tensorBytes } from '../queue/tensor.ts'
import { GpuTransfer } from './gpu-transfer.ts'
import { CPU, type Emit, type StepContext, type StepInstance, type StepKind } from './step.ts'

const batcherOptions = v.strictObject({
  /** Items that are joined to one. */
  batch: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1, 'batch must be at least 1')), 1),
  /** Clips of one joined item at most; an item that has more goes alone. */
  max_clips: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1, 'max_clips must be at least 1'))),
  /** How long the first item of a partial batch waits, in milliseconds; the run's setting by default. */
  max_batch_delay_ms: v.optional(v.pipe(v.number(), v.minValue(0, 'a delay must be at least 0'))),
})
type BatcherOptions = v.InferOutput<typeof batcherOptions>

const rowsOf = ({ shares }: Item): number => shares.reduce((sum, { clips }) => sum + clips, 0)

/** Items in their order, in as few groups as hold `most` rows each; an item that has more is a group by itself. */
export function groupsWithin(items: readonly Item[], most: number): Item[][] {
  const groups: Item[][] = []
  let rows = Number.POSITIVE_INFINITY
  for (const item of items) {
    rows += rowsOf(item)
    if (rows <= most) groups.at(-1)!.push(item)
    else {
      groups.push([item])
      rows = rowsOf(item)
    }
  }
  return groups
}

class Batcher implements StepInstance {
  readonly #transfer: GpuTransfer | undefined

  constructor(readonly context: StepContext) {
    const { gpu, inputs } = context
    if (gpu) this.#transfer = new GpuTransfer(gpu, Math.max(0, ...inputs.map(tensorBytes)))
  }

  run(items: readonly Item[], emit: Emit): void {
    for (const group of groupsWithin(items, this.context.outputs[0]!.shape[0]!)) this.#joinAll(group, emit)
  }

  #joinAll(items: readonly Item[], emit: Emit): void {
    const shares = items.flatMap(item => item.shares)
    const rows = shares.reduce((sum, share) => sum + share.clips, 0)
    const out: Item = { shares, ...this.context.allocate(rows), values: items.flatMap(item => item.values) }
    out.tensors.forEach((_, tensor) => {
      if (this.context.outputs[tensor]!.memory === 'device') this.#joinOnGpu(items, out, tensor)
      else this.context.timed('copy', () => this.#join(items, out, tensor))
    })
    emit(out)
  }

  #join(items: readonly Item[], out: Item, tensor: number): void {
    const target = this.context.view(out, tensor)
    let at = 0
    for (const item of items) {
      const part = this.context.view(item, tensor)
      target.set(part, at)
      at += part.length
    }
  }

  #joinOnGpu(items: readonly Item[], out: Item, tensor: number): void {
    const gpu = this.context.gpu!
    const target = gpu.address(out, tensor)
    let at = 0
    for (const item of items) {
      const source = gpu.address(item, tensor)
      const { shape } = item.tensors[tensor]!
      const bytes = tensorBytes({ ...this.context.outputs[tensor]!, shape })
      const to = offset(target.pointer, at)
      if (source.context.index === target.context.index) {
        copy(to, source.pointer, bytes, gpu.stream)
        gpu.copied('gather', bytes)
      } else this.#transfer!.copy(to, source, bytes, gpu.stream)
      at += bytes
    }
  }

  close(): void {
    this.#transfer?.close()
  }
}

/** Joins several videos' tensors to one item, whose result goes back to each of them. */
export const batcher: StepKind = {
  names: ['batcher', 'batcher.Batcher', 'Batcher'],
  options: batcherOptions,
  shape(options, inputs, _settings, { device, resident }) {
    const { batch, max_clips = Number.POSITIVE_INFINITY } = options as BatcherOptions
    if (inputs.length === 0) throw new UsageError('a batcher joins tensors, and none arrive')
    if (inputs.some(({ memory }) => memory === 'device') && (device === CPU || !resident))
      throw new UsageError(
        'tensors on GPUs are joined on GPUs: this step and the one after it must run there',
      )
    return {
      outputs: inputs.map(spec => {
        const [clips, ...rest] = spec.shape as [number, ...number[]]
        return { ...spec, shape: [Math.max(clips, Math.min(clips * batch, max_clips)), ...rest] }
      }),
      batch,
    }
  },
  create: context => new Batcher(context),
}
