import { releaseContext, retainContext } from '../../ffi/cuda/context.ts'
import { Owner } from '../../ffi/cuda/owner.ts'
import { createStream, destroyStream, synchronizeStream } from '../../ffi/cuda/stream.ts'
import { KernelCounters } from '../../ffi/cupti/counters.ts'
import { createCudaExecutor } from '../compute/cuda/create.ts'
import { UsageError } from '../errors.ts'
import { countersOfKernels, type LaunchCounters, METRICS } from '../profile/metrics.ts'
import type { NetworkOptions } from '../steps/network.ts'
import { CPU } from '../steps/step.ts'
import type { RunFlags } from './arguments.ts'
import { EXIT } from './exit.ts'
import { prepare } from './prepare.ts'

/**
 * `rnb profile-counters`: counters of each launch of one step's network, for one number of clips, as a line of JSON. A
 * command of its own, since reading counters changes how a process's GPU works, and `rnb profile` is to say what it knows
 * whatever becomes of it.
 */
export async function profileCounters(
  flags: RunFlags,
  { step, clips }: { step: number; clips: number },
): Promise<number> {
  const { plan, settings, networks } = await prepare({ ...flags, share_gpu: true })
  const instance = plan.instances.find(one => one.step === step && one.device !== CPU)
  const number = plan.steps[step]?.network
  if (!instance || number === undefined)
    throw new UsageError(`profile-counters: step ${step} runs no network on a GPU`)
  const options = instance.options as NetworkOptions
  const owner = new Owner()
  try {
    const context = owner.own(retainContext(instance.device), releaseContext)
    const stream = owner.own(createStream(), destroyStream)
    const { executor } = createCudaExecutor({
      network: networks[number]!,
      startIndex: options.start_index,
      endIndex: options.end_index,
      frames: settings.clip.frames,
      size: settings.clip.size,
      maxClips: clips,
      counts: [clips],
      device: instance.device,
      stream,
      precision: options.precision,
      kernels: options.kernels,
    })
    owner.own(executor, made => made.close())
    const counters = owner.own(new KernelCounters(context, Object.values(METRICS)), made => made.close())
    const launches: LaunchCounters[] = []
    executor.each(clips, ({ name, how }, run) => {
      const kernels = counters.measure(() => {
        run()
        synchronizeStream(stream)
      })
      const read = countersOfKernels(kernels)
      if (read) launches.push({ name, how, counters: read })
    })
    process.stdout.write(`${JSON.stringify(launches)}\n`)
    return EXIT.done
  } finally {
    owner.close()
  }
}
