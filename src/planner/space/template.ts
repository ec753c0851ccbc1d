import { UsageError } from '../../errors.ts'
import { type Config, checkConfig } from '../../pipeline/config.ts'
import type { Registry } from '../../pipeline/registry.ts'
import { WIRING_KEYS } from '../../pipeline/schema.ts'
import { CPU } from '../../steps/step.ts'
import type { PipelineFile } from '../types.ts'

/** A step of a pipeline with nothing said of where it runs and what it is connected to. */
export interface BaseStep {
  /** As the file has it. */
  model: string
  /** This project's name of the kind. */
  kind: string
  name?: string
  /** Options of its kind, as the file has them. */
  options: Readonly<Record<string, unknown>>
  /** Indices of the steps that it reads from. */
  sources: readonly number[]
  /** Output slots that the file asks for. */
  slots?: number
  /** Whether the file has it on GPUs. */
  onGpus: boolean
}

/** What of a pipeline stays whatever the plan: its steps, without how these are placed, cut and connected. */
export interface Template {
  head: Omit<PipelineFile, 'pipeline'>
  steps: BaseStep[]
  /** Whether the file joins small videos by a batcher behind the first step, and lets large ones pass: a plan may do so, too. */
  batcher: boolean
}

const OPTIONS_OF_PLANS: Readonly<Record<string, readonly string[]>> = {
  loader: ['in_flight', 'cpu_decoders', 'share_clips'],
  'synthetic-loader': ['in_flight', 'share_clips'],
}

const NO_OPTIONS = new Set(['model', 'name', 'inputs', 'queue_groups'])

/** Options that a file writes for a step, without those that are the plan's to choose. */
function optionsOf(file: PipelineFile, step: number, kind: string): Record<string, unknown> {
  const { queue_groups: groups, ...own } = file.pipeline[step]!
  const left = new Set([...WIRING_KEYS, ...NO_OPTIONS, ...(OPTIONS_OF_PLANS[kind] ?? [])])
  const options = groups.map(group =>
    Object.fromEntries(Object.entries({ ...own, ...group }).filter(([key]) => !left.has(key))),
  )
  const texts = options.map(of => JSON.stringify(Object.entries(of).sort()))
  if (new Set(texts).size > 1)
    throw new UsageError(
      `plan: the groups of pipeline[${step}] (${kind}) have different options; give all of the step's the same, the plan makes groups itself`,
    )
  return options[0]!
}

function baseStep(file: PipelineFile, config: Config, step: number): BaseStep {
  const { kind, name, sources, groups } = config.steps[step]!
  const written = file.pipeline[step]!
  const slots = [written, ...written.queue_groups].flatMap(({ num_shared_tensors: count }) => count ?? [])
  return {
    model: written.model,
    kind: kind.names[0],
    ...(name !== undefined && { name }),
    options: optionsOf(file, step, kind.names[0]),
    sources: [...sources],
    ...(slots.length > 0 && { slots: Math.max(...slots) }),
    onGpus: groups.some(({ gpus }) => gpus.some(gpu => gpu !== CPU)),
  }
}

/** Whether each step reads from the one before it. */
export const isChain = (steps: readonly Pick<BaseStep, 'sources'>[]): boolean =>
  steps.every(({ sources }, s) =>
    s === 0 ? sources.length === 0 : sources.length === 1 && sources[0] === s - 1,
  )

const layersOf = ({ options }: BaseStep): [number, number] => [
  Number(options.start_index ?? 1),
  Number(options.end_index ?? 5),
]

const withoutLayers = ({ options }: BaseStep): string => {
  const { start_index: _, end_index: __, ...others } = options
  return JSON.stringify(Object.entries(others).sort())
}

/** Joins what a file has cut: networks that follow each other, layer after layer. */
function joinCuts(steps: readonly BaseStep[]): BaseStep[] {
  const joined: BaseStep[] = []
  for (const step of steps) {
    const before = joined.at(-1)
    const follows =
      before?.kind === 'network' &&
      step.kind === 'network' &&
      layersOf(before)[1] + 1 === layersOf(step)[0] &&
      withoutLayers(before) === withoutLayers(step)
    if (follows) {
      const options = { ...before.options, end_index: layersOf(step)[1] }
      joined[joined.length - 1] = { ...before, options }
    } else joined.push({ ...step, sources: joined.length === 0 ? [] : [joined.length - 1] })
  }
  return joined
}

/** Takes the last step away where all that it does is to join what segments split. */
const joinSegments = (steps: readonly BaseStep[]): BaseStep[] =>
  steps.at(-1)?.kind === 'aggregator' ? steps.slice(0, -1) : [...steps]

/**
 * What a plan may not change about a pipeline.
 * @throws {UsageError} for a pipeline that is wrong, or whose groups differ in more than their places and queues
 */
export function templateOf(file: PipelineFile, registry: Registry): Template {
  const { pipeline: _, ...head } = file
  const config = checkConfig(file, registry, { name: file.name ?? 'the pipeline', folder: '/' })
  const chain = isChain(config.steps)
  // In a chain, which videos are joined to batches, and by whom, is the plan's to choose.
  const kept = [...config.steps.keys()].filter(s => !(chain && config.steps[s]!.kind.names[0] === 'batcher'))
  const steps = kept.map(step => baseStep(file, config, step))
  return {
    head,
    steps: chain ? joinCuts(joinSegments(steps)) : steps,
    batcher: chain && config.steps[1]?.kind.names[0] === 'batcher',
  }
}
