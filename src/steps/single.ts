import * as v from 'valibot'
import type { NetworkExecutor } from '../compute/executor.ts'
import type { Item } from '../queue/item.ts'
import { elements } from '../queue/tensor.ts'
import { openVideo } from '../video/open.ts'
import { type ClipOptions, clipEntries, weightsFit } from './clip-options.ts'
import { ClipReader, clipShape } from './clip-reader.ts'
import { clipsOf } from './clips.ts'
import { type NetworkOptions, networkEntries, ordered } from './network.ts'
import { createExecutor, describeNetwork } from './network-model.ts'
import type { Emit, StepContext, StepInstance, StepKind } from './step.ts'

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
    this.#reader = new ClipReader(options)
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
      const video = await openVideo(this.context.video(share.request))
      try {
        const options = this.context.options as SingleOptions
        const clips = clipsOf(video, options, this.context.settings.seed, share.request)
        const input = this.#clips.subarray(0, clips.length * this.#row)
        const facts = await this.#reader.read(video, clips, input)
        this.context.note(share.request, { clips: clips.length, ...facts })
        const out: Item = {
          shares: [{ ...share, clips: clips.length }],
          ...this.context.allocate(clips.length),
          values: [],
        }
        this.#executor.run(input, clips.length, this.context.view(out, 0))
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
  shape(options, _inputs, settings) {
    const own = options as SingleOptions
    const { output, maxClips } = describeNetwork(own, [{ shape: clipShape(own), type: 'f32' }], {
      ...settings,
      batch: 1,
    })
    return { outputs: [{ shape: [maxClips, ...output], type: 'f32' }] }
  },
  create: context => new Single(context),
}
