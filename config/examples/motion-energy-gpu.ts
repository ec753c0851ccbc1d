import type { GpuKernel, Outcome, Step, StepContext, StepPlan, StepShape, Tensor } from 'rnb'
import ptx from './motion-energy.ptx' with { type: 'text' }

const options = { digits: 4 }
const COLOURS = 3
const BLOCKS = 8
const THREADS = 128

/** How much moves in each clip, as motion-energy.ts says it, of clips that stay on the GPU. */
export default class MotionEnergy implements Step {
  static readonly options = options

  static shape({ inputs: [clips] }: StepPlan): StepShape {
    if (clips?.memory !== 'device' || clips.type !== 'f16')
      throw new Error(
        'it takes float16 clips of [clips, frames, height, width, channels] from a loader on a GPU',
      )
    return {}
  }

  readonly #kernel: GpuKernel<['pointer', 'pointer', 'u32', 'u32']>
  readonly #partials: number

  constructor(readonly context: StepContext<typeof options>) {
    const most = context.inputs[0]!.shape[0]!
    this.#kernel = context.gpu!.load(ptx).kernel('motion_energy', ['pointer', 'pointer', 'u32', 'u32'])
    this.#partials = context.gpu!.allocate(4 * most * BLOCKS * THREADS)
  }

  run([clips]: readonly Tensor[]): Outcome {
    if (clips?.memory !== 'device') throw new TypeError('no clips on the GPU')
    // Of the channels, what follows red, green and blue is 0, and nothing moves there.
    const [count, frames, height, width, channels] = clips.shape as [number, number, number, number, number]
    const frame = height * width * channels
    const grid = { blocks: [BLOCKS, count, 1], threads: THREADS } as const
    this.#kernel.launch(grid, clips.pointer, this.#partials, (frames - 1) * frame, frame)
    const partials = new Float32Array(count * BLOCKS * THREADS)
    this.context.gpu!.download(this.#partials, partials)
    const compared = (frames - 1) * height * width * COLOURS
    const energy = Array.from({ length: count }, (_, clip) => {
      const own = partials.subarray(clip * BLOCKS * THREADS, (clip + 1) * BLOCKS * THREADS)
      return Number(
        (own.reduce((sum, part) => sum + part, 0) / compared).toFixed(this.context.options.digits),
      )
    })
    return { values: [{ energy }] }
  }
}
