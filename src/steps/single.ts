import * as v from 'valibot'
import { LAYERS } from '../../models/architecture.ts'
import type { NetworkExecutor } from '../compute/executor.ts'
import { UsageError } from '../errors.ts'
import type { Item } from '../queue/item.ts'
import { elements } from '../queue/tensor.ts'
import { openVideo } from '../video/open.ts'
import { type ClipOptions, clipEntries, weightsFit } from './clip-options.ts'
import { ClipReader, clipShape } from './clip-reader.ts'
import { clipsOf } from './clips.ts'
import { GpuSingle } from './gpu-single.ts'
import { type NetworkOptions, networkEntries, ordered } from './network.ts'
import { createExecutor, describeNetwork } from './network-model.ts'
import { CPU, type Emit, type StepContext, type StepInstance, type StepKind } from './step.ts'

const singleOptions = v.pipe(v.strictObject({ ...clipEntries, ...networkEntries }), weightsFit(), ordered())
type SingleOptions = ClipOptions & NetworkOptions

class Single implements StepInstance {
  readonly #reader: ClipReader
  readonly #executor: NetworkExecutor
  readonly #clips: Float32Array
  readonly #row: number

  constructor(readonly context: StepContext) {
    const options = context.options as SingleOptions
    const shape = clipShape(options)
    this.#reader = new ClipReader(options, context.timed)
    this.#executor = createExecutor(context, [{ shape, type: 'f32' }])
    this.#clips = new Float32Array(elements(shape))
    this.#row = elements(shape.slice(1))
  }

  warmUp(): void {
    this.#executor.run(
      this.#clips.subarray(0, this.#row),
      1,
      new Float32Array(elements(this.#executor.outputShape(1))),
    )
  }

  async run(items: readonly Item[], emit: Emit): Promise<void> {
    for (const item of items) {
      const share = item.shares[0]!
      const video = await this.context.timed('open', () => openVideo(this.context.video(share.request)))
      try {
        const options = this.context.options as SingleOptions
        const clips = clipsOf(video, options, this.context.settings.seed, share.request)
        const input = this.#clips.subarray(0, clips.length * this.#row)
        const facts = await this.context.timed('decode', () => this.#reader.read(video, clips, input))
        this.context.note(share.request, { clips: clips.length, ...facts })
        const out: Item = {
          shares: [{ ...share, clips: clips.length }],
          ...this.context.allocate(clips.length),
          values: [],
        }
        this.context.timed('compute', () =>
          this.#executor.run(input, clips.length, this.context.view(out, 0)),
        )
        emit(out)
      } finally {
        video.close()
      }
    }
  }

  close(): void {
    this.#reader.close()
    this.#executor.close()
  }
}

/** Loader and network in one step: the client's videos -> logits [clips, classes]. */
export const single: StepKind = {
  names: ['single', 'models.r2p1d.model.R2P1DSingleStep', 'R2P1DSingleStep'],
  options: singleOptions,
  shape(options, _inputs, settings, { device }) {
    const own = options as SingleOptions
    const alone = { ...settings, batch: 1 }
    const onCpu = { device: CPU, resident: false }
    const output = describeNetwork(own, [{ shape: clipShape(own), type: 'f32' }], alone, onCpu)
    if (device === CPU) return { outputs: [output] }
    if (own.start_index !== 1 || own.end_index !== LAYERS)
      throw new UsageError('a single step on a GPU runs the whole network: start_index 1, end_index 5')
    return { outputs: [output], decoders: 1 }
  },
  create: context => (context.gpu ? new GpuSingle(context) : new Single(context)),
}
