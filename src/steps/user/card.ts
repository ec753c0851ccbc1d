import { monotonicNs } from '../../../ffi/libc.ts'
import { VideoError } from '../../errors.ts'
import type { Item } from '../../queue/item.ts'
import type { StepContext } from '../step.ts'
import type { Tensor, TimeCard } from './api.ts'
import { ModuleError } from './fault.ts'

/** The step that a card belongs to. */
export interface CardOwner {
  readonly file: string
  readonly context: StepContext
  /** An item's tensors as the module sees them. */
  tensors(item: Item, specs: StepContext['outputs']): Tensor[]
}

/** What goes with one call of `run`: the requests, and the slots that it takes. */
export class Card implements TimeCard {
  readonly requests: TimeCard['requests']
  #out: Pick<Item, 'tensors'> | undefined
  /** What `allocate` threw that is none of the module's doing: the run was stopped, say. */
  passing: unknown
  clips = 0

  constructor(
    readonly owner: CardOwner,
    readonly item: Item,
  ) {
    const { context } = owner
    const now = monotonicNs()
    this.requests = item.shares.map(({ request, part, parts, clips }) => ({
      id: request,
      video: context.video(request),
      part,
      parts,
      clips,
      ageMs: (now - context.arrived(request)) / 1e6,
    }))
  }

  allocate(clips: number): readonly Tensor[] {
    const { context } = this.owner
    if (this.#out) throw new RangeError('allocate() once a call of run()')
    const most = Math.min(...context.outputs.map(({ shape }) => shape[0]!))
    if (!(Number.isInteger(clips) && clips >= 1 && clips <= most))
      throw new RangeError(
        context.outputs.length === 0
          ? 'allocate(): shape() gave no outputs'
          : `allocate(${clips}): shape() said 1 to ${most} clips`,
      )
    const arrived = this.requests.reduce((sum, request) => sum + request.clips, 0)
    if (this.requests.length > 1 && clips !== arrived)
      throw new RangeError(`allocate(${clips}): an item of several requests keeps its ${arrived} clips`)
    this.clips = clips
    try {
      this.#out = context.allocate(clips)
    } catch (error) {
      this.passing = error
      throw error
    }
    return this.owner.tensors({ ...this.item, ...this.#out }, context.outputs)
  }

  refuse(message: string): Error {
    return new VideoError('refused', message)
  }

  /** The item that leaves. @throws {ModuleError} if it lacks its tensors */
  leaving(): Item {
    const { context, file } = this.owner
    const { shares, values } = this.item
    if (context.outputs.length === 0) return { shares, tensors: [], values }
    if (!this.#out) throw new ModuleError(`${file}: run() ended without card.allocate(clips) for its outputs`)
    const [share] = shares
    const own = shares.length === 1 ? [{ ...share!, clips: this.clips }] : shares
    return { shares: own, tensors: this.#out.tensors, values }
  }
}
