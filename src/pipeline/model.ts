import { cpus } from 'node:os'
import { type Architecture, CLIP_FRAMES, CLIP_SIZE } from '../../models/architecture.ts'
import type { NetworkSource } from '../../models/load.ts'
import { UsageError } from '../errors.ts'
import { network as networkKind } from '../steps/network.ts'
import { single } from '../steps/single.ts'
import { CPU, type RunSettings, type StepOptions } from '../steps/step.ts'
import type { Config, ConfigGroup } from './config.ts'

interface Place {
  path: string
  options: StepOptions
}

const groupsOf = (
  config: Config,
  wanted: (kind: string) => boolean,
): { group: ConfigGroup; path: string }[] =>
  config.steps.flatMap((step, s) =>
    wanted(step.kind.names[0])
      ? step.groups.map((group, g) => ({ group, path: `pipeline[${s}].queue_groups[${g}]` }))
      : [],
  )

const runsNetwork = (kind: string) => kind === networkKind.names[0] || kind === single.names[0]

/** The value that a key has in all these places, or undefined if it stands in none. @throws {UsageError} if they differ */
function agreed<T>(config: Config, places: readonly Place[], key: string): T | undefined {
  const set = places.filter(({ options }) => options[key] !== undefined)
  const [first, ...others] = set
  const different = others.find(
    ({ options }) => JSON.stringify(options[key]) !== JSON.stringify(first!.options[key]),
  )
  if (different)
    throw new UsageError(
      `${config.file ?? config.name}: ${first!.path}.${key} is ${JSON.stringify(first!.options[key])} and ` +
        `${different.path}.${key} is ${JSON.stringify(different.options[key])}; one run has one network and one kind of clip`,
    )
  return first?.options[key] as T | undefined
}

const placesOf = (config: Config, wanted: (kind: string) => boolean): Place[] =>
  groupsOf(config, wanted).map(({ group, path }) => ({ path, options: group.options }))

/** Frames and size of the clips that the pipeline cuts; RnB's where no step says. */
export function clipOf(config: Config): RunSettings['clip'] {
  const places = placesOf(config, () => true)
  return {
    frames: agreed<number>(config, places, 'clip_frames') ?? CLIP_FRAMES,
    size: agreed<number>(config, places, 'size') ?? CLIP_SIZE,
  }
}

/**
 * The network that a pipeline asks for: a checkpoint's, or one with weights drawn from the seed.
 * @returns undefined if no step runs one
 */
export function networkSource(
  config: Config,
  weights: string | undefined,
  seed: number,
): NetworkSource | undefined {
  const places = placesOf(config, runsNetwork)
  if (places.length === 0) return undefined
  const classes = agreed<number>(config, places, 'num_classes')
  const blocks = agreed<Architecture['blocks']>(config, places, 'layer_sizes')
  return {
    weights,
    seed,
    architecture: {
      ...(classes === undefined ? {} : { classes }),
      ...(blocks === undefined ? {} : { blocks }),
    },
  }
}

/** Threads for each network on the CPU, such that all together use the host's cores. */
export function threadsPerNetwork(config: Config, onCpu: boolean): number {
  const instances = groupsOf(config, runsNetwork).flatMap(({ group }) => group.gpus)
  const sharing = onCpu ? instances.length : instances.filter(gpu => gpu === CPU).length
  return Math.max(1, Math.floor(cpus().length / Math.max(1, sharing)))
}
