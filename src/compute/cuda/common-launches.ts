import type { DevicePointer } from '../../../ffi/cuda/types.ts'
import type { BackendContext, LastLaunch, Launch } from './backend.ts'
import { NetworkKernels } from './kernels.ts'
import { type PickOperation, POOLED } from './program.ts'
import type { DeviceWeights } from './weights.ts'

/** The operations that are no convolutions, by the kernels of network.ptx: for backends that do them one by one. */
export class CommonLaunches {
  readonly #kernels = new NetworkKernels()

  constructor(readonly on: BackendContext) {}

  pick({ input, output, step }: PickOperation, clips: number): Launch {
    const { program, stream } = this.on
    const [from, to] = [program.values.get(input)!, program.values.get(output)!]
    return {
      name: output,
      how: 'pick',
      run: () => this.#kernels.pick(this.on.at(input), from, step, this.on.at(output), to, clips, stream),
    }
  }

  /** Means over the places of the program's output. */
  pool(clips: number): Launch {
    const { program, stream } = this.on
    const layout = program.values.get(program.output)!
    return {
      name: POOLED,
      how: 'pool',
      run: () => this.#kernels.pool(this.on.at(program.output), layout, this.on.at(POOLED), clips, stream),
    }
  }

  /** Logits of what `pool` makes. */
  linear({ weight, bias }: NonNullable<DeviceWeights['linear']>, clips: number): LastLaunch {
    const { program, stream } = this.on
    const { padded } = program.values.get(program.output)!
    const { classes } = program.linear!
    return {
      name: 'linear',
      how: 'linear',
      run: (output: DevicePointer) =>
        this.#kernels.linear(this.on.at(POOLED), padded, weight, bias, output, classes, clips, stream),
    }
  }

  close(): void {
    this.#kernels.close()
  }
}
