import { UsageError } from '../errors.ts'
import type { Item } from '../queue/item.ts'
import { type ClipOptions, clipOptions, type LoaderOptions } from './clip-options.ts'
import { ClipReader, clipShape } from './clip-reader.ts'
import { helpLoading, loadClips, type ReadClips, type ReadFacts } from './clips.ts'
import { gpuClipShape } from './gpu-clips.ts'
import { GpuLoader } from './gpu-loader.ts'
import { CPU, type Emit, type Piece, type StepContext, type StepInstance, type StepKind } from './step.ts'

class Loader implements StepInstance {
  readonly #reader: ClipReader
  readonly #read: ReadClips = (video, clips, out) =>
    this.#reader.read(video, clips, this.context.view(out, 0))

  constructor(readonly context: StepContext) {
    this.#reader = new ClipReader(context.options as ClipOptions, context.timed)
  }

  async run(items: readonly Item[], emit: Emit): Promise<void> {
    for (const item of items) await loadClips(this.context, item, emit, this.#read)
  }

  help(out: Item, piece: Piece): Promise<ReadFacts> {
    return helpLoading(this.context, out, piece, this.#read)
  }

  close(): void {
    this.#reader.close()
  }
}

/** Threads of a loader on a GPU that keep its decoding engines busy, where the file does not say. */
const GPU_IN_FLIGHT = 16

/** The client's videos -> clip tensors: [clips, 3, frames, size, size], or on a GPU as its networks take them. */
export const loader: StepKind = {
  names: ['loader', 'models.r2p1d.model.R2P1DLoader', 'R2P1DLoader'],
  options: clipOptions,
  shape(options, _inputs, _settings, { device, resident }) {
    const own = options as LoaderOptions
    if (device === CPU) {
      if (own.cpu_decoders !== undefined)
        throw new UsageError('cpu_decoders are threads beside those of a GPU; on the CPU, set in_flight')
      return {
        outputs: [{ shape: clipShape(own), type: 'f32' }],
        workers: own.in_flight ?? 1,
        team: own.share_clips,
      }
    }
    if (!resident)
      throw new UsageError(
        'a loader on a GPU feeds steps on GPUs; put it, or the step after it, where the other is',
      )
    const decoders = own.in_flight ?? GPU_IN_FLIGHT
    const shape = gpuClipShape(own)
    return {
      outputs: [{ shape, type: 'f16', memory: 'device' }],
      workers: decoders + (own.cpu_decoders ?? 0),
      decoders,
      team: own.share_clips,
    }
  },
  create: context => (context.gpu ? new GpuLoader(context) : new Loader(context)),
}
