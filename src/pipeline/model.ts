import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { type Architecture, CLIP_FRAMES, CLIP_SIZE } from '../../models/architecture.ts'
import type { NetworkSource } from '../../models/load.ts'
import { UsageError } from '../errors.ts'
import { network as networkKind } from '../steps/network.ts'
import { single } from '../steps/single.ts'
import { CPU, type RunSettings, type StepOptions } from '../steps/step.ts'
import { isModulePath } from '../steps/user/module.ts'
import type { Config, ConfigGroup } from './config.ts'

interface Place {
  path: string
  options: StepOptions
}

const groupsOf = (
  config: Config,
  wanted: (kind: string, step: number) => boolean,
): { group: ConfigGroup; path: string }[] =>
  config.steps.flatMap((step, s) =>
    wanted(step.kind.names[0], s)
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
        `${different.path}.${key} is ${JSON.stringify(different.options[key])}; a network, and the clips of a run, are the same in all their steps`,
    )
  return first?.options[key] as T | undefined
}

const placesOf = (config: Config, wanted: (kind: string, step: number) => boolean): Place[] =>
  groupsOf(config, wanted).map(({ group, path }) => ({ path, options: group.options }))

/** Frames and size of the clips that the pipeline cuts; RnB's where no step says. */
export function clipOf(config: Config): RunSettings['clip'] {
  // Keys of the user's own steps mean what these steps want, but for one that makes the clips.
  const places = placesOf(config, (kind, step) => step === 0 || !isModulePath(kind))
  return {
    frames: agreed<number>(config, places, 'clip_frames') ?? CLIP_FRAMES,
    size: agreed<number>(config, places, 'size') ?? CLIP_SIZE,
  }
}

/** A file of the run's or of a step's own. */
interface Owned {
  path: string | undefined
  own: boolean
}

/** The nearest step that runs a network: the step itself, or the first on the way back to the client. */
function networkStep(config: Config, step: number): number | undefined {
  if (runsNetwork(config.steps[step]!.kind.names[0])) return step
  const source = config.steps[step]!.sources[0]
  return source === undefined ? undefined : networkStep(config, source)
}

/** The step with the first layers of a step's network. */
function firstOfNetwork(config: Config, step: number): number {
  const source = config.steps[step]!.sources[0]
  const before = source === undefined ? undefined : networkStep(config, source)
  return before === undefined ? step : firstOfNetwork(config, before)
}

const placesOfStep = (config: Config, step: number): Place[] =>
  config.steps[step]!.groups.map((group, g) => ({
    path: `pipeline[${step}].queue_groups[${g}]`,
    options: group.options,
  }))

/** A file that a network step names, or the step with the layers before its own; else the run's. */
function fileOf(config: Config, step: number, key: 'weights' | 'labels', ofRun: string | undefined): Owned {
  const path = agreed<string>(config, placesOfStep(config, step), key)
  if (path !== undefined) return { path: resolve(config.folder, path), own: true }
  const source = config.steps[step]!.sources[0]
  const before = source === undefined ? undefined : networkStep(config, source)
  return before === undefined ? { path: ofRun, own: false } : fileOf(config, before, key, ofRun)
}

/** The networks that a pipeline asks for, each once, and which of them each step runs. */
export interface Networks {
  sources: NetworkSource[]
  ofStep: (number | undefined)[]
}

/**
 * Finds out which networks a pipeline runs: checkpoints', or such with weights drawn from the seed. Steps that follow
 * each other run layers of one network; branches may have their own.
 * @param weights checkpoint of the steps that name none
 * @throws {UsageError} if steps of one network ask for different ones
 */
export function networksOf(config: Config, weights: string | undefined, seed: number): Networks {
  const files = config.steps.map((step, s) =>
    runsNetwork(step.kind.names[0]) ? fileOf(config, s, 'weights', weights) : undefined,
  )
  const keys = files.map((file, s) => file && `${firstOfNetwork(config, s)} ${file.path ?? ''}`)
  const sources: NetworkSource[] = []
  const known = new Map<string, number>()
  const ofStep = keys.map((key, s) => {
    if (key === undefined) return undefined
    const places = keys.flatMap((other, o) => (other === key ? placesOfStep(config, o) : []))
    const classes = agreed<number>(config, places, 'num_classes')
    const blocks = agreed<Architecture['blocks']>(config, places, 'layer_sizes')
    const source: NetworkSource = {
      weights: files[s]!.path,
      seed,
      architecture: {
        ...(classes === undefined ? {} : { classes }),
        ...(blocks === undefined ? {} : { blocks }),
      },
    }
    const text = JSON.stringify(source)
    if (!known.has(text)) known.set(text, sources.push(source) - 1)
    return known.get(text)!
  })
  return { sources, ofStep }
}

/**
 * File with the names of the classes that a last step gives: of its network, else the run's, which are those of the
 * run's weights.
 */
export function labelsOf(config: Config, leaf: number, labels: string | undefined): string | undefined {
  const step = networkStep(config, leaf)
  if (step === undefined) return labels
  const file = fileOf(config, step, 'labels', labels)
  return file.own || !fileOf(config, step, 'weights', undefined).own ? file.path : undefined
}

/** Which network a step's results come from: an index as in `Networks.ofStep`. */
export function networkAt(config: Config, { ofStep }: Networks, step: number): number | undefined {
  const at = networkStep(config, step)
  return at === undefined ? undefined : ofStep[at]
}

/** Threads for each network on the CPU, such that all together use the cores that this process may use. */
export function threadsPerNetwork(config: Config, onCpu: boolean): number {
  const instances = groupsOf(config, runsNetwork).flatMap(({ group }) => group.gpus)
  const sharing = onCpu ? instances.length : instances.filter(gpu => gpu === CPU).length
  return Math.max(1, Math.floor(availableParallelism() / Math.max(1, sharing)))
}
