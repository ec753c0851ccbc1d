import type { Outcome, Step, StepContext, StepPlan, StepShape, Tensor } from 'rnb'

const options = { digits: 4 }

/** How much moves in each clip: the mean of |pixel - the same pixel one frame before|. */
export default class MotionEnergy implements Step {
  static readonly options = options

  static shape({ inputs: [clips] }: StepPlan): StepShape {
    if (clips?.memory !== 'host' || clips.shape.length !== 5)
      throw new Error('it takes clips of [clips, 3, frames, height, width] from a loader on the CPU')
    return {} // No tensors leave it.
  }

  constructor(readonly context: StepContext<typeof options>) {}

  run([clips]: readonly Tensor[]): Outcome {
    if (clips?.memory !== 'host') throw new TypeError('no clips')
    const [count, channels, frames, height, width] = clips.shape as [number, number, number, number, number]
    const frame = height * width
    const energy = Array.from({ length: count }, (_, clip) => {
      let sum = 0
      for (let channel = clip * channels; channel < (clip + 1) * channels; channel++) {
        const first = channel * frames * frame
        for (let i = first + frame; i < first + frames * frame; i++)
          sum += Math.abs(clips.data[i]! - clips.data[i - frame]!)
      }
      return Number((sum / (channels * (frames - 1) * frame)).toFixed(this.context.options.digits))
    })
    return { values: [{ energy }] }
  }
}
